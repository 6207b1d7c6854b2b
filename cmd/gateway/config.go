package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/internal/when"
)

// Config is every setting. Its names are the same in the file, in the
// environment (HEARTHGATE_LISTEN_HTTPS) and as flags (--listen.https).
type Config struct {
	Data string

	ListenHTTPS, ListenHTTP string
	Origins                 []string
	TLSCertificate, TLSKey  string

	MQTTListen, MQTTBroker             string
	MQTTUser, MQTTPassword             string
	MQTTCA, MQTTCert, MQTTKey          string
	MQTTBaseTopic                      string
	MQTTDiscovery, MQTTDiscoveryPrefix string
	MQTTHomie                          bool
	MQTTHomiePrefix                    string

	StoreCommit, StoreRetain time.Duration
	StoreLog                 string

	DeviceHeartbeat time.Duration
	DeviceWindow    int

	DeviceRate, AddressRate, AddressLinks, Links int

	LogLevel, LogFormat string
}

// setting is one row of the table: how a name is read, shown and explained.
type setting struct {
	name   string
	doc    string
	value  value
	secret bool
}

// value reads and shows one setting's text.
type value interface {
	Set(text string) error
	String() string
}

// defaults is a configuration nobody touched.
func defaults() *Config {
	c := &Config{Data: defaultData()}
	for _, s := range c.settings() {
		if d := defaultTexts[s.name]; d != "" {
			if err := s.value.Set(d); err != nil {
				panic(fmt.Sprintf("default of %s: %v", s.name, err)) // a test runs this
			}
		}
	}
	return c
}

// defaultTexts holds the defaults that are not empty, as a person writes them.
var defaultTexts = map[string]string{
	"listen.https":          "0.0.0.0:8443",
	"listen.http":           "127.0.0.1:8080",
	"mqtt.listen":           "127.0.0.1:1883",
	"mqtt.base_topic":       "hearthgate",
	"mqtt.discovery":        "device",
	"mqtt.discovery_prefix": "homeassistant",
	"mqtt.homie":            "false",
	"mqtt.homie_prefix":     "homie",
	"store.commit":          "1s",
	"store.retain":          "90d",
	"store.log":             "file",
	"device.heartbeat":      "30s",
	"device.window":         "16",
	"limits.device_rate":    "50",
	"limits.address_rate":   "20",
	"limits.address_links":  "512",
	"limits.links":          "20000",
	"log.level":             "info",
	"log.format":            "text",
}

// settings is the table of all settings of c, in the order of the example file.
func (c *Config) settings() []setting {
	return []setting{
		{name: "data", doc: "directory of everything that is kept", value: text(&c.Data)},
		{name: "listen.https", doc: "address for devices and programs, TLS; empty turns it off", value: address(&c.ListenHTTPS)},
		{name: "listen.http", doc: "the same without TLS; keep it on loopback; empty turns it off", value: address(&c.ListenHTTP)},
		{name: "listen.origins", doc: "pages that may connect besides our own", value: origins{list{&c.Origins}}},
		{name: "tls.certificate", doc: "your own certificate (PEM); empty: from the local CA", value: text(&c.TLSCertificate)},
		{name: "tls.key", doc: "its key (PEM)", value: text(&c.TLSKey)},
		{name: "mqtt.listen", doc: "address of the embedded broker; empty: no embedded broker", value: address(&c.MQTTListen)},
		{name: "mqtt.broker", doc: "another broker instead: mqtt://host:1883 or mqtts://host:8883", value: brokerURL{&c.MQTTBroker}},
		{name: "mqtt.user", doc: "our account there", value: text(&c.MQTTUser)},
		{name: "mqtt.password", doc: "its password (better in the environment than here)", value: text(&c.MQTTPassword), secret: true},
		{name: "mqtt.ca", doc: "CA certificates to trust for mqtts (PEM); empty: the system's", value: text(&c.MQTTCA)},
		{name: "mqtt.certificate", doc: "client certificate for mqtts (PEM)", value: text(&c.MQTTCert)},
		{name: "mqtt.key", doc: "its key (PEM)", value: text(&c.MQTTKey)},
		{name: "mqtt.base_topic", doc: "first level of our topics", value: topic{&c.MQTTBaseTopic}},
		{name: "mqtt.discovery", doc: "how Home Assistant learns of devices: device, components or off", value: choice{&c.MQTTDiscovery, []string{"device", "components", "off"}}},
		{name: "mqtt.discovery_prefix", doc: "first level of discovery topics", value: topic{&c.MQTTDiscoveryPrefix}},
		{name: "mqtt.homie", doc: "speak to Homie 5 controllers as well: true or false", value: toggle{&c.MQTTHomie}},
		{name: "mqtt.homie_prefix", doc: "first level of Homie topics", value: level{topic{&c.MQTTHomiePrefix}}},
		{name: "store.commit", doc: "how long a measurement may wait for the disk; 0: never", value: duration{&c.StoreCommit}},
		{name: "store.retain", doc: "how long raw values are kept; 0: for ever", value: duration{&c.StoreRetain}},
		{name: "store.log", doc: "where commits are written: file, or bolt (the database itself; much more wear)", value: choice{&c.StoreLog, []string{"file", "bolt"}}},
		{name: "device.heartbeat", doc: "silence after which a link is asked for life (10s to 10m)", value: between{duration{&c.DeviceHeartbeat}, 10 * time.Second, 10 * time.Minute}},
		{name: "device.window", doc: "frames a device may have un-acknowledged", value: count{&c.DeviceWindow, 1, 1024}},
		{name: "limits.device_rate", doc: "frames/s of a device before it is slowed; 0: none", value: count{&c.DeviceRate, 0, 1 << 30}},
		{name: "limits.address_rate", doc: "connections/s from one address; 0: none", value: count{&c.AddressRate, 0, 1 << 30}},
		{name: "limits.address_links", doc: "connections from one address; 0: none", value: count{&c.AddressLinks, 0, 1 << 30}},
		{name: "limits.links", doc: "connections in all; 0: none", value: count{&c.Links, 0, 1 << 30}},
		{name: "log.level", doc: "debug, info, warn or error", value: choice{&c.LogLevel, []string{"debug", "info", "warn", "error"}}},
		{name: "log.format", doc: "text or json", value: choice{&c.LogFormat, []string{"text", "json"}}},
	}
}

