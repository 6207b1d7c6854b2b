package mqtt

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hearthgate/hearthgate/bridge/mqtt/broker"
	"github.com/hearthgate/hearthgate/bridge/mqtt/hacheck"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

var lamp = protocol.Component{ID: "desk", Kind: "light", Name: "Desk lamp",
	Attributes: map[string]protocol.Attribute{"on": {}, "brightness": {}}}

// lampDevice answers each command with what was asked, as a lamp would.
type lampDevice struct {
	h  *home
	id string
}

func (lampDevice) Flush() {}

func (d lampDevice) Send(c *protocol.Command) bool {
	go d.h.cmds.Answered(d.id, &protocol.Result{ID: c.ID, Records: c.Records})
	return true
}

// plugIn gives the home a live device.
func (h *home) plugIn(id string) {
	h.presence(id, store.Online)
	h.cmds.Presence(id, store.Online, false, 0)
	h.cmds.Connected(id, testBoot, lampDevice{h, id})
}

// embedded starts the broker that comes along.
func embedded(t testing.TB) *broker.Broker {
	t.Helper()
	br, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { br.Close() })
	return br
}

// brokers are what a bridge may talk to: how to, and how a client of the test does.
var brokers = map[string]func(t testing.TB) (Options, func() (net.Conn, error)){
	"mosquitto": func(t testing.TB) (Options, func() (net.Conn, error)) {
		m := startMosquitto(t, false)
		return Options{Broker: "mqtt://" + m.Address}, m.dial
	},
	"embedded": func(t testing.TB) (Options, func() (net.Conn, error)) {
		br := embedded(t)
		return viaEmbedded(br), br.Dial
	},
}

func viaEmbedded(br *broker.Broker) Options { return Options{Embedded: br} }

// result waits for an outcome and returns it.
func (c *client) result(device, id string) map[string]any {
	c.t.Helper()
	var m map[string]any
	c.expectThat("result of "+id, func(x heard) bool {
		m = nil
		return x.topic == "hearthgate/device/"+device+"/result" && json.Unmarshal([]byte(x.payload), &m) == nil &&
			(m["id"] == id || id == "" && m["id"] == nil)
	})
	delete(m, "ms")
	return m
}

func TestCommandsAndTheirOutcomes(t *testing.T) {
	for name, start := range brokers {
		t.Run(name, func(t *testing.T) {
			o, dial := start(t)
			h := newHome(t)
			h.add("lamp", lamp, plug)
			c := newClient(t, dial, "hearthgate/device/lamp/result")
			h.plugIn("lamp")
			h.run(o)
			eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
			for _, x := range []struct {
				topic, payload, id string
				want               map[string]any
			}{
				{"command", `{"id":"a","set":{"desk/on":true,"desk/brightness":40},"ttl":"5s"}`, "a",
					map[string]any{"id": "a", "outcome": "ok", "state": map[string]any{"desk/on": true, "desk/brightness": 40.0}}},
				{"plug/set", "ON", "", map[string]any{"id": nil, "outcome": "ok", "set": map[string]any{"plug": true}, "state": map[string]any{"plug": true}}},
				{"desk/set", `{"state":"ON","brightness":7}`, "", map[string]any{"id": nil, "outcome": "ok",
					"set": map[string]any{"desk/on": true, "desk/brightness": 7.0}, "state": map[string]any{"desk/on": true, "desk/brightness": 7.0}}},
				{"desk/brightness/set", "30", "", map[string]any{"id": nil, "outcome": "ok",
					"set": map[string]any{"desk/brightness": 30.0}, "state": map[string]any{"desk/brightness": 30.0}}},
				{"command", `{"id":"b","set":{"desk/on":"yes"}}`, "b", map[string]any{"id": "b", "outcome": "invalid"}},
				{"command", `{"id":"c","set":{"nothing":1}}`, "c", map[string]any{"id": "c", "outcome": "unsupported"}},
				{"command", `{"id":"d","set":{"plug":true},"ttl":"-1s"}`, "d", map[string]any{"id": "d", "outcome": "invalid"}},
				{"command", `{"id":`, "", map[string]any{"id": nil, "outcome": "invalid"}},
				{"command", "\xff\xfe", "", map[string]any{"id": nil, "outcome": "invalid"}},
				{"desk/set", "ON", "", map[string]any{"id": nil, "outcome": "invalid"}},
				{"command", `{"id":"e","set":{"plug":"` + strings.Repeat("x", 65<<10) + `"}}`, "", map[string]any{"id": nil, "outcome": "invalid"}},
			} {
				c.publish("hearthgate/device/lamp/"+x.topic, x.payload, false)
				got := c.result("lamp", x.id)
				if _, said := got["message"]; said != (x.want["outcome"] != "ok") {
					t.Errorf("%s %.60s: message %v", x.topic, x.payload, got["message"])
				}
				delete(got, "message")
				if x.want["outcome"] != "ok" {
					delete(got, "set")
				}
				if d := cmp.Diff(x.want, got); d != "" {
					t.Errorf("%s %.60s: -want +got:\n%s", x.topic, x.payload, d)
				}
			}
		})
	}
}

