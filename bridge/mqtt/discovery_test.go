package mqtt

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hacheck"
	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// A class that does not go with its unit is not sent, and that is said where
// someone who looks for it would look.
func TestWhatHomeAssistantWouldNotTakeIsSaid(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("kitchen", protocol.Component{ID: "oven", Kind: "sensor", Unit: "W", Class: "temperature"})
	c := newClient(t, br.Dial, "hearthgate/device/kitchen/info", "homeassistant/#")
	log := &proctest.Transcript{}
	o := viaEmbedded(br)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	h.run(o)
	c.expectThat("the card", func(x heard) bool {
		return strings.Contains(x.payload, `"warnings":["oven: the class \"temperature\" does not go with the unit \"W\"; left out"]`)
	})
	c.expectThat("discovery", func(x heard) bool {
		return strings.Contains(x.payload, `"oven":{`) && !strings.Contains(x.payload, `"device_class":"temperature"`)
	})
	if err := h.reg.Rename("kitchen", "Big kitchen"); err != nil {
		t.Fatal(err)
	}
	c.expectThat("the new name", func(x heard) bool { return strings.Contains(x.payload, `"name":"Big kitchen"`) })
	if n := strings.Count(log.String(), "device=kitchen component=oven"); n != 1 {
		t.Errorf("the log says it %d times, not once", n)
	}
}

// asked is a device that notes what it is asked for, in words.
type asked struct {
	h  *home
	id string
	ch chan string
}

func (asked) Flush() {}

func (a asked) Send(c *protocol.Command) bool {
	var set []string
	for _, r := range c.Records {
		set = append(set, r.Name+"="+r.Value.String())
	}
	a.ch <- strings.Join(set, " ")
	go a.h.cmds.Answered(a.id, &protocol.Result{ID: c.ID, Records: c.Records})
	return true
}

// manyKinds is a device with one of each kind that takes commands.
func manyKinds() []protocol.Component {
	half := 0.5
	return []protocol.Component{
		{ID: "plug", Kind: "switch"}, {ID: "alarm", Kind: "siren"}, {ID: "restart", Kind: "button"},
		{ID: "limit", Kind: "number", Unit: "W", Min: new(0.0), Max: new(100.0)},
		{ID: "share", Kind: "number", Unit: "/", Min: new(0.0), Max: new(1.0)},
		{ID: "program", Kind: "select", Options: []string{"wash", "dry"}}, {ID: "note", Kind: "text"},
		{ID: "desk", Kind: "light", Attributes: map[string]protocol.Attribute{"on": {}, "brightness": {},
			"color_temp": {Min: new(2000.0), Max: new(6500.0)}, "rgb": {}, "effect": {Options: []string{"candle"}}}},
		{ID: "blind", Kind: "cover", Attributes: map[string]protocol.Attribute{"state": {}, "position": {}, "tilt": {}, "action": {}}},
		{ID: "shade", Kind: "cover", Attributes: map[string]protocol.Attribute{"position": {Min: new(0.0), Max: new(255.0)}}},
		{ID: "main", Kind: "valve", Attributes: map[string]protocol.Attribute{"state": {}, "position": {}, "action": {}}},
		{ID: "garden", Kind: "valve", Attributes: map[string]protocol.Attribute{"state": {}, "action": {}}},
		{ID: "front", Kind: "lock", Attributes: map[string]protocol.Attribute{"state": {}, "action": {}}},
		{ID: "vent", Kind: "fan", Attributes: map[string]protocol.Attribute{"on": {}, "speed": {Min: new(0.0), Max: new(3.0)},
			"preset": {Options: []string{"auto", "sleep"}}, "oscillate": {}, "direction": {}}},
		{ID: "ac", Kind: "climate", Unit: "Cel", Attributes: map[string]protocol.Attribute{"mode": {}, "target": {Min: new(16.0), Max: new(30.0), Step: &half},
			"target_low": {}, "target_high": {}, "temperature": {}, "humidity": {}, "target_humidity": {}, "action": {},
			"fan_mode": {Options: []string{"low", "high"}}, "preset": {Options: []string{"away", "none"}}}},
		{ID: "mist", Kind: "humidifier", Attributes: map[string]protocol.Attribute{"on": {}, "target": {}, "humidity": {}, "action": {},
			"mode": {Options: []string{"quiet", "turbo"}}}},
	}
}

