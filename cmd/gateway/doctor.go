package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// finding is the answer of one check. An empty advice is all right.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Said   string `json:"said"`
	Advice string `json:"advice,omitempty"`
}

func doctorCommand() *cobra.Command {
	c := &cobra.Command{Use: "doctor", Short: "Look for what keeps the gateway from working", Args: cobra.NoArgs}
	settingFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := configOf(c)
		if err != nil {
			return err
		}
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		found := examine(c.Context(), cfg, a)
		bad := 0
		for _, f := range found {
			if !f.OK {
				bad++
			}
		}
		err = a.show(found, func(w io.Writer) { printFindings(w, found) })
		if err == nil && bad > 0 {
			return quietError{fmt.Errorf("%d checks failed", bad)}
		}
		return err
	}
	return c
}

func printFindings(w io.Writer, found []finding) {
	for _, f := range found {
		mark := "ok  "
		if !f.OK {
			mark = "BAD "
		}
		fmt.Fprintf(w, "%s %-12s %s\n", mark, f.Check, f.Said)
		if f.Advice != "" {
			fmt.Fprintf(w, "     %-12s %s\n", "", f.Advice)
		}
	}
}

// running is what a gateway that runs says of itself in its status.
type running struct {
	Gateway struct {
		ListenHTTPS string `json:"listen_https"`
		ListenHTTP  string `json:"listen_http"`
		MQTTListen  string `json:"mqtt_listen"`
	}
	Store struct {
		Healthy  bool
		InMemory bool `json:"in_memory"`
		Err      string
	}
	MQTT struct {
		Broker, Err string
		Connected   bool
	}
	Wear map[string]any
}

// examine looks at a gateway that runs on the data where it is, and else at what
// the settings would have a start do.
func examine(ctx context.Context, cfg *Config, a *admin) []finding {
	data := absolute(cfg.Data)
	said, gw := checkRunning(ctx, a, data)
	found := []finding{checkClock(), checkData(data), checkSpace(data), said}
	if !said.OK {
		return found // it runs, and nothing of it is known
	}
	if idle := cfg.unusedMQTT(); idle != "" {
		found = append(found, finding{Check: "mqtt.broker", Said: "is not set, so nothing looks at " + idle,
			Advice: "set mqtt.broker; accounts of the embedded broker: hearthgate mqtt user add"})
	}
	if gw == nil {
		return append(found, checkSettings(cfg)...)
	}
	for _, p := range [][2]string{{"listen.https", gw.Gateway.ListenHTTPS}, {"listen.http", gw.Gateway.ListenHTTP}, {"mqtt.listen", gw.Gateway.MQTTListen}} {
		if p[1] != "" {
			found = append(found, checkAnswers(p[0], p[1]))
		}
	}
	if gw.MQTT.Broker != "" && gw.MQTT.Broker != "embedded" {
		found = append(found, checkBridge(gw))
	}
	found = append(found, checkDisk(gw)...)
	if gw.Gateway.ListenHTTPS != "" {
		found = append(found, checkCertificate(gw.Gateway.ListenHTTPS, cfg, data))
	}
	return found
}

// checkSettings looks at what a start would need.
func checkSettings(cfg *Config) (found []finding) {
	ports := [][2]string{{"listen.https", cfg.ListenHTTPS}, {"listen.http", cfg.ListenHTTP}}
	if cfg.MQTTBroker == "" {
		ports = append(ports, [2]string{"mqtt.listen", cfg.MQTTListen})
	}
	for _, p := range ports {
		if p[1] != "" {
			found = append(found, checkFree(p[0], p[1]))
		}
	}
	if cfg.MQTTBroker != "" {
		found = append(found, checkBroker(cfg.MQTTBroker))
	}
	return found
}

func checkClock() finding {
	f := finding{Check: "clock", OK: true, Said: time.Now().Format(time.RFC3339)}
	if time.Now().Before(buildDate) {
		f.OK, f.Advice = false, "is before this program was built; set it (timedatectl set-ntp true)"
	}
	return f
}

func checkData(dir string) finding {
	f := finding{Check: "data", Said: dir}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		f.OK, f.Said = true, dir+" is not there yet; the first start makes it"
	case err != nil:
		f.Advice = err.Error()
	case !info.IsDir():
		f.Advice = "is not a directory; give another with --data"
	case info.Mode().Perm()&0o077 != 0:
		f.Advice = fmt.Sprintf("others can read it (mode %o): chmod 700 %s", info.Mode().Perm(), dir)
	case halfRestored(dir) != nil:
		f.Advice = halfRestored(dir).Error()
	default:
		f.OK = true
	}
	return f
}

// enough free space for the log's budget and a copy for a backup.
const enough = 1 << 30

func checkSpace(dir string) finding {
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err == nil {
			free := uint64(s.Bavail) * uint64(s.Bsize)
			f := finding{Check: "disk", OK: free >= enough, Said: fmt.Sprintf("%d MB free", free>>20)}
			if !f.OK {
				f.Advice = "less than 1 GB: make room, or shorten store.retain"
			}
			return f
		}
		up := filepath.Dir(dir)
		if up == dir {
			return finding{Check: "disk", Said: "cannot be asked"}
		}
		dir = up
	}
}

