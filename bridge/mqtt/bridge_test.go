package mqtt

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// mosquitto is a real broker in a process of its own.
type mosquitto struct {
	*proctest.Mosquitto
	t testing.TB
}

// startMosquitto starts one, which may keep what it knows over a restart.
func startMosquitto(t testing.TB, persist bool, settings ...string) *mosquitto {
	t.Helper()
	if persist {
		settings = append(settings, "persistence true", "autosave_interval 1", "autosave_on_changes true")
	}
	return &mosquitto{proctest.StartMosquitto(t, settings...), t}
}

// patience is how long a test waits for something that should come at once.
const patience = 20 * time.Second

// eventually polls what has no event to wait for (another process).
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// client is what a user of MQTT has: it hears topics and publishes.
type client struct {
	t    testing.TB
	c    paho.Client
	msgs chan heard
}

type heard struct {
	topic, payload string
	retained       bool
}

func (h heard) String() string {
	return fmt.Sprintf("%s %q retained=%v", h.topic, h.payload, h.retained)
}

func newClient(t testing.TB, dial func() (net.Conn, error), filters ...string) *client {
	t.Helper()
	c := &client{t: t, msgs: make(chan heard, 10000)}
	o := paho.NewClientOptions().AddBroker("mqtt://127.0.0.1:1").SetAutoReconnect(false).SetClientID(fmt.Sprintf("test%d", time.Now().UnixNano()))
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return dial() })
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		c.msgs <- heard{m.Topic(), string(m.Payload()), m.Retained()}
	})
	c.c = paho.NewClient(o)
	c.wait(c.c.Connect())
	t.Cleanup(func() { c.c.Disconnect(0) })
	for _, f := range filters {
		c.wait(c.c.Subscribe(f, 1, nil))
	}
	return c
}

func (c *client) wait(tok paho.Token) {
	c.t.Helper()
	if !tok.WaitTimeout(patience) || tok.Error() != nil {
		c.t.Fatalf("broker: %v", tok.Error())
	}
}

func (c *client) publish(topic, payload string, retained bool) {
	c.t.Helper()
	c.wait(c.c.Publish(topic, 1, retained, payload))
}

// expect waits for a message on topic with that payload; others are passed over.
func (c *client) expect(topic, payload string) heard {
	c.t.Helper()
	return c.expectThat(topic+" "+payload, func(h heard) bool { return h.topic == topic && h.payload == payload })
}

func (c *client) expectThat(what string, ok func(heard) bool) heard {
	c.t.Helper()
	timeout := time.After(patience)
	var seen []string
	for {
		select {
		case h := <-c.msgs:
			if ok(h) {
				return h
			}
			seen = append(seen, h.String())
		case <-timeout:
			c.t.Fatalf("never heard %s; heard\n%s", what, strings.Join(seen, "\n"))
		}
	}
}

// home is a gateway without devices' links: the parts below the bridge.
type home struct {
	t      testing.TB
	store  *store.Store
	reg    *registry.Registry
	cmds   *command.Service
	seq    uint64
	bridge *Bridge
	stop   func()
}

func newHome(t testing.TB) *home {
	t.Helper()
	return openHome(t, t.TempDir())
}

func openHome(t testing.TB, dir string) *home {
	t.Helper()
	return openHomeWith(t, store.Options{Dir: dir})
}

func openHomeWith(t testing.TB, o store.Options) *home {
	t.Helper()
	s, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, store: s, stop: func() {}}
	if h.reg, err = registry.Open(s, protocol.Limits{}); err != nil {
		t.Fatal(err)
	}
	if h.cmds, err = command.New(command.Options{Store: s, Registry: h.reg}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h
}

func (h *home) close() {
	h.stop()
	if h.store != nil {
		h.cmds.Close()
		h.store.Close()
		h.store = nil
	}
}

func (h *home) add(id string, cs ...protocol.Component) {
	h.t.Helper()
	if _, err := h.reg.Add(id, ""); err != nil {
		h.t.Fatal(err)
	}
	h.describe(id, cs...)
}

func (h *home) describe(id string, cs ...protocol.Component) {
	h.t.Helper()
	f, err := protocol.Decode(protocol.Append(nil, &protocol.Describe{Model: "M", Components: cs}), protocol.Limits{})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.reg.Describe(id, f.(*protocol.Describe)); err != nil {
		h.t.Fatal(err)
	}
}

