package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func noEnv(string) (string, bool) { return "", false }

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hearthgate.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExampleEqualsTheDefaults(t *testing.T) {
	c, err := load(write(t, exampleYAML), noEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(defaults(), c); d != "" {
		t.Errorf("the example file differs from the defaults:\n%s", d)
	}
	seen := map[string]setting{}
	for _, s := range defaults().settings() {
		if s.name != "data" {
			seen[s.name] = s
		}
	}
	w := walker{path: "x", settings: seen, seen: map[string]int{}}
	if err := w.read([]byte(exampleYAML)); err != nil {
		t.Fatal(err)
	}
	for name := range seen {
		if _, ok := w.seen[name]; !ok {
			t.Errorf("the example file does not show %s", name)
		}
	}
}

func TestFlagsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := write(t, "listen:\n  https: 0.0.0.0:1\n  http: 127.0.0.1:1\nlog.level: warn\nstore.retain: 30d\n")
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"HEARTHGATE_LISTEN_HTTPS": "0.0.0.0:2", "HEARTHGATE_LISTEN_HTTP": ""}[name]
		return v, ok
	}
	c, from, err := loadFrom(file, env, map[string]string{"listen.https": "0.0.0.0:3"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"listen.https": "flag --listen.https", "listen.http": "environment HEARTHGATE_LISTEN_HTTP",
		"log.level": file + ":4", "device.window": "default",
	} {
		if from[name] != want {
			t.Errorf("%s is from %q, want %q", name, from[name], want)
		}
	}
	if c.ListenHTTPS != "0.0.0.0:3" || c.ListenHTTP != "" || c.LogLevel != "warn" || c.StoreRetain != 30*24*time.Hour || c.DeviceWindow != 16 {
		t.Errorf("got %+v", c)
	}
}

func TestWrongConfigurationNamesThePlace(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"unknown key":      {"listen:\n  htps: x:1\n", ":2:3: unknown setting listen.htps; did you mean listen.https?"},
		"unknown group":    {"lisen:\n  https: x:1\n", ":1:1: unknown setting lisen; did you mean listen?"},
		"no scheme":        {"mqtt:\n  broker: 192.168.1.10\n", ":2:11: mqtt.broker: want mqtt://host:1883"},
		"word for a group": {"mqtt: off\n", ":1:7: mqtt is a group; its settings come below it, indented, such as mqtt.base_topic"},
		"bad place":        {"store:\n  log: paper\n", ":2:8: store.log: want one of file, bolt"},
		"bad duration":     {"store:\n  commit: soon\n", ":2:11: store.commit: want a duration such as 500ms"},
		"bad number":       {"device:\n  window: many\n", ":2:11: device.window: want a whole number"},
		"bad choice":       {"log: {level: loud}\n", "log.level: want one of debug, info, warn, error"},
		"bad address":      {"listen.http: 8080\n", "listen.http: want an address and port"},
		"bad topic":        {"mqtt.base_topic: a/+/b\n", "mqtt.base_topic: want a topic"},
		"bad level":        {"mqtt.homie_prefix: a/b\n", "mqtt.homie_prefix: want one level of a topic"},
		"bad toggle":       {"mqtt:\n  homie: yes\n", ":2:10: mqtt.homie: want true or false, not \"yes\""},
		"same prefixes":    {"mqtt: {homie: true, homie_prefix: hearthgate}\n", "mqtt.homie_prefix \"hearthgate\" must not be mqtt.base_topic"},
		"bad origin":       {"listen.origins: [panel.example]\n", "listen.origins: want pages such as https://panel.example"},
		"twice":            {"log.level: info\nlog:\n  level: warn\n", "log.level is set twice, first in line 1"},
		"a map for a word": {"log:\n  level: {a: b}\n", "log.level: want a single value"},
		"not yaml":         {"log: [\n", "config "},
		"a tab":            {"store:\n\tcommit: 1s\n", ":2:1: there is a tab before commit: 1s; indent with spaces"},
		"a tab behind":     {"store: # a\tb\n  commit:\t1s\n  \tretain: 1d\n", ":3:3: there is a tab before retain: 1d"},
		"half a pair":      {"tls.key: k.pem\n", "tls.certificate and tls.key go together"},
		"heartbeat":        {"device.heartbeat: 1s\n", ":1:19: device.heartbeat: want 10s to 10m, not 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(write(t, c.yaml), noEnv, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestAnUnknownSettingOfTheEnvironmentIsNamed(t *testing.T) {
	got := strayEnvironment([]string{"HOME=/", "HEARTHGATE_LISTEN_HTPS=x", "HEARTHGATE_LOG_LEVEL=info", "HEARTHGATE_TOKEN=x", "HEARTHGATE_CONFIG=x", "HEARTHGATE_DATA=x"})
	if len(got) != 1 || got[0] != "HEARTHGATE_LISTEN_HTPS" {
		t.Errorf("got %q", got)
	}
}

func TestOriginsAreWrittenAsBrowsersDo(t *testing.T) {
	c, err := load("", noEnv, map[string]string{"listen.origins": "https://Panel.Example/, http://10.0.0.2:3000"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"https://panel.example", "http://10.0.0.2:3000"}, c.Origins); d != "" {
		t.Error(d)
	}
}
