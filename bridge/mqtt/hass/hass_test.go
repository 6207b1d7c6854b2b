package hass

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
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

func none() map[string]protocol.Attribute { return map[string]protocol.Attribute{} }

func attributes(names ...string) map[string]protocol.Attribute {
	m := none()
	for _, n := range names {
		m[n] = protocol.Attribute{}
	}
	return m
}

// golden compares with testdata, one component a line.
func golden(t *testing.T, name string, payload []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, payload, "", " "); err != nil {
		t.Fatalf("%v in %s", err, payload)
	}
	pretty.WriteByte('\n')
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), pretty.String()); d != "" {
		t.Errorf("%s (-want +got, run with -update if it is right):\n%s", name, d)
	}
}

func TestKinds(t *testing.T) {
	for name, cs := range map[string][]protocol.Component{
		"contract": {
			{ID: "temperature", Kind: "sensor", Unit: "Cel", Class: "temperature", StateClass: "measurement", Precision: new(1)},
			{ID: "plug", Kind: "switch"},
		},
		"sensor": {
			{ID: "power", Kind: "sensor", Unit: "W", Class: "power", StateClass: "measurement", Freshness: 300},
			{ID: "wrong", Kind: "sensor", Unit: "W", Class: "temperature"},
			{ID: "ratio", Kind: "sensor", Unit: "/", Class: "humidity", Precision: new(2)},
			{ID: "odd", Kind: "sensor", Unit: "furlong"},
			{ID: "mode", Kind: "sensor", Options: []string{"eco", "boost"}},
			{ID: "text", Kind: "sensor", Name: "Last words", Category: "config", Hidden: true},
			{ID: "future", Kind: "teleporter"},
		},
		"binary_sensor": {
			{ID: "motion", Kind: "binary_sensor", Class: "motion"},
			{ID: "front-door", Kind: "binary_sensor", Class: "gate", Category: "diagnostic"},
		},
		"switch": {{ID: "socket", Kind: "switch", Class: "outlet"}, {ID: "alarm", Kind: "siren"}},
		"number": {
			{ID: "limit", Kind: "number", Unit: "W", Class: "power", Min: new(10.0), Max: new(3000.0), Step: new(10.0), Category: "config"},
			{ID: "free", Kind: "number", Precision: new(5)},
		},
		"button": {{ID: "restart", Kind: "button", Class: "restart", Category: "config"}},
		"choice": {
			{ID: "program", Kind: "select", Options: []string{"wash", "dry"}},
			{ID: "greeting", Kind: "text"},
			{ID: "bell", Kind: "event", Class: "doorbell", Options: []string{"press", "hold"}},
		},
		"light": {
			{ID: "desk", Kind: "light", Name: "Desk lamp", Attributes: map[string]protocol.Attribute{
				"on": {}, "brightness": {}, "color_temp": {Min: new(2700.0), Max: new(6500.0)}, "rgb": {}, "effect": {Options: []string{"candle"}}}},
			{ID: "hall", Kind: "light", Attributes: attributes("on")},
			{ID: "lawn", Kind: "light", Attributes: attributes("on", "brightness")},
			{ID: "glow", Kind: "light", Attributes: attributes("brightness")},
		},
		"plain": { // kinds without a platform of their own yet
			{ID: "blind", Kind: "cover", Attributes: attributes("state", "position", "action")},
			{ID: "vent", Kind: "fan", Name: "Vent", Attributes: attributes("on", "speed", "direction")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := device(t, cs...)
			m := names.Device(d, nil)
			if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
				t.Errorf("Home Assistant would refuse it: %v", err)
			}
			golden(t, name, m.Payload)
			for _, m := range names.Components(d) {
				if err := hacheck.Component(m.Topic, names.Prefix, m.Payload); err != nil {
					t.Errorf("%s: Home Assistant would refuse it: %v", m.Topic, err)
				}
			}
		})
	}
}