// check finds what single settings cannot see.
func (c *Config) check() error {
	switch {
	case (c.TLSCertificate == "") != (c.TLSKey == ""):
		return fmt.Errorf("tls.certificate and tls.key go together; one of them is empty")
	case (c.MQTTCert == "") != (c.MQTTKey == ""):
		return fmt.Errorf("mqtt.certificate and mqtt.key go together; one of them is empty")
	case c.ListenHTTPS == "" && c.ListenHTTP == "":
		return fmt.Errorf("listen.https and listen.http are both empty, so no device could connect")
	case c.MQTTBaseTopic == c.MQTTDiscoveryPrefix:
		return fmt.Errorf("mqtt.base_topic and mqtt.discovery_prefix must differ, both are %q", c.MQTTBaseTopic)
	case c.MQTTHomie && (c.MQTTHomiePrefix == c.MQTTBaseTopic || c.MQTTHomiePrefix == c.MQTTDiscoveryPrefix):
		return fmt.Errorf("mqtt.homie_prefix %q must not be mqtt.base_topic or mqtt.discovery_prefix", c.MQTTHomiePrefix)
	}
	return nil
}

// unusedMQTT names settings for a broker that is not set, "" if there are none.
func (c *Config) unusedMQTT() string {
	if c.MQTTBroker != "" {
		return ""
	}
	var names []string
	for _, s := range []struct{ name, value string }{
		{"mqtt.user", c.MQTTUser}, {"mqtt.password", c.MQTTPassword}, {"mqtt.ca", c.MQTTCA}, {"mqtt.certificate", c.MQTTCert}, {"mqtt.key", c.MQTTKey},
	} {
		if s.value != "" {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ", ")
}

// load puts the sources over each other: defaults, file, environment, flags.
func load(file string, env func(string) (string, bool), flags map[string]string) (*Config, error) {
	c, _, err := loadFrom(file, env, flags)
	return c, err
}

// loadFrom is load, and where the value of each setting is from.
func loadFrom(file string, env func(string) (string, bool), flags map[string]string) (*Config, map[string]string, error) {
	c := defaults()
	from := map[string]string{}
	byName := map[string]setting{}
	for _, s := range c.settings() {
		byName[s.name], from[s.name] = s, "default"
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, fmt.Errorf("config: %w", err)
		}
		lines, err := readYAML(file, b, byName)
		if err != nil {
			return nil, nil, err
		}
		for name, line := range lines {
			from[name] = fmt.Sprintf("%s:%d", file, line)
		}
	}
	for _, s := range c.settings() {
		if v, ok := env(envName(s.name)); ok {
			if err := s.value.Set(v); err != nil {
				return nil, nil, fmt.Errorf("environment %s: %w", envName(s.name), err)
			}
			from[s.name] = "environment " + envName(s.name)
		}
		if v, ok := flags[s.name]; ok {
			if err := s.value.Set(v); err != nil {
				return nil, nil, usageError{fmt.Errorf("--%s: %w", s.name, err)}
			}
			from[s.name] = "flag --" + s.name
		}
	}
	return c, from, c.check()
}

// envName of listen.https is HEARTHGATE_LISTEN_HTTPS.
func envName(setting string) string {
	return "HEARTHGATE_" + strings.ToUpper(strings.ReplaceAll(setting, ".", "_"))
}

// strayEnvironment is every HEARTHGATE_… variable that is no setting: most
// likely one that is spelled wrong. It is no error, since some systems put
// variables of their own there.
func strayEnvironment(environ []string) []string {
	known := map[string]bool{"HEARTHGATE_CONFIG": true, "HEARTHGATE_TOKEN": true}
	for _, s := range defaults().settings() {
		known[envName(s.name)] = true
	}
	var stray []string
	for _, e := range environ {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "HEARTHGATE_") && !known[name] {
			stray = append(stray, name)
		}
	}
	return stray
}