// components are the components of what Home Assistant is told of a device.
func (h *home) components(id string) map[string]map[string]any {
	h.t.Helper()
	d, _ := h.reg.Get(id)
	m := h.bridge.names.Device(d).Whole(nil)
	if err := hacheck.Device(m.Topic, "homeassistant", m.Payload); err != nil {
		h.t.Errorf("Home Assistant would refuse it: %v", err)
	}
	var told struct {
		Components map[string]map[string]any `json:"components"`
	}
	if err := json.Unmarshal(m.Payload, &told); err != nil {
		h.t.Fatal(err)
	}
	return told.Components
}

// Whatever Home Assistant was told to publish on does what it says: its payload
// on each command topic, and what the device is asked for then.
func TestEveryCommandTopicReachesTheDevice(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("villa", manyKinds()...)
	device := asked{h, "villa", make(chan string, 1)}
	h.presence("villa", store.Online)
	h.cmds.Presence("villa", store.Online, false, 0)
	h.cmds.Connected("villa", testBoot, device)
	h.run(viaEmbedded(br))
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	c := newClient(t, br.Dial, "hearthgate/device/villa/result")
	told := h.components("villa")
	pressed := map[string]bool{}
	for _, x := range []struct{ component, key, payload, want string }{
		{"plug", "command_topic", "ON", "plug=true"},
		{"plug", "command_topic", "OFF", "plug=false"},
		{"alarm", "command_topic", "ON", "alarm=true"},
		{"restart", "command_topic", "PRESS", "restart=PRESS"},
		{"limit", "command_topic", "42.0", "limit=42"},
		{"limit", "command_topic", "101", ""},
		{"share", "command_topic", "0.35", "share=0.35"},
		{"program", "command_topic", "dry", "program=dry"},
		{"program", "command_topic", "iron", ""},
		{"note", "command_topic", "Good morning", "note=Good morning"},
		{"desk", "command_topic", `{"state":"ON"}`, "desk/on=true"},
		{"desk", "command_topic", `{"state":"OFF"}`, "desk/on=false"},
		{"desk", "command_topic", `{"state":"ON","brightness":40}`, "desk/on=true desk/brightness=40"},
		{"desk", "command_topic", `{"state":"ON","color_temp":2700,"brightness":7}`, "desk/on=true desk/brightness=7 desk/color_temp=2700"},
		{"desk", "command_topic", `{"state":"ON","color":{"r":255,"g":128,"b":0}}`, "desk/on=true desk/rgb=#ff8000"},
		{"desk", "command_topic", `{"state":"ON","effect":"candle"}`, "desk/on=true desk/effect=candle"},
		{"blind", "command_topic", "payload_open", "blind/action=open"},
		{"blind", "command_topic", "payload_close", "blind/action=close"},
		{"blind", "command_topic", "payload_stop", "blind/action=stop"},
		{"blind", "set_position_topic", "40", "blind/position=40"},
		{"blind", "tilt_command_topic", "0", "blind/tilt=0"},
		{"blind", "tilt_command_topic", "101", ""},
		{"shade", "command_topic", "payload_open", "shade/position=255"},
		{"shade", "command_topic", "payload_close", "shade/position=0"},
		{"shade", "set_position_topic", "128", "shade/position=128"},
		{"main", "command_topic", "100", "main/position=100"},
		{"garden", "command_topic", "payload_open", "garden/action=open"},
		{"garden", "command_topic", "payload_stop", "garden/action=stop"},
		{"front", "command_topic", "payload_lock", "front/action=lock"},
		{"front", "command_topic", "payload_unlock", "front/action=unlock"},
		{"front", "command_topic", "payload_open", "front/action=open"},
		{"vent", "command_topic", "ON", "vent/on=true"},
		{"vent", "percentage_command_topic", "2", "vent/speed=2"},
		{"vent", "preset_mode_command_topic", "sleep", "vent/preset=sleep"},
		{"vent", "oscillation_command_topic", "payload_oscillation_on", "vent/oscillate=true"},
		{"vent", "oscillation_command_topic", "payload_oscillation_off", "vent/oscillate=false"},
		{"vent", "direction_command_topic", "reverse", "vent/direction=reverse"},
		{"ac", "mode_command_topic", "heat_cool", "ac/mode=heat_cool"},
		{"ac", "temperature_command_topic", "21.5", "ac/target=21.5"},
		{"ac", "temperature_command_topic", "40.0", ""},
		{"ac", "temperature_low_command_topic", "18.0", "ac/target_low=18"},
		{"ac", "temperature_high_command_topic", "24", "ac/target_high=24"},
		{"ac", "target_humidity_command_topic", "45", "ac/target_humidity=45"},
		{"ac", "fan_mode_command_topic", "high", "ac/fan_mode=high"},
		{"ac", "preset_mode_command_topic", "away", "ac/preset=away"},
		{"ac", "preset_mode_command_topic", "none", "ac/preset=none"},
		{"mist", "command_topic", "OFF", "mist/on=false"},
		{"mist", "target_humidity_command_topic", "55", "mist/target=55"},
		{"mist", "mode_command_topic", "turbo", "mist/mode=turbo"},
	} {
		topic, _ := told[x.component][x.key].(string)
		payload := x.payload
		if p, ok := told[x.component][payload].(string); ok {
			payload = p // as this component names it
		}
		c.publish(topic, payload, false)
		outcome := c.result("villa", "")["outcome"]
		got := ""
		if outcome == "ok" {
			got = <-device.ch
		}
		if got != x.want || (outcome == "ok") != (x.want != "") || x.want == "" && outcome != "invalid" {
			t.Errorf("%s %s, %s on %q: %v, the device is asked for %q, want %q", x.component, x.key, payload, topic, outcome, got, x.want)
		}
		pressed[x.component+" "+x.key] = true
	}
	for name, component := range told {
		for key := range component {
			if (strings.HasSuffix(key, "command_topic") || key == "set_position_topic") && !pressed[name+" "+key] {
				t.Errorf("%s: nothing was published on its %s", name, key)
			}
		}
	}
}

