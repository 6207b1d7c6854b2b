package mqtt

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// hasExactly waits until the broker keeps these topics and no others.
func (m *mosquitto) hasExactly(what string, want func() []string) {
	m.t.Helper()
	diff := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if diff = cmp.Diff(want(), slices.Sorted(maps.Keys(retained(m.t, m.dial)))); diff == "" {
			return
		}
	}
	m.t.Fatalf("%s (-should be +is):\n%s", what, diff)
}

// forget is a restart without what was kept.
func (m *mosquitto) forget() {
	m.t.Helper()
	m.Kill()
	if err := os.RemoveAll(filepath.Join(m.Dir, "mosquitto.db")); err != nil {
		m.t.Fatal(err)
	}
	m.Start()
}

// A home's life on a real broker: after each turn that has exactly the topics that
// it should have.
func TestTheBrokerHasWhatItShouldAndNothingElse(t *testing.T) {
	m := startMosquitto(t, true)
	h := newHome(t)
	o := Options{Broker: "mqtt://" + m.Address}
	meter := protocol.Component{ID: "power", Kind: "sensor", Unit: "W", Freshness: 3600}
	is := func(what string) {
		t.Helper()
		m.hasExactly(what, func() []string { return h.belongsWith(o) })
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	again := func(change func()) {
		h.stop()
		change()
		h.run(o)
	}
	h.add("kitchen", thermometer, plug)
	h.run(o)
	is("a device that said nothing yet")
	h.presence("kitchen", store.Online)
	h.say("kitchen", number("temperature", 20), onOff("plug", true))
	h.add("cellar", lamp, meter)
	h.say("cellar", onOff("desk/on", true), number("power", 5))
	is("values, and another device")
	do(h.reg.Rename("kitchen", "Big kitchen"))
	is("a rename")
	h.describe("kitchen", thermometer)
	is("a component less")
	h.describe("kitchen", thermometer, protocol.Component{ID: "plug", Kind: "binary_sensor"})
	is("it comes back as something else, with its value")
	h.describe("kitchen", thermometer, protocol.Component{ID: "plug", Kind: "sensor", Unit: "W"})
	is("it becomes something of which its value is none")
	again(func() {})
	is("a restart does not bring that value back")
	h.describe("kitchen", thermometer, plug)
	h.say("kitchen", onOff("plug", true))
	is("it is what it was, and speaks")
	do(h.reg.PutScene(registry.Scene{ID: "film", Set: []registry.SceneValue{{Device: "cellar", Name: "desk/on", Value: protocol.Bool(false)}}}))
	is("a scene")
	newClient(t, m.dial).publish("homeassistant/status", "online", false)
	is("a birth")
	m.Kill()
	h.say("kitchen", onOff("plug", false))
	m.Start()
	is("the broker is back, and remembers")
	m.forget()
	is("the broker is back, and has forgotten")
	again(func() { o.Discovery = DiscoverComponents })
	is("the other form of discovery")
	again(func() { o.DiscoveryPrefix = "ha" })
	is("another prefix")
	again(func() { o.BaseTopic, o.Discovery = "home/gate", DiscoverDevices })
	is("another base topic, and the first form")
	m.Kill()
	h.stop()
	do(h.reg.Remove("kitchen"))
	m.Start()
	h.run(o)
	is("a device that was removed while the broker was away")
	do(h.reg.RemoveScene("film"))
	is("no scene any more")

	second := newHome(t)
	second.add("kitchen", thermometer)
	second.run(Options{Broker: o.Broker})
	both := func() []string {
		all := append(h.belongsWith(o), second.belongs()...)
		slices.Sort(all)
		return all
	}
	m.hasExactly("two gateways", both)
	again(func() { o.Discovery = DiscoverNothing })
	m.hasExactly("one without discovery", both)
}