func TestUnknownDeviceIsAnswered(t *testing.T) {
	m := startMosquitto(t, false)
	h := newHome(t)
	c := newClient(t, m.dial, "hearthgate/device/+/result")
	h.run(Options{Broker: "mqtt://" + m.Address})
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	c.publish("hearthgate/device/BAD/command", `{"id":"x","set":{"a":1}}`, false) // no id of a device: nowhere to answer
	c.publish("hearthgate/device/nobody/command", `{"id":"y","set":{"a":1}}`, false)
	if x := c.expectThat("result", func(heard) bool { return true }); x.topic != "hearthgate/device/nobody/result" ||
		!strings.Contains(x.payload, `"id":"y"`) || !strings.Contains(x.payload, `"outcome":"unsupported"`) {
		t.Error(x)
	}
}

func TestRetainedCommandIsRefusedOnce(t *testing.T) {
	m := startMosquitto(t, true)
	h := newHome(t)
	h.add("lamp", plug)
	h.plugIn("lamp")
	c, events := newClient(t, m.dial, "hearthgate/device/lamp/#"), newClient(t, m.dial, "hearthgate/bridge/event")
	c.publish("hearthgate/device/lamp/plug/set", "ON", true) // before the bridge is there
	h.run(Options{Broker: "mqtt://" + m.Address})
	if got := c.result("lamp", ""); got["outcome"] != "invalid" || !strings.Contains(got["message"].(string), "retain") ||
		!cmp.Equal(got["set"], map[string]any{"plug": true}) {
		t.Errorf("%v", got)
	}
	events.expectThat("alert", func(x heard) bool {
		return x.topic == "hearthgate/bridge/event" && strings.Contains(x.payload, "retained_command")
	})
	// It is gone from the broker: who comes now finds none.
	fresh := newClient(t, m.dial, "hearthgate/device/lamp/plug/set")
	fresh.publish("hearthgate/device/lamp/plug/set", "OFF", false)
	if x := fresh.expectThat("set", func(heard) bool { return true }); x.payload != "OFF" {
		t.Errorf("still there: %v", x)
	}
	if got := c.result("lamp", ""); got["outcome"] != "ok" {
		t.Errorf("a live one after it: %v", got)
	}
}

func TestOutcomesSurviveABrokerThatIsAway(t *testing.T) {
	m := startMosquitto(t, true)
	h := newHome(t)
	h.add("lamp", plug)
	h.run(Options{Broker: "mqtt://" + m.Address})
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	c := newClient(t, m.dial, "hearthgate/device/lamp/result")
	c.publish("hearthgate/device/lamp/command", `{"id":"later","set":{"plug":true},"ttl":"1h"}`, false)
	c.expectThat("waiting", func(x heard) bool { return strings.HasPrefix(x.payload, `{"id":"later","status":"waiting","until":`) })
	m.Stop()
	eventually(t, "the bridge notices", func() bool { return !h.bridge.Status().Connected })
	h.plugIn("lamp") // and carries it out
	eventually(t, "the outcome waits", func() bool { return h.bridge.Status().Results > 0 })
	m.Start()
	// It may come before anyone can have subscribed again; what counts is that
	// it was confirmed.
	eventually(t, "the outcome is confirmed", func() bool { return len(h.cmds.Waiting("")) == 0 && h.bridge.Status().Results == 0 })
}

