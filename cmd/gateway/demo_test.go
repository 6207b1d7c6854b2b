package main

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// The first thing that a new user sees: what runs, where to look, what to try;
// a taken port is named and the next one used; Ctrl-C leaves nothing behind.
func TestDemo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = taken.Close() }()
	mqtt, https := proctest.FreeAddress(t), proctest.FreeAddress(t)
	demo := proctest.Start(t, exec.Command(program(t, "gateway"), "demo",
		"--listen.http", taken.Addr().String(), "--listen.https", https, "--mqtt.listen", mqtt))
	demo.Until("the demo says how it ends", func() bool { return strings.Contains(demo.Said.String(), "Ctrl-C ends it.") })
	out := demo.Said.String()
	for _, part := range []string{
		"listen.http: " + taken.Addr().String() + " is taken, so this demo uses 127.0.0.1:",
		"10 devices", "wss://" + https + "/device", "mosquitto_sub", "mosquitto_pub", "watch --data",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("the demo does not say %q", part)
		}
	}

	o := observe(t, mqtt, "hearthgate/#", "homeassistant/#")
	o.wait("hearthgate/device/living-room-lamp/light/state", has(`"state":"OFF"`))
	topic, text := suggested(t, out)
	o.publish(topic, text, false)
	o.wait("hearthgate/device/living-room-lamp/light/state", has(`"state":"ON"`))
	o.wait("hearthgate/device/living-room-lamp/result", has(`"outcome":"ok"`))

	data := regexp.MustCompile(`data +(\S+)`).FindStringSubmatch(out)[1]
	if err := demo.End(syscall.SIGINT); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("%s is still there", data)
	}
}

// A program that takes a port after the demo saw it free only moves the demo on.
func TestDemoSettlesBesidePortsThatAreTakenMeanwhile(t *testing.T) {
	cfg := &Config{ListenHTTP: proctest.FreeAddress(t)}
	first := cfg.ListenHTTP
	var out strings.Builder
	opened := 0
	err := settle(&out, cfg, func() error {
		if opened++; opened == 1 {
			rival, err := net.Listen("tcp", first)
			must(t, err)
			t.Cleanup(func() { _ = rival.Close() })
		}
		l, err := listen("listen.http", cfg.ListenHTTP)
		if err == nil {
			_ = l.Close()
		}
		return err
	})
	if err != nil || opened != 2 || cfg.ListenHTTP == first || !strings.Contains(out.String(), "listen.http: "+first+" is taken") {
		t.Errorf("after %d: at %s, was at %s: %v; it said %q", opened, cfg.ListenHTTP, first, err, out.String())
	}
}

// suggested is the command that the demo tells people to try.
func suggested(t *testing.T, text string) (topic, payload string) {
	t.Helper()
	m := regexp.MustCompile(`mosquitto_pub.* -t (\S+) -m '(.*)'`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no mosquitto_pub in\n%s", text)
	}
	return m[1], m[2]
}

// What the demo suggests can be typed as it stands.
func TestOurCommandCanBeTyped(t *testing.T) {
	for _, c := range []struct{ exe, dir, found, want string }{
		{"/usr/bin/hearthgate", "/home/ann", "/usr/bin/hearthgate", "hearthgate"},
		{"/src/bin/hearthgate", "/src", "", "bin/hearthgate"},
		{"/src/bin/hearthgate", "/src/bin", "/usr/bin/hearthgate", "./hearthgate"},
		{"/src/bin/hearthgate", "/home/ann", "", "/src/bin/hearthgate"},
		{"/tmp/go-build1/b001/exe/gateway", "/src", "", "go run ./cmd/gateway"},
	} {
		if got := commandFor(c.exe, c.dir, c.found); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.exe, c.dir, got, c.want)
		}
	}
}
