package hass

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hacheck"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

var update = flag.Bool("update", false, "write testdata/*.golden")

var names = Names{Gateway: "k3v9x2ab", Base: "hearthgate", Prefix: "homeassistant", Version: "0.1.0"}

func device(t *testing.T, cs ...protocol.Component) registry.Device {
	t.Helper()
	desc, err := protocol.NewDescription(&protocol.Describe{Manufacturer: "Acme", Model: "TH-1", Components: cs}, nil, protocol.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return registry.Device{ID: "kitchen-sensor", Name: "Kitchen", Area: "Kitchen", Firmware: "1.4.0", Description: desc}
}

// golden compares messages with testdata, one key a line.
func golden(t *testing.T, name string, ms ...Message) {
	t.Helper()
	var pretty bytes.Buffer
	for _, m := range ms {
		pretty.WriteString(m.Topic + "\n")
		if err := json.Indent(&pretty, m.Payload, "", " "); err != nil {
			t.Fatalf("%v in %s", err, m.Payload)
		}
		pretty.WriteByte('\n')
	}
	compare(t, name, pretty.String(), "Home Assistant is told something else")
}

func compare(t *testing.T, name, got, meaning string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: %s (-want +got, run with -update if it is meant):\n%s", file, meaning, d)
	}
}

// parts is a component with these attributes and nothing said about them.
func attributes(names ...string) map[string]protocol.Attribute {
	m := map[string]protocol.Attribute{}
	for _, n := range names {
		m[n] = protocol.Attribute{}
	}
	return m
}

// options is an attribute that takes one of these.
func options(os ...string) protocol.Attribute { return protocol.Attribute{Options: os} }

func between(low, high float64) protocol.Attribute {
	return protocol.Attribute{Min: &low, Max: &high}
}