// retained is everything that a newcomer gets, gathered until the marker.
func retained(t testing.TB, dial func() (net.Conn, error)) map[string]string {
	t.Helper()
	c := newClient(t, dial, "#", "marker/#")
	c.publish("marker/end", "end", false)
	all := map[string]string{}
	for {
		x := c.expectThat("marker", func(heard) bool { return true })
		if x.topic == "marker/end" {
			return all
		}
		if x.retained {
			all[x.topic] = x.payload
			switch {
			case strings.HasPrefix(x.topic, "homeassistant/device/"):
				if err := hacheck.Device(x.topic, "homeassistant", []byte(x.payload)); err != nil {
					t.Errorf("Home Assistant would refuse %s: %v", x.topic, err)
				}
			case strings.HasPrefix(x.topic, "homeassistant/"):
				if err := hacheck.Component(x.topic, "homeassistant", []byte(x.payload)); err != nil {
					t.Errorf("Home Assistant would refuse %s: %v", x.topic, err)
				}
			}
		}
	}
}

func topicsOf(all map[string]string, part string) (n int) {
	for topic := range all {
		if strings.Contains(topic, part) {
			n++
		}
	}
	return n
}

func TestNothingIsLeftBehind(t *testing.T) {
	m := startMosquitto(t, false)
	h := newHome(t)
	h.add("kitchen", thermometer, plug)
	h.add("lamp", lamp)
	o := Options{Broker: "mqtt://" + m.Address}
	h.run(o)
	h.presence("kitchen", store.Online)
	h.say("kitchen", number("temperature", 20), onOff("plug", true))
	h.say("lamp", onOff("desk/on", true))
	config := "homeassistant/device/hg_" + h.store.GatewayID() + "_kitchen/config"
	settled := func(what string, ok func(all map[string]string) bool) map[string]string {
		t.Helper()
		var all map[string]string
		eventually(t, what, func() bool { all = retained(t, m.dial); return ok(all) })
		return all
	}
	all := settled("all is there", func(all map[string]string) bool {
		return all[config] != "" && all["hearthgate/device/kitchen/plug/state"] == "ON" && all["hearthgate/device/lamp/desk/state"] != "" && all["hearthgate/bridge/epoch"] != ""
	})
	if n := topicsOf(all, "kitchen"); n != 6 { // info, availability, lifecycle, 2 states, config
		t.Errorf("%d topics of the kitchen: %v", n, all)
	}

	// A rename changes names and no topic.
	if err := h.reg.Rename("kitchen", "Big kitchen"); err != nil {
		t.Fatal(err)
	}
	renamed := settled("the new name", func(all map[string]string) bool {
		return strings.Contains(all[config], `"name":"Big kitchen"`) && strings.Contains(all["hearthgate/device/kitchen/info"], "Big kitchen")
	})
	if d := cmp.Diff(topicsOf(all, ""), topicsOf(renamed, "")); d != "" {
		t.Error("the rename changed topics: ", d)
	}

	// A component that goes away is removed from Home Assistant, and its state.
	h.describe("kitchen", thermometer)
	settled("the plug is gone", func(all map[string]string) bool {
		_, state := all["hearthgate/device/kitchen/plug/state"]
		return !state && !strings.Contains(all[config], "plug")
	})

	// A removed device leaves nothing.
	if err := h.reg.Remove("kitchen"); err != nil {
		t.Fatal(err)
	}
	settled("the kitchen is gone", func(all map[string]string) bool { return topicsOf(all, "kitchen") == 0 && topicsOf(all, "lamp") == 5 })

	// The older form of discovery, another base topic and none at all.
	h.stop()
	o.Discovery = DiscoverComponents
	h.run(o)
	settled("one message a component", func(all map[string]string) bool {
		return topicsOf(all, "homeassistant/light/hg_"+h.store.GatewayID()+"_lamp/desk/config") == 1 && topicsOf(all, "homeassistant/device/hg_"+h.store.GatewayID()+"_lamp") == 0
	})
	h.stop()
	o.BaseTopic, o.Discovery = "home/gate", DiscoverNothing
	h.run(o)
	settled("another base topic", func(all map[string]string) bool {
		return topicsOf(all, "homeassistant/") == 0 && topicsOf(all, "hearthgate/") == 0 &&
			all["home/gate/device/lamp/desk/state"] == `{"state":"ON"}` && all["home/gate/bridge/epoch"] != ""
	})
}

