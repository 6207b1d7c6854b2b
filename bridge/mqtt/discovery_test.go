package mqtt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hacheck"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// logged is a log that a test can look at while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// A class that does not go with its unit is not sent, and that is said where
// someone who looks for it would look.
func TestWhatHomeAssistantWouldNotTakeIsSaid(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("kitchen", protocol.Component{ID: "oven", Kind: "sensor", Unit: "W", Class: "temperature"})
	c := newClient(t, br.Dial, "hearthgate/device/kitchen/info", "homeassistant/#")
	log := &logged{}
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
	if n := log.count("device=kitchen component=oven"); n != 1 {
		t.Errorf("the log says it %d times, not once", n)
	}
}

// asked is a device that notes what it is asked for, in words.
type asked struct {
	h  *home
	id string
	ch chan string
}

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
	m := h.bridge.names.Device(d, nil)
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
