// Package examples_test runs what docs and examples tell people to do: against
// the real program with its simulated home, and with the real Node-RED,
// mosquitto and mosquitto's clients.
package examples_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// bin is the directory with hearthgate and hearthgate-sim, built once.
var bin string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hearthgate-examples-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	for name, source := range map[string]string{"hearthgate": "gateway", "hearthgate-sim": "device-sim"} {
		build := exec.Command("go", "build", "-o", filepath.Join(bin, name), "../cmd/"+source)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// home is a running `hearthgate demo`: a gateway with ten simulated devices.
type home struct {
	*proctest.Process
	data, broker, http, https string
}

// startHome starts a demo with free ports. Without mqtt.broker among the
// arguments the broker is its own.
func startHome(t *testing.T, args ...string) *home {
	t.Helper()
	h := &home{
		data: filepath.Join(t.TempDir(), "data"), broker: proctest.FreeAddress(t), http: proctest.FreeAddress(t), https: proctest.FreeAddress(t),
	}
	args = append([]string{
		"demo", "--data", h.data, "--listen.http", h.http, "--listen.https", h.https, "--mqtt.listen", h.broker,
	}, args...)
	h.Process = proctest.Start(t, exec.Command(filepath.Join(bin, "hearthgate"), args...))
	h.Until("the demo is up", func() bool { return strings.Contains(h.Said.String(), "Ctrl-C ends it.") })
	return h
}

// observer keeps what it hears, by topic and in order.
type observer struct {
	t      *testing.T
	client paho.Client
	mu     sync.Mutex
	heard  map[string][]string
}

func observe(t *testing.T, broker string, topics ...string) *observer {
	t.Helper()
	o := &observer{t: t, heard: map[string][]string{}}
	o.client = paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + broker).SetDefaultPublishHandler(o.hear))
	o.confirmed("connect to "+broker, o.client.Connect())
	t.Cleanup(func() { o.client.Disconnect(0) })
	for _, topic := range topics {
		o.confirmed("subscribe "+topic, o.client.Subscribe(topic, 1, nil))
	}
	return o
}

func (o *observer) confirmed(what string, token paho.Token) {
	o.t.Helper()
	if !token.WaitTimeout(20*time.Second) || token.Error() != nil {
		o.t.Fatalf("%s: %v", what, token.Error())
	}
}

func (o *observer) hear(_ paho.Client, m paho.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.heard[m.Topic()] = append(o.heard[m.Topic()], string(m.Payload()))
}

// messages are those of a topic so far.
func (o *observer) messages(topic string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.heard[topic])
}

func (o *observer) topics() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.heard))
}

// wait waits until the newest message of a topic contains a text.
func (o *observer) wait(topic, part string) string {
	o.t.Helper()
	var newest string
	proctest.Until(o.t, part+" on "+topic, func() bool {
		all := o.messages(topic)
		if len(all) == 0 {
			return false
		}
		newest = all[len(all)-1]
		return strings.Contains(newest, part)
	})
	return newest
}

// result is a message on a device's result topic.
type result struct {
	Outcome, Status, Message string
	Set                      map[string]any
}

// command publishes to a topic of a device, and returns what the device's result
// topic says next.
func (o *observer) command(topic, payload string) result {
	o.t.Helper()
	device := strings.Split(topic, "/")[2]
	answers := "hearthgate/device/" + device + "/result"
	before := len(o.messages(answers))
	o.confirmed("publish "+topic, o.client.Publish(topic, 1, false, payload))
	var r result
	proctest.Until(o.t, "an answer to "+payload+" on "+topic, func() bool {
		all := o.messages(answers)
		if len(all) == before {
			return false
		}
		must(o.t, json.Unmarshal([]byte(all[before]), &r))
		return true
	})
	return r
}

// obeyed says whether a command is done, or waits for a device that sleeps.
func (r result) obeyed() bool { return r.Outcome == "ok" || r.Status == "waiting" }