// And whatever Home Assistant was told to listen to says something, in words
// that it knows.
func TestEveryStateTopicSpeaks(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("villa", append(manyKinds(), thermometer, protocol.Component{ID: "motion", Kind: "binary_sensor"},
		protocol.Component{ID: "bell", Kind: "event", Class: "button", Options: []string{"press"}})...)
	h.run(viaEmbedded(br))
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	c := newClient(t, br.Dial, "hearthgate/device/villa/#")
	d, _ := h.reg.Get("villa")
	want := map[string]string{}
	for _, component := range h.components("villa") {
		for key, topic := range component {
			if key == "topic" || strings.HasSuffix(key, "topic") && !strings.HasSuffix(key, "command_topic") && key != "set_position_topic" {
				if topic, ok := topic.(string); ok && strings.HasPrefix(topic, "hearthgate/device/villa/") {
					want[topic] = key
				}
			}
		}
	}
	var records []protocol.Record
	for _, p := range d.Description.Points() {
		if v := valueOf(p); v.Kind() != protocol.None {
			records = append(records, protocol.Record{Name: p.Name, Value: v})
		}
	}
	h.say("villa", records...)
	for len(want) > 0 {
		x := c.expectThat(fmt.Sprint(want), func(x heard) bool { return want[x.topic] != "" })
		delete(want, x.topic)
	}
}