// kinds are components of every kind, whole and as odd as they may be.
var kinds = map[string][]protocol.Component{
	"sensor": {
		{ID: "power", Kind: "sensor", Unit: "W", Class: "power", StateClass: "measurement", Freshness: 300},
		{ID: "energy", Kind: "sensor", Unit: "kWh", Class: "energy", StateClass: "total_increasing"},
		{ID: "wind", Kind: "sensor", Unit: "deg", Class: "wind_direction", StateClass: "measurement"},
		{ID: "rssi", Kind: "sensor", Unit: "dBm", Class: "signal_strength", StateClass: "measurement", Hidden: true},
		{ID: "ratio", Kind: "sensor", Unit: "/", Class: "humidity", Precision: new(3)},
		{ID: "salt", Kind: "sensor", Unit: "S/m", Class: "conductivity"},
		{ID: "tariff", Kind: "sensor", Unit: "EUR", Class: "monetary", StateClass: "total"},
		{ID: "mode", Kind: "sensor", Options: []string{"eco", "boost"}},
		{ID: "serviced", Kind: "sensor", Class: "timestamp"},
		{ID: "text", Kind: "sensor", Name: "Last words", Category: "config", Hidden: true},
	},
	"binary_sensor": {
		{ID: "motion", Kind: "binary_sensor", Class: "motion"},
		{ID: "front-door", Kind: "binary_sensor", Class: "door", Category: "diagnostic", Freshness: 60},
	},
	"switch": {{ID: "socket", Kind: "switch", Class: "outlet"}, {ID: "plug", Kind: "switch", Name: "Plug", Category: "config"}},
	"siren":  {{ID: "alarm", Kind: "siren"}},
	"number": {
		{ID: "limit", Kind: "number", Unit: "W", Class: "power", Min: new(10.0), Max: new(3000.0), Step: new(10.0), Category: "config"},
		{ID: "free", Kind: "number", Precision: new(5)},
		{ID: "share", Kind: "number", Unit: "/", Min: new(0.0), Max: new(1.0), Step: new(0.05)},
	},
	"select": {{ID: "program", Kind: "select", Options: []string{"wash", "dry"}}},
	"text":   {{ID: "greeting", Kind: "text"}},
	"button": {{ID: "restart", Kind: "button", Class: "restart", Category: "config"}},
	"event": {
		{ID: "bell", Kind: "event", Class: "doorbell", Options: []string{"press", "hold"}},
		{ID: "remote", Kind: "event", Class: "button", Options: []string{"press", "single", "double", "hold", "Spin left"}},
	},
	"light": {
		{ID: "desk", Kind: "light", Name: "Desk lamp", Attributes: map[string]protocol.Attribute{
			"on": {}, "brightness": {}, "color_temp": between(2700, 6500), "rgb": {}, "effect": options("candle")}},
		{ID: "hall", Kind: "light", Attributes: attributes("on")},
		{ID: "lawn", Kind: "light", Attributes: map[string]protocol.Attribute{"on": {}, "brightness": between(0, 254)}},
	},
	"cover": {
		{ID: "blind", Kind: "cover", Class: "blind", Attributes: attributes("state", "position", "tilt", "action")},
		{ID: "garage", Kind: "cover", Class: "garage", Attributes: map[string]protocol.Attribute{"state": {}, "action": options("open", "close")}},
		{ID: "shade", Kind: "cover", Attributes: map[string]protocol.Attribute{"position": between(0, 255)}},
		{ID: "gate", Kind: "cover", Attributes: attributes("action")},
	},
	"valve": {
		{ID: "main", Kind: "valve", Class: "water", Attributes: attributes("state", "position", "action")},
		{ID: "garden", Kind: "valve", Attributes: attributes("state", "action")},
	},
	"lock": {
		{ID: "front", Kind: "lock", Attributes: attributes("state", "action")},
		{ID: "back", Kind: "lock", Attributes: map[string]protocol.Attribute{"state": {}, "action": options("lock", "unlock")}},
	},
	"fan": {
		{ID: "vent", Kind: "fan", Attributes: map[string]protocol.Attribute{"on": {}, "speed": {}, "preset": options("auto", "None"), "oscillate": {}, "direction": {}}},
		{ID: "hood", Kind: "fan", Attributes: map[string]protocol.Attribute{"on": {}, "speed": between(0, 3)}},
		{ID: "attic", Kind: "fan", Attributes: attributes("on")},
	},
	"climate": {
		{ID: "ac", Kind: "climate", Name: "Air", Unit: "Cel", Precision: new(1), Attributes: map[string]protocol.Attribute{
			"mode": {}, "target": {Min: new(16.0), Max: new(30.0), Step: new(0.5)}, "target_low": between(10, 28), "target_high": between(12, 32),
			"temperature": {}, "humidity": {}, "target_humidity": between(35, 85), "action": {}, "fan_mode": options("low", "high"), "preset": options("none", "away")}},
		{ID: "radiator", Kind: "climate", Attributes: map[string]protocol.Attribute{"mode": options("off", "heat"), "target": {Min: new(40.0)}, "temperature": {}}},
		{ID: "floor", Kind: "climate", Attributes: attributes("target", "temperature")},
	},
	"humidifier": {
		{ID: "mist", Kind: "humidifier", Class: "humidifier", Attributes: map[string]protocol.Attribute{
			"on": {}, "target": between(30, 80), "humidity": {}, "mode": options("quiet", "None"), "action": {}}},
		{ID: "dryer", Kind: "humidifier", Class: "dehumidifier", Attributes: attributes("on", "target")},
	},
	"sensors": { // what is none of its kind for Home Assistant
		{ID: "glow", Kind: "light", Attributes: attributes("brightness", "color_temp")},
		{ID: "door", Kind: "lock", Attributes: attributes("state")},
		{ID: "vent", Kind: "fan", Attributes: attributes("speed", "direction")},
		{ID: "mist", Kind: "humidifier", Unit: "%RH", Attributes: attributes("target", "humidity")},
		{ID: "dry", Kind: "humidifier", Attributes: map[string]protocol.Attribute{"on": {}, "mode": options("quiet")}},
		{ID: "oven", Kind: "climate", Unit: "K", Attributes: attributes("target", "temperature")},
		{ID: "future", Kind: "teleporter"},
		{ID: "later", Kind: "transporter", Attributes: attributes("b", "a")},
		{ID: "odd", Kind: "sensor", Unit: "furlong"},
	},
	"contract": {
		{ID: "temperature", Kind: "sensor", Unit: "Cel", Class: "temperature", StateClass: "measurement", Precision: new(1)},
		{ID: "plug", Kind: "switch"},
	},
}