// installed reports whether this is the installed program rather than one that
// was built in a checkout.
func installed() bool {
	exe, err := os.Executable()
	return err == nil && (strings.HasPrefix(exe, "/usr/") || strings.HasPrefix(exe, "/opt/"))
}

func defaultData() string {
	if installed() {
		return "/var/lib/hearthgate"
	}
	return "hearthgate-data"
}

// text is any text.
type textValue struct{ p *string }

func text(p *string) value             { return textValue{p} }
func (v textValue) Set(s string) error { *v.p = s; return nil }
func (v textValue) String() string     { return *v.p }

// address is host:port, :port, or empty.
type addressValue struct{ p *string }

func address(p *string) value { return addressValue{p} }

func (v addressValue) Set(s string) error {
	if s != "" {
		i := strings.LastIndexByte(s, ':')
		if port, err := strconv.ParseUint(s[i+1:], 10, 16); i < 0 || err != nil || port > 65535 {
			return fmt.Errorf("want an address and port such as 127.0.0.1:8080, not %q", s)
		}
	}
	*v.p = s
	return nil
}
func (v addressValue) String() string { return *v.p }

// brokerURL is mqtt://host:1883 and the like. What is wrong is not repeated, it may
// hold a password.
type brokerURL struct{ p *string }

func (v brokerURL) Set(s string) error {
	if s != "" {
		if u, err := url.Parse(s); err != nil || u.Hostname() == "" || defaultPorts[u.Scheme] == "" {
			return errors.New("want mqtt://host:1883 or mqtts://host:8883")
		}
	}
	*v.p = s
	return nil
}
func (v brokerURL) String() string { return *v.p }

// topic is levels of a topic without wildcards.
type topic struct{ p *string }

func (v topic) Set(s string) error {
	bad := s == "" || strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.HasPrefix(s, "$") ||
		strings.ContainsFunc(s, func(r rune) bool { return r == '+' || r == '#' || r < ' ' || r == 0x7f })
	if bad {
		return fmt.Errorf("want a topic such as home/hearthgate without + # $ or control characters, not %q", s)
	}
	*v.p = s
	return nil
}
func (v topic) String() string { return *v.p }

// level is a topic of one level: Homie controllers look at +/5/+/$state.
type level struct{ topic }

func (v level) Set(s string) error {
	if strings.Contains(s, "/") {
		return fmt.Errorf("want one level of a topic, not %q", s)
	}
	return v.topic.Set(s)
}

// toggle is true or false, as YAML 1.2 has them.
type toggle struct{ p *bool }

func (v toggle) Set(s string) error {
	if s != "true" && s != "false" {
		return fmt.Errorf("want true or false, not %q", s)
	}
	*v.p = s == "true"
	return nil
}
func (v toggle) String() string { return strconv.FormatBool(*v.p) }

type choice struct {
	p    *string
	from []string
}

func (v choice) Set(s string) error {
	if !slices.Contains(v.from, s) {
		return fmt.Errorf("want one of %s, not %q", strings.Join(v.from, ", "), s)
	}
	*v.p = s
	return nil
}
func (v choice) String() string { return *v.p }

type count struct {
	p        *int
	min, max int
}

func (v count) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("want a whole number from %d to %d, not %q", v.min, v.max, s)
	}
	*v.p = n
	return nil
}
func (v count) String() string { return strconv.Itoa(*v.p) }

// list is separated by commas in the environment and in flags.
type list struct{ p *[]string }

func (v list) Set(s string) error {
	*v.p = nil
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*v.p = append(*v.p, item)
		}
	}
	return nil
}
func (v list) String() string { return strings.Join(*v.p, ",") }

// origins are pages as browsers name them: https://host or https://host:port.
type origins struct{ list }

func (v origins) Set(s string) error {
	if err := v.list.Set(s); err != nil {
		return err
	}
	for i, o := range *v.p {
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("want pages such as https://panel.example, not %q", o)
		}
		(*v.p)[i] = strings.ToLower(u.Scheme + "://" + u.Host)
	}
	return nil
}

// duration is as package when reads it: 90d, 12h.
type duration struct{ p *time.Duration }

func (v duration) Set(s string) (err error) {
	d, err := when.Duration(s)
	if err == nil {
		*v.p = d
	}
	return err
}
func (v duration) String() string { return when.Text(*v.p) }

// between is a duration with a least and a most.
type between struct {
	duration
	min, max time.Duration
}

func (v between) Set(s string) error {
	d, err := when.Duration(s)
	if err != nil {
		return err
	}
	if d < v.min || d > v.max {
		return fmt.Errorf("want %s to %s, not %s", when.Text(v.min), when.Text(v.max), s)
	}
	*v.p = d
	return nil
}

// absolute makes the data directory independent of where we stand.
func absolute(dir string) string {
	if a, err := filepath.Abs(dir); err == nil {
		return a
	}
	return dir
}