// valueOf is something that a point may report.
func valueOf(p *protocol.Point) protocol.Value {
	switch {
	case !p.Reports || p.Momentary():
		return protocol.Value{}
	case p.Type == protocol.BoolPoint:
		return protocol.Bool(true)
	case p.Type == protocol.NumberPoint:
		return protocol.Int(1)
	case p.Attribute == "rgb":
		return protocol.Text("#102030")
	case len(p.Options) > 0:
		return protocol.Text(p.Options[0])
	}
	return protocol.Text("some text")
}

// What is counted of a device is said anew, but not each time that it changes.
func TestCountsOfADeviceAreSaidNowAndThen(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("kitchen", thermometer)
	h.reg.Seen("kitchen", &protocol.Hello{Boot: testBoot})
	h.presence("kitchen", store.Online)
	c := newClient(t, br.Dial, "hearthgate/device/kitchen/lifecycle", "hearthgate/bridge/health")
	h.runWith(viaEmbedded(br), func(b *Bridge) { b.diagnoseTick = 20 * time.Millisecond })
	life := func(what string, ok func(l lifecycle) bool) (l lifecycle) {
		t.Helper()
		c.expectThat(what, func(x heard) bool {
			return x.topic == "hearthgate/device/kitchen/lifecycle" && json.Unmarshal([]byte(x.payload), &l) == nil && ok(l)
		})
		return l
	}
	first := life("that it is there", func(l lifecycle) bool { return l.State == store.Online })
	if again := life("that it still is", func(lifecycle) bool { return true }); again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	h.reg.Gap("kitchen")
	h.reg.Seen("kitchen", &protocol.Hello{Boot: protocol.Boot{9}})
	life("counts", func(l lifecycle) bool { return l.Gaps == 1 && l.Restarts == 1 })
	h.say("kitchen", number("temperature", 20))
	h.presence("kitchen", store.Lost)
	lost := life("that it is gone", func(l lifecycle) bool { return l.State == store.Lost })
	if lost.Seen != 0 && (lost.Seen < first.Since || lost.Seen > lost.Since) {
		t.Errorf("seen %d, lost since %d, there since %d", lost.Seen, lost.Since, first.Since)
	}
}

// config is a discovery message as a test tells of it.
type config struct {
	topic   string
	payload string
}

// configs gathers discovery messages that are not retained yet until ok says
// that it was the last.
func (c *client) configs(what string, ok func(config) bool) (said []config) {
	c.t.Helper()
	c.expectThat(what, func(x heard) bool {
		if x.retained || !strings.HasSuffix(x.topic, "/config") {
			return false
		}
		said = append(said, config{x.topic, x.payload})
		return ok(said[len(said)-1])
	})
	return said
}

// inShort is what each message says, the gateway's id as G.
func (h *home) inShort(cs []config, of string) (all []string) {
	for _, c := range cs {
		if !strings.Contains(c.topic, of) {
			continue
		}
		says := " described"
		switch c.payload {
		case "":
			says = " emptied"
		case hass.Moves:
			says = " moves"
		}
		all = append(all, strings.ReplaceAll(c.topic, h.store.GatewayID(), "G")+says)
	}
	return all
}

// uniqueIDs are those of all entities that are described in retained messages.
func uniqueIDs(t *testing.T, all map[string]string) []string {
	t.Helper()
	var ids []string
	for topic, payload := range all {
		if !strings.HasSuffix(topic, "/config") {
			continue
		}
		var c struct {
			ID         string `json:"unique_id"`
			Components map[string]struct {
				ID string `json:"unique_id"`
			}
		}
		if err := json.Unmarshal([]byte(payload), &c); err != nil {
			t.Fatal(err)
		}
		for _, e := range c.Components {
			ids = append(ids, e.ID)
		}
		ids = append(ids, c.ID)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == "" })
	slices.Sort(ids)
	return ids
}