// bare is a device without what each has for nothing.
func bare(d registry.Device) Thing {
	t := names.Device(d)
	t.entities = slices.DeleteFunc(t.entities, func(e entity) bool { return strings.HasPrefix(e.key, "__") })
	return t
}

var film = registry.Scene{ID: "film-night", Name: "Film night"}

// What each device has for nothing, and the gateway: in both forms.
func TestDiagnostics(t *testing.T) {
	for name, thing := range map[string]Thing{"diagnostics": names.Device(device(t)), "gateway": names.Itself(film)} {
		m := thing.Whole(nil)
		if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
			t.Errorf("Home Assistant would refuse it: %v", err)
		}
		golden(t, name, m)
		for _, m := range thing.Apart() {
			if err := hacheck.Component(m.Topic, names.Prefix, m.Payload); err != nil {
				t.Errorf("%s: Home Assistant would refuse it: %v", m.Topic, err)
			}
		}
		golden(t, name+".components", thing.Apart()...)
	}
	d := device(t)
	d.Firmware = "" // it said none, so there is none to show
	if m := names.Device(d).Whole(nil); strings.Contains(string(m.Payload), "firmware") {
		t.Errorf("%s", m.Payload)
	}
}

// Each kind as one message a device and as one a component.
func TestKinds(t *testing.T) {
	for name, cs := range kinds {
		t.Run(name, func(t *testing.T) {
			d := device(t, cs...)
			m := bare(d).Whole(nil)
			if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
				t.Errorf("Home Assistant would refuse it: %v", err)
			}
			golden(t, name, m)
			ms := bare(d).Apart()
			for _, m := range ms {
				if err := hacheck.Component(m.Topic, names.Prefix, m.Payload); err != nil {
					t.Errorf("%s: Home Assistant would refuse it: %v", m.Topic, err)
				}
			}
			golden(t, name+".components", ms...)
		})
	}
}

// What cannot be sent is said, naming the component.
func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		is   protocol.Component
		want string
	}{
		{protocol.Component{Kind: "sensor", Unit: "W", Class: "temperature"}, `the class "temperature" does not go with the unit "W"`},
		{protocol.Component{Kind: "sensor", Class: "temperature"}, `needs a unit, such as °C`},
		{protocol.Component{Kind: "sensor", Unit: "Cel", Class: "heat"}, `a sensor has no class "heat"`},
		{protocol.Component{Kind: "sensor", Unit: "Cel", Class: "temperature", StateClass: "total"}, `the state class "total" does not go with the class "temperature"`},
		{protocol.Component{Kind: "sensor", Unit: "kWh", Class: "energy", StateClass: "measurement"}, `the state class "measurement"`},
		{protocol.Component{Kind: "sensor", Class: "timestamp", StateClass: "measurement"}, `does not go with a state class`},
		{protocol.Component{Kind: "sensor", Class: "timestamp", Unit: "s"}, `no class "timestamp"`},
		{protocol.Component{Kind: "sensor", Class: "battery", Options: []string{"low"}}, `does not go with options`},
		{protocol.Component{Kind: "number", Unit: "W", Class: "enum"}, `a number has no class "enum"`},
		{protocol.Component{Kind: "binary_sensor", Class: "gate"}, `a binary_sensor has no class "gate"`},
		{protocol.Component{Kind: "light", Class: "desk", Attributes: attributes("on")}, `a light has no class "desk"`},
		{protocol.Component{Kind: "cover", Attributes: map[string]protocol.Attribute{"position": between(0, 0.5)}}, "no two whole numbers"},
		{protocol.Component{Kind: "valve", Attributes: map[string]protocol.Attribute{"position": between(0.1, 0.5), "state": {}}}, "no two whole numbers"},
		{protocol.Component{Kind: "fan", Attributes: map[string]protocol.Attribute{"on": {}, "speed": between(0, 1)}}, "above 0"},
		{protocol.Component{Kind: "fan", Attributes: map[string]protocol.Attribute{"on": {}, "preset": options("None")}}, "no preset of that name"},
		{protocol.Component{Kind: "climate", Unit: "K", Attributes: attributes("target")}, `a climate in "K"`},
		{protocol.Component{Kind: "climate", Attributes: map[string]protocol.Attribute{"target_humidity": between(100, 200)}}, "no two whole percentages"},
		{protocol.Component{Kind: "humidifier", Attributes: map[string]protocol.Attribute{"on": {}, "target": {}, "mode": options("None")}}, "no mode of that name"},
	} {
		c.is.ID = "it"
		d := device(t, c.is)
		ws := Warnings(d)
		if len(ws) != 1 || !strings.Contains(ws[0].String(), c.want) || ws[0].Component != "it" {
			t.Errorf("%+v: warnings %v, want %q", c.is, ws, c.want)
		}
		m := names.Device(d).Whole(nil)
		if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
			t.Errorf("Home Assistant would refuse %s: %v", m.Payload, err)
		}
	}
	for name, cs := range kinds {
		if ws := Warnings(device(t, cs...)); len(ws) > 0 && name != "sensors" {
			t.Errorf("%s is right and gives %v", name, ws)
		}
	}
}