// The example of the contract, as far as its bytes are fixed.
func TestExampleOfTheContract(t *testing.T) {
	m := names.Device(device(t, protocol.Component{ID: "temperature", Kind: "sensor", Unit: "Cel", Class: "temperature", StateClass: "measurement", Precision: new(1)},
		protocol.Component{ID: "plug", Kind: "switch"}), nil)
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

func TestGateway(t *testing.T) {
	m := names.GatewayDevice()
	if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
		t.Errorf("Home Assistant would refuse it: %v", err)
	}
	golden(t, "gateway", m.Payload)
}

// A component that goes away, or is of another platform than before, is named
// once with the platform that it had and nothing else.
func TestComponentsThatAreGone(t *testing.T) {
	d := device(t, protocol.Component{ID: "plug", Kind: "switch"}, protocol.Component{ID: "desk", Kind: "light", Attributes: attributes("on")})
	m := names.Device(d, map[string]string{"desk": "switch", "temperature": "sensor"})
	if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
		t.Errorf("Home Assistant would refuse it: %v", err)
	}
	golden(t, "gone", m.Payload)
}

func TestSleepersValuesDoNotExpire(t *testing.T) {
	d := device(t, protocol.Component{ID: "t", Kind: "sensor", Unit: "Cel", Freshness: 600})
	if p := string(names.Device(d, nil).Payload); !strings.Contains(p, `"expire_after":600`) {
		t.Errorf("no expire_after in %s", p)
	}
	d.WakeInterval = 3600
	if p := string(names.Device(d, nil).Payload); strings.Contains(p, "expire_after") {
		t.Errorf("expire_after for one that sleeps longer in %s", p)
	}
}

// Whatever a device says of itself, if the gateway takes it, Home Assistant
// takes what becomes of it, and twice the same.
func TestAnyDescriptionIsTaken(t *testing.T) {
	kinds := []string{"sensor", "binary_sensor", "switch", "siren", "number", "select", "text", "button", "event",
		"light", "cover", "valve", "lock", "fan", "climate", "humidifier", "teleporter"}
	attrs := map[string][]string{
		"light": {"on", "brightness", "color_temp", "rgb", "effect"}, "cover": {"state", "position", "tilt", "action"},
		"valve": {"state", "position", "action"}, "lock": {"state", "action"}, "fan": {"on", "speed", "preset", "oscillate", "direction"},
		"climate":    {"mode", "target", "target_low", "target_high", "temperature", "humidity", "action", "fan_mode"},
		"humidifier": {"on", "target", "humidity", "mode", "action"}, "teleporter": {"a-b", "b", "a"},
	}
	words := append([]string{"", "temperature", "energy", "motion", "door", "outlet", "restart", "doorbell", "enum", "timestamp", "date", "ph", "aqi"}, keysOf(sensorClasses)...)
	unitNames := []string{"", "Cel", "%RH", "/", "W", "kWh", "hPa", "dBm", "S/m", "pH", "1", "m3", "l/s", "furlong"}
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Custom(func(t *rapid.T) *float64 {
			if rapid.Bool().Draw(t, "given") {
				return nil
			}
			return new(rapid.Float64Range(-1e6, 1e6).Draw(t, "f"))
		})
		options := rapid.SliceOfN(rapid.StringMatching(`[a-z"<&é]{1,5}`), 1, 3)
		var cs []protocol.Component
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			c := protocol.Component{
				ID:       rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,4}`).Draw(t, "id"),
				Kind:     rapid.SampledFrom(kinds).Draw(t, "kind"),
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
				c.Attributes = none()
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
		m := names.Device(d, nil)
		if err := hacheck.Device(m.Topic, names.Prefix, m.Payload); err != nil {
			t.Fatalf("Home Assistant would refuse %s: %v", m.Payload, err)
		}
		if again := names.Device(d, nil); !bytes.Equal(m.Payload, again.Payload) {
			t.Fatalf("%s and then %s", m.Payload, again.Payload)
		}
		for _, m := range names.Components(d) {
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