// Whoever changes the form of discovery, its prefix or the base topic keeps
// every entity, and nothing stays where it was.
func TestEntitiesSurviveAMove(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("kitchen", thermometer, plug)
	kitchen := "hg_" + h.store.GatewayID() + "_kitchen/"
	settled := func(what string, ok func(all map[string]string) bool) (all map[string]string) {
		t.Helper()
		eventually(t, what, func() bool { all = retained(t, br.Dial); return ok(all) })
		return all
	}
	o := viaEmbedded(br)
	h.run(o)
	all := settled("described", func(all map[string]string) bool {
		return all["hearthgate/bridge/epoch"] != "" && topicsOf(all, "/config") == 2
	})
	ids := uniqueIDs(t, all)
	apart := topicsOf(all, "") - 2 + len(ids) // as many topics, when each entity has one
	if len(ids) < 10 {
		t.Fatalf("only %v", ids)
	}
	whole := []string{"homeassistant/device/hg_G_kitchen/config"}
	pieces := []string{
		"homeassistant/sensor/hg_G_kitchen/temperature/config", "homeassistant/switch/hg_G_kitchen/plug/config",
		"homeassistant/sensor/hg_G_kitchen/__last_seen/config", "homeassistant/sensor/hg_G_kitchen/__restarts/config",
		"homeassistant/sensor/hg_G_kitchen/__gaps/config",
	}
	says := func(what string, topics []string) (all []string) {
		for _, topic := range topics {
			all = append(all, topic+what)
		}
		return all
	}
	sorted := func(all []string) []string { slices.Sort(all); return all }
	for _, step := range []struct {
		what     string
		change   func()
		from, to []string
		topics   int
	}{
		{"one message a component", func() { o.Discovery = DiscoverComponents }, whole, pieces, apart},
		{"one message a device", func() { o.Discovery = DiscoverDevices }, pieces, whole, topicsOf(all, "")},
		{"another prefix", func() { o.DiscoveryPrefix = "other" }, whole, []string{"other/device/hg_G_kitchen/config"}, topicsOf(all, "")},
	} {
		h.stop()
		step.change()
		c := newClient(t, br.Dial, "homeassistant/#", "other/#")
		h.run(o)
		emptied := 0
		said := h.inShort(c.configs(step.what, func(x config) bool {
			if x.payload == "" && strings.Contains(x.topic, kitchen) {
				emptied++
			}
			return emptied == len(step.from)
		}), "_kitchen/")
		n, m := len(step.from), len(step.to)
		want := slices.Concat(sorted(says(" moves", step.from)), says(" described", step.to), sorted(says(" emptied", step.from)))
		if d := cmp.Diff(want, slices.Concat(sorted(said[:n]), said[n:n+m], sorted(said[n+m:]))); d != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, d)
		}
		now := settled(step.what, func(all map[string]string) bool { return topicsOf(all, "") == step.topics })
		if d := cmp.Diff(ids, uniqueIDs(t, now)); d != "" {
			t.Errorf("%s: other unique ids: (-before +after)\n%s", step.what, d)
		}
	}
	h.stop()
	o.BaseTopic = "home/gate"
	h.run(o)
	now := settled("another base topic", func(all map[string]string) bool {
		return topicsOf(all, "hearthgate/") == 0 && all["home/gate/bridge/epoch"] != ""
	})
	if d := cmp.Diff(ids, uniqueIDs(t, now)); d != "" {
		t.Errorf("another base topic: other unique ids (-before +after):\n%s", d)
	}
	h.stop()
	o.Discovery = DiscoverNothing
	h.run(o)
	settled("no discovery", func(all map[string]string) bool { return topicsOf(all, "/config") == 0 })
}