// Home Assistant puts the name of the device in front of each entity's.
func TestNamesDoNotRepeatTheDevice(t *testing.T) {
	d := device(t, protocol.Component{ID: "fan", Kind: "switch"}, protocol.Component{ID: "an", Kind: "switch"})
	d.Name = "Bathroom fan "
	if p := string(names.Device(d).Whole(nil).Payload); strings.Contains(p, `"name":null`) {
		t.Errorf("%s", p)
	}
	d.Name = "Bathroom fan"
	if p := string(names.Device(d).Whole(nil).Payload); !strings.Contains(p, `_sensor_fan","name":null`) || !strings.Contains(p, `"name":"An"`) {
		t.Errorf("%s", p)
	}
	for name, want := range map[string]string{
		"Lamp": `"name":"Lamp"`, "Kitchen": `"name":null`, "kitchen": `"name":null`, "Kitchen lamp": `"name":"Lamp"`, "kitchen über-light": `"name":"Über-light"`,
		"Kitchenette": `"name":"Kitchenette"`, "Kitchen ": `"name":"Kitchen "`, "Küche": `"name":"Küche"`, "Kitche": `"name":"Kitche"`,
	} {
		d := device(t, protocol.Component{ID: "it", Kind: "switch", Name: name})
		m := names.Device(d).Whole(nil)
		if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
			t.Errorf("Home Assistant would refuse it: %v", err)
		}
		if !strings.Contains(string(m.Payload), `kitchen_sensor_it",`+want) {
			t.Errorf("%q: want %s in %s", name, want, m.Payload)
		}
	}
}

// A rename changes what people read, and nothing else.
func TestARenameKeepsEveryIdentity(t *testing.T) {
	for name, cs := range kinds {
		d := device(t, cs...)
		before := names.Device(d).Apart()
		d.Name, d.Area = "Somewhere else", "Attic"
		for i, m := range names.Device(d).Apart() {
			var was, is map[string]any
			if json.Unmarshal(before[i].Payload, &was) != nil || json.Unmarshal(m.Payload, &is) != nil {
				t.Fatalf("%s and %s", before[i].Payload, m.Payload)
			}
			for _, readable := range []map[string]any{was, is} {
				delete(readable, "name")
				delete(readable, "device")
			}
			if d := cmp.Diff(was, is); d != "" || m.Topic != before[i].Topic {
				t.Errorf("%s: a rename changes (-before +after)\n%s", name, d)
			}
		}
	}
}

// What users have is made of these: if a line changes, so does something that
// they have built upon.
func TestIdentitiesStay(t *testing.T) {
	var out strings.Builder
	things := []Thing{names.Itself(film), names.Device(device(t))}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		things = append(things, bare(device(t, kinds[name]...)))
	}
	for _, thing := range things {
		fmt.Fprintf(&out, "%s\n", thing.Topic())
		for _, m := range thing.Apart() {
			var c map[string]any
			if err := json.Unmarshal(m.Payload, &c); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s\n", m.Topic)
			for _, key := range slices.Sorted(maps.Keys(c)) {
				if v, ok := c[key].(string); ok && (key == "unique_id" || key == "unit_of_measurement" || key == "default_entity_id" || strings.HasSuffix(key, "topic")) {
					fmt.Fprintf(&out, "\t%s %s\n", key, v)
				}
			}
		}
	}
	compare(t, "identities", out.String(), "This breaks what users have. A changed discovery topic or unique_id: every entity behind it is made anew in Home Assistant, "+
		"its history, its place in dashboards and automations is lost, and the old one stays as a ghost. A changed state or command topic: automations outside of "+
		"Home Assistant (Node-RED, scripts) stop. A changed unit: long-term statistics stop until the user repairs them by hand")
}