func TestHomeAssistantRestarts(t *testing.T) {
	m := startMosquitto(t, false)
	h := newHome(t)
	h.add("kitchen", thermometer)
	h.run(Options{Broker: "mqtt://" + m.Address})
	h.say("kitchen", number("temperature", 20))
	eventually(t, "published", func() bool { return h.bridge.Status().Connected && h.bridge.Status().Lag == 0 })
	first := newClient(t, m.dial, "hearthgate/bridge/epoch")
	first.expect("hearthgate/bridge/epoch", h.store.Epoch())
	c := newClient(t, m.dial, "homeassistant/#", "hearthgate/device/#")
	c.publish("homeassistant/status", "online", false)
	want := map[string]bool{
		"homeassistant/device/hg_" + h.store.GatewayID() + "/config":         true,
		"homeassistant/device/hg_" + h.store.GatewayID() + "_kitchen/config": true,
		"hearthgate/device/kitchen/temperature/state":                        true,
		"hearthgate/device/kitchen/availability":                             true,
	}
	for len(want) > 0 {
		x := c.expectThat("again", func(x heard) bool { return !x.retained })
		delete(want, x.topic)
	}
}

// silentDevice takes commands and says nothing.
type silentDevice struct{}

func (silentDevice) Flush() {}

func (silentDevice) Send(*protocol.Command) bool { return true }

// A gateway that stops knows how its live commands ended, and nobody will know
// later: it says so before it says offline.
func TestAStopTellsWhatIsStillUnderWay(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("lamp", plug)
	h.presence("lamp", store.Online)
	h.cmds.Presence("lamp", store.Online, false, 0)
	h.cmds.Connected("lamp", testBoot, silentDevice{})
	h.run(viaEmbedded(br))
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	c := newClient(t, br.Dial, "hearthgate/#")
	c.publish("hearthgate/device/lamp/command", `{"id":"asked","set":{"plug":true}}`, false)
	eventually(t, "it is at the device", func() bool { w := h.cmds.Waiting("lamp"); return len(w) == 1 && w[0].Sent })
	for range 500 { // so much that it cannot all be under way already
		h.bridge.Alert("lamp", "busy")
	}
	h.cmds.Close()
	h.stop()
	if got := c.result("lamp", "asked"); got["outcome"] != "outcome_unknown" {
		t.Errorf("%v", got)
	}
	c.expect("hearthgate/bridge/state", "offline")
}

func TestStoppedBridgeLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	br, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := newHome(t)
	h.add("kitchen", thermometer)
	h.run(viaEmbedded(br))
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	h.say("kitchen", number("temperature", 20))
	h.stop()
	br.Close()
	h.close()
	goleak.VerifyNone(t, before)
}

func TestBridgeThatWasNeverRun(t *testing.T) {
	h := newHome(t)
	b, err := New(Options{Store: h.store, Registry: h.reg, Commands: h.cmds, Broker: "mqtt://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if s := b.Status(); s.Connected || s.Lag != 0 {
		t.Errorf("%+v", s)
	}
	b.Alert("kitchen", "m")
	if n := b.Status().Results; n != 1 {
		t.Errorf("%d messages wait", n)
	}
	if b.due().After(time.Now()) {
		t.Error("the first health message waits")
	}
}