// What is removed while its topic moves is removed, not moved.
func TestAComponentThatGoesWithTheMoveIsNoGhost(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("kitchen", thermometer, plug)
	o := viaEmbedded(br)
	h.run(o)
	eventually(t, "described", func() bool { return topicsOf(retained(t, br.Dial), "/config") == 2 })
	h.stop()
	h.describe("kitchen", thermometer)
	o.Discovery = DiscoverComponents
	c := newClient(t, br.Dial, "homeassistant/#")
	h.run(o)
	said := c.configs("moved", func(x config) bool { return strings.Contains(x.topic, "_kitchen/config") && x.payload == "" })
	said = slices.DeleteFunc(said, func(x config) bool {
		return !strings.Contains(x.topic, "/device/") || !strings.Contains(x.topic, "_kitchen/config")
	})
	if len(said) != 3 || !strings.Contains(said[0].payload, `"plug":{"platform":"switch"}`) || said[1].payload != hass.Moves {
		t.Errorf("%v", said)
	}

	h.stop()
	h.describe("kitchen", plug)
	o.Discovery = DiscoverDevices
	c = newClient(t, br.Dial, "homeassistant/#")
	h.run(o)
	said = c.configs("moved back", func(x config) bool { return strings.Contains(x.topic, "__gaps") && x.payload == "" })
	for _, x := range said {
		if strings.Contains(x.topic, "/temperature/") && x.payload != "" {
			t.Errorf("the thermometer moves, and nobody takes it: %v", x)
		}
	}
}

// A component that becomes something else is removed by one message, and what
// it is now comes with the next; so it is too when the gateway stops in between.
func TestAChangeOfPlatformTakesTwoMessages(t *testing.T) {
	br := embedded(t)
	dir := t.TempDir()
	h := openHome(t, dir)
	h.add("kitchen", protocol.Component{ID: "desk", Kind: "switch"})
	c := newClient(t, br.Dial, "homeassistant/#")
	o := viaEmbedded(br)
	h.run(o)
	desk := func(what, want string) {
		t.Helper()
		said := c.configs(what, func(x config) bool { return strings.Contains(x.topic, "_kitchen/config") })
		if last := said[len(said)-1]; !strings.Contains(last.payload, want) {
			t.Errorf("%s: %s", what, last.payload)
		}
	}
	desk("a switch", `"desk":{"platform":"switch","unique_id"`)
	h.describe("kitchen", lamp)
	desk("gone", `"desk":{"platform":"switch"}`)
	desk("a lamp", `"desk":{"platform":"light","unique_id"`)

	h.stop()
	h.runWith(o, func(b *Bridge) { b.settle = time.Hour })
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	h.describe("kitchen", protocol.Component{ID: "desk", Kind: "siren"})
	desk("gone again", `"desk":{"platform":"light"}`)
	h.close()
	h = openHome(t, dir)
	h.run(o)
	desk("a siren, after the restart", `"desk":{"platform":"siren","unique_id"`)
}

// Changes that come together are told together, and what changes nothing is not
// told at all.
func TestNothingIsToldTwice(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("kitchen", thermometer)
	h.runWith(viaEmbedded(br), func(b *Bridge) { b.debounce = 300 * time.Millisecond })
	eventually(t, "described", func() bool { return topicsOf(retained(t, br.Dial), "/config") == 2 })
	c := newClient(t, br.Dial, "homeassistant/#", "hearthgate/bridge/health")
	for range 100 {
		h.bridge.deviceChanged("kitchen", registry.Updated)
	}
	if err := h.reg.Rename("kitchen", "Big kitchen"); err != nil {
		t.Fatal(err)
	}
	said := c.configs("the new name", func(x config) bool { return strings.Contains(x.payload, "Big kitchen") })
	if len(said) != 1 {
		t.Errorf("%d messages: %v", len(said), said)
	}
	h.bridge.deviceChanged("kitchen", registry.Updated)
	h.bridge.deviceChanged("nobody", registry.Removed)
	if err := h.reg.Rename("kitchen", "Kitchen"); err != nil {
		t.Fatal(err)
	}
	if said := c.configs("the old name", func(x config) bool { return strings.Contains(x.payload, `"name":"Kitchen"`) }); len(said) != 1 {
		t.Errorf("%d messages: %v", len(said), said)
	}
}