// The example of the contract, as far as its bytes are fixed.
func TestExampleOfTheContract(t *testing.T) {
	m := bare(device(t, kinds["contract"]...)).Whole(nil)
	if m.Topic != "homeassistant/device/hg_k3v9x2ab_kitchen-sensor/config" {
		t.Error(m.Topic)
	}
	const want = `{"device":{"identifiers":["hg_k3v9x2ab_kitchen-sensor"],"name":"Kitchen","manufacturer":"Acme","model":"TH-1","sw_version":"1.4.0","suggested_area":"Kitchen","via_device":"hg_k3v9x2ab"},` +
		`"origin":{"name":"hearthgate","sw_version":"0.1.0"},` +
		`"availability":[{"topic":"hearthgate/bridge/state"},{"topic":"hearthgate/device/kitchen-sensor/availability"}],"availability_mode":"all",` +
		`"components":{` +
		`"temperature":{"platform":"sensor","unique_id":"hg_k3v9x2ab_kitchen-sensor_temperature","default_entity_id":"sensor.kitchen_sensor_temperature","device_class":"temperature","state_class":"measurement","unit_of_measurement":"°C","suggested_display_precision":1,"state_topic":"hearthgate/device/kitchen-sensor/temperature/state"},` +
		`"plug":{"platform":"switch","unique_id":"hg_k3v9x2ab_kitchen-sensor_plug","default_entity_id":"switch.kitchen_sensor_plug","name":"Plug","state_topic":"hearthgate/device/kitchen-sensor/plug/state","command_topic":"hearthgate/device/kitchen-sensor/plug/set","qos":1}}}`
	if d := cmp.Diff(want, string(m.Payload)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// A component that goes away, or is of another platform than before, is named
// once with the platform that it had and nothing else.
func TestComponentsThatAreGone(t *testing.T) {
	d := device(t, protocol.Component{ID: "plug", Kind: "switch"}, protocol.Component{ID: "desk", Kind: "light", Attributes: attributes("on")})
	m := bare(d).Whole(map[string]string{"desk": "switch", "temperature": "sensor"})
	if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
		t.Errorf("Home Assistant would refuse it: %v", err)
	}
	golden(t, "gone", m)
}

func TestSleepersValuesDoNotExpire(t *testing.T) {
	d := device(t, protocol.Component{ID: "t", Kind: "sensor", Unit: "Cel", Freshness: 600})
	if p := string(names.Device(d).Whole(nil).Payload); !strings.Contains(p, `"expire_after":600`) {
		t.Errorf("no expire_after in %s", p)
	}
	d.WakeInterval = 3600
	if p := string(names.Device(d).Whole(nil).Payload); strings.Contains(p, "expire_after") {
		t.Errorf("expire_after for one that sleeps longer in %s", p)
	}
}

// Whatever a device says of itself, if the gateway takes it, Home Assistant
// takes what becomes of it, and twice the same.
func TestAnyDescriptionIsTaken(t *testing.T) {
	all := []string{"sensor", "binary_sensor", "switch", "siren", "number", "select", "text", "button", "event",
		"light", "cover", "valve", "lock", "fan", "climate", "humidifier", "teleporter"}
	attrs := map[string][]string{
		"light": {"on", "brightness", "color_temp", "rgb", "effect"}, "cover": {"state", "position", "tilt", "action"},
		"valve": {"state", "position", "action"}, "lock": {"state", "action"}, "fan": {"on", "speed", "preset", "oscillate", "direction"},
		"climate":    {"mode", "target", "target_low", "target_high", "temperature", "humidity", "target_humidity", "action", "fan_mode", "preset"},
		"humidifier": {"on", "target", "humidity", "mode", "action"}, "teleporter": {"a-b", "b", "a"},
	}
	words := append([]string{"", "button", "water", "blind", "humidifier", "monetary", "temperature", "energy", "motion", "door", "outlet", "restart", "doorbell", "enum", "timestamp", "date", "ph", "aqi"}, keysOf(sensorClasses)...)
	unitNames := []string{"", "Cel", "%RH", "/", "W", "kWh", "hPa", "dBm", "EUR", "S/m", "pH", "1", "m3", "l/s", "furlong"}
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Custom(func(t *rapid.T) *float64 {
			if rapid.Bool().Draw(t, "given") {
				return nil
			}
			return new(rapid.OneOf(rapid.Float64Range(-1e6, 1e6), rapid.Float64Range(0, 110)).Draw(t, "f"))
		})
		options := rapid.SliceOfN(rapid.OneOf(rapid.StringMatching(`[a-z"<&é]{1,5}`), rapid.SampledFrom([]string{"None", "none", "press", "single"})), 1, 3)
		var cs []protocol.Component
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			c := protocol.Component{
				ID:       rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,4}`).Draw(t, "id"),
				Kind:     rapid.SampledFrom(all).Draw(t, "kind"),
				Name:     rapid.SampledFrom([]string{"", "Name", "\"q\" \x01"}).Draw(t, "name"),
				Unit:     rapid.SampledFrom(unitNames).Draw(t, "unit"),
				Class:    rapid.SampledFrom(words).Draw(t, "class"),
				Category: rapid.SampledFrom([]string{"", "config", "diagnostic"}).Draw(t, "category"),
				Min:      number.Draw(t, "min"), Max: number.Draw(t, "max"), Step: number.Draw(t, "step"),
				StateClass: rapid.SampledFrom([]string{"", "measurement", "total", "total_increasing"}).Draw(t, "state class"),
				Freshness:  rapid.SampledFrom([]uint64{0, 60, 1 << 60}).Draw(t, "freshness"),
				Hidden:     rapid.Bool().Draw(t, "hidden"),
			}
			if rapid.Bool().Draw(t, "has precision") {
				c.Precision = new(rapid.IntRange(0, 9).Draw(t, "precision"))
			}
			if needsOptions := c.Kind == "select" || c.Kind == "event"; needsOptions || rapid.Bool().Draw(t, "has options") {
				c.Options = options.Draw(t, "options")
			}
			if known := attrs[c.Kind]; len(known) > 0 {
				c.Attributes = attributes()
				for _, a := range rapid.SliceOfNDistinct(rapid.SampledFrom(known), 1, -1, rapid.ID).Draw(t, "attributes") {
					var x protocol.Attribute
					if a == "preset" || a == "effect" || a == "fan_mode" || a == "mode" && c.Kind == "humidifier" {
						x.Options = options.Draw(t, "options")
					} else {
						x.Min, x.Max = number.Draw(t, "min"), number.Draw(t, "max")
					}
					c.Attributes[a] = x
				}
			}
			cs = append(cs, c)
		}
		desc, err := protocol.NewDescription(&protocol.Describe{Components: cs}, nil, protocol.Limits{})
		if err != nil {
			return // the gateway does not take it either
		}
		if len(cs) > 0 {
			taken++
		}
		d := registry.Device{ID: "d-1", Description: desc, WakeInterval: 1}
		m := names.Device(d).Whole(nil)
		if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
			t.Fatalf("Home Assistant would refuse %s: %v", m.Payload, err)
		}
		if again := names.Device(d).Whole(nil); !bytes.Equal(m.Payload, again.Payload) {
			t.Fatalf("%s and then %s", m.Payload, again.Payload)
		}
		for _, m := range names.Device(d).Apart() {
			if err := hacheck.Component(m.Topic, names.Prefix, m.Payload); err != nil {
				t.Fatalf("%s: Home Assistant would refuse %s: %v", m.Topic, m.Payload, err)
			}
		}
	})
	if taken < 10 {
		t.Errorf("only %d random descriptions were good: the test shows little", taken)
	}
}

func keysOf(m map[string][]string) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	return ks
}
