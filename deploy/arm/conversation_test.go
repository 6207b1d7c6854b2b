package arm_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/protocol"
)

// board is a gateway on an emulated processor.
type board struct {
	*proctest.Process
	run   func(args ...string) *exec.Cmd
	data  string
	https string
	mqtt  string
}

func TestAConversationOnEachBoard(t *testing.T) {
	for target, emulator := range map[string]string{"arm64": "qemu-aarch64-static", "armv6": "qemu-arm-static"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			qemu, err := exec.LookPath(emulator)
			if err != nil {
				t.Fatalf("%v: run scripts/setup-tests.sh", err)
			}
			binary := filepath.Join(dist, "linux-"+target, "hearthgate")
			b := start(t, func(args ...string) *exec.Cmd {
				c := exec.Command(qemu, append([]string{binary}, args...)...)
				if target == "armv6" {
					c.Env = append(os.Environ(), "QEMU_CPU=arm1176") // the Pi Zero's, so that no newer instruction passes
				}
				return c
			})
			b.converse(t)
		})
	}
}

// start runs `serve` on free ports and waits until it answers.
func start(t *testing.T, run func(args ...string) *exec.Cmd) *board {
	return startIn(t, t.TempDir(), run)
}

// startIn does so with a data directory that may be there already.
func startIn(t *testing.T, data string, run func(args ...string) *exec.Cmd) *board {
	b := &board{run: run, data: data, https: proctest.FreeAddress(t), mqtt: proctest.FreeAddress(t)}
	b.Process = proctest.Start(t, run("serve", "--data", b.data,
		"--listen.https", b.https, "--listen.http", proctest.FreeAddress(t), "--mqtt.listen", b.mqtt))
	t.Cleanup(func() {
		if err := b.End(syscall.SIGTERM); err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
	})
	b.Answers(b.https)
	b.Answers(b.mqtt)
	return b
}

// command runs a subcommand, on the board too, and returns what it prints.
func (b *board) command(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.run(args...).Output()
	if err != nil {
		if exit, ok := err.(*exec.ExitError); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// converse: a device joins, measures, is acknowledged and switched.
func (b *board) converse(t *testing.T) {
	if out := b.command(t, "version"); !strings.Contains(out, testVersion) {
		t.Errorf("version prints %q, without %s", out, testVersion)
	}
	token := regexp.MustCompile(`hg1\.kitchen\.[A-Za-z0-9_-]{43}`).FindString(b.command(t, "device", "add", "kitchen", "--json", "--data", b.data))
	if token == "" {
		t.Fatal("device add printed no token")
	}
	app := b.subscribe(t, "hearthgate/device/kitchen/#")
	device := b.device(t, token)

	device.Report(protocol.Record{Name: "temperature", Value: protocol.Float(21.5)}, protocol.Record{Name: "plug", Value: protocol.Bool(false)})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := device.Flush(ctx); err != nil {
		t.Fatalf("telemetry was not acknowledged: %v", err)
	}
	app.expect(t, "hearthgate/device/kitchen/availability", "online")
	app.expect(t, "hearthgate/device/kitchen/temperature/state", "21.5")
	app.expect(t, "hearthgate/device/kitchen/plug/state", "OFF")

	app.Publish("hearthgate/device/kitchen/command", 1, false, `{"id":"from-the-sofa","set":{"plug":true}}`)
	var result struct{ ID, Outcome string }
	said := app.expect(t, "hearthgate/device/kitchen/result", "")
	if err := json.Unmarshal([]byte(said), &result); err != nil || result.ID != "from-the-sofa" || result.Outcome != "ok" {
		t.Errorf("the result is %s (%v)", said, err)
	}
	app.expect(t, "hearthgate/device/kitchen/plug/state", "ON")
}

// device connects as a plug with a thermometer that trusts the board's CA alone.
func (b *board) device(t *testing.T, token string) *client.Device {
	ca, err := os.ReadFile(filepath.Join(b.data, "ca", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("ca.crt holds no certificate")
	}
	d := client.New(client.Config{
		Options: client.Options{URL: "wss://" + b.https + "/device", Token: token, TLS: &tls.Config{RootCAs: roots}},
		Describe: &protocol.Describe{Model: "TP-1", Components: []protocol.Component{
			{ID: "temperature", Kind: "sensor", Unit: "Cel"},
			{ID: "plug", Kind: "switch"},
		}},
		OnCommand: func(_ context.Context, c *protocol.Command) (protocol.ResultCode, string, []protocol.Record) {
			return 0, "", c.Records
		},
		OnEnd: func(err error, _ time.Duration) { fmt.Fprintf(b.Said, "(the device's link ended: %v)\n", err) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return d
}

// app is somebody on MQTT with all that was published since it came.
type app struct {
	paho.Client
	mu   sync.Mutex
	got  map[string][]string
	news chan struct{}
}

func (b *board) subscribe(t *testing.T, filter string) *app {
	a := &app{got: map[string][]string{}, news: make(chan struct{}, 1)}
	a.Client = paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + b.mqtt))
	if token := a.Connect(); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	t.Cleanup(func() { a.Disconnect(100) })
	token := a.Subscribe(filter, 1, func(_ paho.Client, m paho.Message) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.got[m.Topic()] = append(a.got[m.Topic()], string(m.Payload()))
		select {
		case a.news <- struct{}{}:
		default:
		}
	})
	if token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	return a
}

// expect waits until topic carried payload, or anything if that is "".
func (a *app) expect(t *testing.T, topic, payload string) string {
	t.Helper()
	late := time.After(60 * time.Second)
	for {
		a.mu.Lock()
		for _, p := range a.got[topic] {
			if payload == "" || p == payload {
				a.mu.Unlock()
				return p
			}
		}
		a.mu.Unlock()
		select {
		case <-a.news:
		case <-late:
			t.Fatalf("%s never carried %q; there were %v", topic, payload, a.got)
		}
	}
}