// Home Assistant needs the description of an entity before its state, and the
// gateway before what is reached through it.
func TestAfterABirthDescriptionsComeBeforeStates(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	for _, id := range []string{"kitchen", "cellar", "attic"} {
		h.add(id, thermometer)
		h.say(id, number("temperature", 20))
	}
	h.run(viaEmbedded(br))
	eventually(t, "all is published", func() bool { return retained(t, br.Dial)["hearthgate/bridge/epoch"] != "" })
	c := newClient(t, br.Dial, "homeassistant/#", "hearthgate/device/#")
	c.publish("homeassistant/status", "online", false)
	var order []string
	c.expectThat("the last state", func(x heard) bool {
		topic := strings.ReplaceAll(x.topic, h.store.GatewayID(), "G")
		if !x.retained && (strings.HasSuffix(topic, "/config") || strings.HasSuffix(topic, "/temperature/state")) {
			order = append(order, topic)
		}
		return !x.retained && topic == "hearthgate/device/kitchen/temperature/state"
	})
	want := []string{"homeassistant/device/hg_G/config",
		"homeassistant/device/hg_G_attic/config", "hearthgate/device/attic/temperature/state",
		"homeassistant/device/hg_G_cellar/config", "hearthgate/device/cellar/temperature/state",
		"homeassistant/device/hg_G_kitchen/config", "hearthgate/device/kitchen/temperature/state"}
	if d := cmp.Diff(want, order); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// The list of what the broker has from us is on disk before the broker has it:
// the power may fail the moment after.
func TestAPowerCutLeavesNoOrphan(t *testing.T) {
	m := startMosquitto(t, true)
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	h := openHome(t, dir)
	h.add("kitchen", thermometer)
	c := newClient(t, m.dial, "homeassistant/#", "hearthgate/device/#")
	o := Options{Broker: "mqtt://" + m.Address}
	h.run(o)
	h.presence("kitchen", store.Online)
	h.say("kitchen", number("temperature", 20))
	want := map[string]bool{"hearthgate/device/kitchen/info": true, "hearthgate/device/kitchen/lifecycle": true,
		"hearthgate/device/kitchen/temperature/state": true, "homeassistant/device/hg_" + h.store.GatewayID() + "_kitchen/config": true}
	for len(want) > 0 {
		delete(want, c.expectThat("all topics", func(heard) bool { return true }).topic)
	}
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil { // what a power cut would leave
		t.Fatal(err)
	}
	h.close()
	after := openHome(t, image)
	if err := after.reg.Remove("kitchen"); err != nil {
		t.Fatal(err)
	}
	after.run(o)
	eventually(t, "nothing of the kitchen is left", func() bool { return topicsOf(retained(t, m.dial), "kitchen") == 0 })
}

// A large home is told in portions, and all of it is.
func TestALargeHomeIsToldWhole(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	if _, _, err := h.reg.AddMany("plug", 3*paceSize+1); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, br.Dial, "hearthgate/bridge/epoch", "homeassistant/status")
	h.run(viaEmbedded(br))
	c.expect("hearthgate/bridge/epoch", h.store.Epoch())
	if n := topicsOf(retained(t, br.Dial), "/config"); n != 3*paceSize+2 {
		t.Errorf("%d things are described", n)
	}
	c = newClient(t, br.Dial, "homeassistant/#")
	c.publish("homeassistant/status", "online", false)
	c.configs("the last", func(x config) bool { return strings.Contains(x.topic, "_plug-049/config") })
}