var testBoot = protocol.Boot{1, 2, 3, 4, 5, 6, 7, 8}

// say appends a telemetry frame and waits until it is committed.
func (h *home) say(id string, records ...protocol.Record) {
	h.t.Helper()
	now := time.Now()
	for i := range records {
		if records[i].Time == 0 {
			records[i].Time = now.UnixNano()
		}
	}
	h.seq++
	h.append(&store.Entry{Kind: store.Telemetry, Device: id, Boot: testBoot, Seq: h.seq, Received: now.UnixMilli(), Records: records})
}

func (h *home) presence(id string, st store.PresenceState) {
	h.t.Helper()
	now := time.Now().UnixMilli()
	h.append(&store.Entry{Kind: store.Presence, Device: id, Received: now, Presence: store.PresenceChange{State: st, Since: now}})
}

type committed chan error

func (c committed) Committed(_ *store.Entry, err error) { c <- err }

func (h *home) append(e *store.Entry) {
	h.t.Helper()
	done := make(committed, 1)
	if _, err := h.store.Append(e, store.Now, done); err != nil {
		h.t.Fatal(err)
	}
	if err := <-done; err != nil {
		h.t.Fatal(err)
	}
}

// run starts a bridge with short waits.
func (h *home) run(o Options) { h.runWith(o, func(*Bridge) {}) }

func (h *home) runWith(o Options, change func(*Bridge)) {
	h.t.Helper()
	o.Store, o.Registry, o.Commands = h.store, h.reg, h.cmds
	b, err := New(o)
	if err != nil {
		h.t.Fatal(err)
	}
	b.debounce, b.settle, b.birthDelay, b.backoff = 10*time.Millisecond, 30*time.Millisecond, 5*time.Millisecond, 20*time.Millisecond
	change(b)
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stopped := false
	h.bridge, h.stop = b, func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				h.t.Errorf("bridge: %v", err)
			}
		}
	}
}

func number(name string, f float64) protocol.Record {
	return protocol.Record{Name: name, Value: protocol.Float(f)}
}

func onOff(name string, on bool) protocol.Record {
	return protocol.Record{Name: name, Value: protocol.Bool(on)}
}

var (
	thermometer = protocol.Component{ID: "temperature", Kind: "sensor", Unit: "Cel", Class: "temperature", Precision: new(1)}
	plug        = protocol.Component{ID: "plug", Kind: "switch"}
)

func TestStatesAndCommandsThroughMosquitto(t *testing.T) {
	m := startMosquitto(t, false)
	h := newHome(t)
	h.add("kitchen", thermometer, plug)
	c := newClient(t, m.dial, "hearthgate/#", "homeassistant/#")
	h.run(Options{Broker: "mqtt://" + m.Address})
	c.expect("hearthgate/device/kitchen/availability", "offline")
	c.expect("hearthgate/bridge/state", "online")
	c.expectThat("discovery", func(x heard) bool { return x.topic == "homeassistant/device/hg_"+h.store.GatewayID()+"_kitchen/config" })
	h.presence("kitchen", store.Online)
	c.expect("hearthgate/device/kitchen/availability", "online")
	h.say("kitchen", number("temperature", 21.46), onOff("plug", true))
	c.expectThat("stream", func(x heard) bool {
		return x.topic == "hearthgate/stream/kitchen" && strings.HasPrefix(x.payload, `{"boot":"0102030405060708","seq":1,"received":`)
	})
	c.expect("hearthgate/device/kitchen/temperature/state", "21.5")
	c.expect("hearthgate/device/kitchen/plug/state", "ON")
	c.publish("hearthgate/device/kitchen/plug/set", "OFF", false)
	c.expectThat("result", func(x heard) bool {
		return x.topic == "hearthgate/device/kitchen/result" && strings.Contains(x.payload, `"outcome":"offline"`) &&
			strings.Contains(x.payload, `"id":null,"set":{"plug":false}`)
	})
	h.stop()
	c.expect("hearthgate/bridge/state", "offline")
}

func (m *mosquitto) dial() (net.Conn, error) { return net.Dial("tcp", m.Address) }
