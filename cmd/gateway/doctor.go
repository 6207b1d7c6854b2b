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

func examine(ctx context.Context, cfg *Config, a *admin) []finding {
	data := absolute(cfg.Data)
	running := false
	if c, err := dialAdmin(ctx, data); err == nil {
		running = true
		_ = c.Close()
	}
	found := []finding{checkClock(), checkData(data), checkSpace(data), checkRunning(running)}
	ports := [][2]string{{"listen.https", cfg.ListenHTTPS}, {"listen.http", cfg.ListenHTTP}}
	if broker, elsewhere := checkBroker(ctx, cfg, a, running); elsewhere {
		found = append(found, broker)
	} else {
		ports = append(ports, [2]string{"mqtt.listen", cfg.MQTTListen})
	}
	for _, p := range ports {
		if name, addr := p[0], p[1]; addr != "" {
			found = append(found, checkPort(name, addr, running))
		}
	}
	if running {
		found = append(found, checkDisk(ctx, a)...)
	}
	if running && cfg.ListenHTTPS != "" {
		found = append(found, checkCertificate(cfg, data))
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

// checkDisk asks the running gateway how its disk does.
func checkDisk(ctx context.Context, a *admin) []finding {
	var status struct {
		Store struct {
			Healthy  bool
			InMemory bool `json:"in_memory"`
			Err      string
		}
		Wear map[string]any
	}
	if err := a.call(ctx, "GET", "/api/v1/status", nil, &status); err != nil {
		return []finding{{Check: "store", Said: "cannot be asked", Advice: err.Error()}}
	}
	f := finding{Check: "store", OK: status.Store.Healthy, Said: "takes what devices say"}
	if !f.OK {
		f.Said, f.Advice = "FAILS: "+status.Store.Err, "nothing is acknowledged until the disk works: look at dmesg, make room, or replace the card"
	}
	if status.Store.InMemory {
		f.Said = "WORKS IN MEMORY ONLY: " + status.Store.Err
	}
	card := finding{Check: "card", OK: true, Said: sayWear(status.Wear)}
	if life, _ := status.Wear["life_years"].(float64); life > 0 && life < fewYears {
		card.OK, card.Advice = false, "set store.commit to 5s, let devices report less often, or use a disk that bears more"
	}
	return []finding{f, card}
}

func checkRunning(running bool) finding {
	if running {
		return finding{Check: "gateway", OK: true, Said: "is running"}
	}
	return finding{Check: "gateway", OK: true, Said: "is not running"}
}

// checkPort: while the gateway runs somebody must answer, otherwise nobody may.
func checkPort(name, addr string, running bool) finding {
	f := finding{Check: name, Said: addr}
	if !running {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			f.Advice = fmt.Sprintf("%v: stop the other program or set %s", err, name)
			return f
		}
		f.OK, f.Said = true, addr+" is free"
		_ = l.Close()
		return f
	}
	c, err := net.DialTimeout("tcp", reachable(addr), 2*time.Second)
	if err != nil {
		f.Advice = fmt.Sprintf("the gateway runs, but nobody answers here: %v (give doctor the --config and flags that serve has)", err)
		return f
	}
	f.OK, f.Said = true, addr+" answers"
	_ = c.Close()
	return f
}

// defaultPorts of brokers whose address has none.
var defaultPorts = map[string]string{"mqtt": "1883", "tcp": "1883", "mqtts": "8883", "ssl": "8883", "tls": "8883", "ws": "80", "wss": "443"}

// checkBroker looks at the broker when it is not the embedded one: the running
// gateway knows best which it is and how they get on; without it somebody has
// to answer there.
func checkBroker(ctx context.Context, cfg *Config, a *admin, running bool) (f finding, elsewhere bool) {
	f = finding{Check: "mqtt.broker", Said: withoutPassword(cfg.MQTTBroker)}
	if running {
		var status struct {
			MQTT struct {
				Broker, Err string
				Connected   bool
			}
		}
		if err := a.call(ctx, "GET", "/api/v1/status", nil, &status); err != nil {
			f.Advice = err.Error()
			return f, cfg.MQTTBroker != ""
		}
		m := status.MQTT
		if m.Broker == "" || m.Broker == "embedded" {
			return f, false
		}
		f.OK, f.Said = m.Connected && m.Err == "", m.Broker+" is connected"
		if !f.OK {
			f.Said, f.Advice = m.Broker, cmp.Or(m.Err, "not connected yet")+": look at mqtt.broker, mqtt.user and mqtt.password; until then the log keeps what is said"
		}
		return f, true
	}
	u, err := url.Parse(cfg.MQTTBroker)
	if cfg.MQTTBroker == "" || err != nil {
		f.Advice = "want mqtt://host:1883 or mqtts://host:8883"
		return f, cfg.MQTTBroker != ""
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), defaultPorts[u.Scheme])
	}
	c, err := net.DialTimeout("tcp", host, 2*time.Second)
	if err != nil {
		f.Advice = fmt.Sprintf("%v: start the broker or set mqtt.broker", err)
		return f, true
	}
	_ = c.Close()
	f.OK, f.Said = true, f.Said+" answers"
	return f, true
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

func checkCertificate(cfg *Config, data string) finding {
	f := finding{Check: "certificate"}
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(filepath.Join(data, "ca", "ca.crt")); err == nil && cfg.TLSCertificate == "" {
		roots.AppendCertsFromPEM(pem)
	} else {
		roots = nil
	}
	d := &net.Dialer{Timeout: 3 * time.Second}
	conn, err := tls.DialWithDialer(d, "tcp", reachable(cfg.ListenHTTPS), &tls.Config{RootCAs: roots})
	if err != nil {
		f.Said, f.Advice = "not accepted", err.Error()
		return f
	}
	defer func() { _ = conn.Close() }()
	leaf := conn.ConnectionState().PeerCertificates[0]
	f.OK, f.Said = true, "valid until "+leaf.NotAfter.Format(time.DateOnly)
	return f
}