// fewYears is a life of the card that somebody should think about.
const fewYears = 3

// checkDisk says how the disk does.
func checkDisk(gw *running) []finding {
	f := finding{Check: "store", OK: gw.Store.Healthy, Said: "takes what devices say"}
	if !f.OK {
		f.Said, f.Advice = "FAILS: "+gw.Store.Err, "nothing is acknowledged until the disk works: look at dmesg, make room, or replace the card"
	}
	if gw.Store.InMemory {
		f.Said = "WORKS IN MEMORY ONLY: " + gw.Store.Err
	}
	card := finding{Check: "card", OK: true, Said: sayWear(gw.Wear)}
	if life, _ := gw.Wear["life_years"].(float64); life > 0 && life < fewYears {
		card.OK, card.Advice = false, "set store.commit to 5s, let devices report less often, or use a disk that bears more"
	}
	return []finding{f, card}
}

// checkRunning asks who runs on the data; gw is nil if nobody does.
func checkRunning(ctx context.Context, a *admin, data string) (f finding, gw *running) {
	f = finding{Check: "gateway", OK: true, Said: "is not running on this data; below are its settings"}
	c, err := dialAdmin(ctx, data)
	if errors.Is(err, errNotRunning) {
		return f, nil
	}
	if err == nil {
		_ = c.Close()
		gw = &running{}
		err = a.call(ctx, "GET", "/api/v1/status", nil, gw)
	}
	if err != nil {
		f.OK, f.Said, f.Advice = false, "cannot be asked", err.Error()
		return f, nil
	}
	f.Said = "is running; below is what it has, whatever settings were given here"
	return f, gw
}

// checkFree: a start needs the port.
func checkFree(name, addr string) finding {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		advice := fmt.Sprintf("%v: stop the other program or set %s", err, name)
		if errors.Is(err, syscall.EADDRINUSE) {
			advice += "; if that is a gateway, give doctor its --data or --config"
		}
		return finding{Check: name, Said: addr, Advice: advice}
	}
	_ = l.Close()
	return finding{Check: name, OK: true, Said: addr + " is free"}
}

// checkAnswers: somebody has to, where the gateway listens.
func checkAnswers(name, addr string) finding {
	c, err := net.DialTimeout("tcp", reachable(addr), 2*time.Second)
	if err != nil {
		return finding{Check: name, Said: addr, Advice: fmt.Sprintf("the gateway listens there, but nobody answers: %v", err)}
	}
	_ = c.Close()
	return finding{Check: name, OK: true, Said: addr + " answers"}
}

// defaultPorts of brokers whose address has none.
var defaultPorts = map[string]string{"mqtt": "1883", "tcp": "1883", "mqtts": "8883", "ssl": "8883", "tls": "8883", "ws": "80", "wss": "443"}

// checkBridge: the gateway knows which broker it has and how they get on.
func checkBridge(gw *running) finding {
	m := gw.MQTT
	if m.Connected && m.Err == "" {
		return finding{Check: "mqtt.broker", OK: true, Said: m.Broker + " is connected"}
	}
	return finding{Check: "mqtt.broker", Said: m.Broker,
		Advice: cmp.Or(m.Err, "not connected yet") + ": look at mqtt.broker, mqtt.user and mqtt.password; until then the log keeps what is said"}
}

// checkBroker: somebody has to answer where the broker is to be.
func checkBroker(broker string) finding {
	f := finding{Check: "mqtt.broker", Said: withoutPassword(broker)}
	u, err := url.Parse(broker)
	if err != nil {
		f.Advice = "want mqtt://host:1883 or mqtts://host:8883"
		return f
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), defaultPorts[u.Scheme])
	}
	c, err := net.DialTimeout("tcp", host, 2*time.Second)
	if err != nil {
		f.Advice = fmt.Sprintf("%v: start the broker or set mqtt.broker", err)
		return f
	}
	_ = c.Close()
	f.OK, f.Said = true, f.Said+" answers"
	return f
}

// reachable is where a listener on all addresses can be reached from here.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func checkCertificate(addr string, cfg *Config, data string) finding {
	f := finding{Check: "certificate"}
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(filepath.Join(data, "ca", "ca.crt")); err == nil && cfg.TLSCertificate == "" {
		roots.AppendCertsFromPEM(pem)
	} else {
		roots = nil
	}
	d := &net.Dialer{Timeout: 3 * time.Second}
	conn, err := tls.DialWithDialer(d, "tcp", reachable(addr), &tls.Config{RootCAs: roots})
	if err != nil {
		f.Said, f.Advice = "not accepted", err.Error()
		return f
	}
	defer func() { _ = conn.Close() }()
	leaf := conn.ConnectionState().PeerCertificates[0]
	f.OK, f.Said = true, "valid until "+leaf.NotAfter.Format(time.DateOnly)
	return f
}
