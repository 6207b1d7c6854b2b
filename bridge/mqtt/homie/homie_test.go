package homie

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

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/bridge/mqtt/homiecheck"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

var update = flag.Bool("update", false, "write testdata/*.golden")

var names = Names{Gateway: "k3v9x2ab", Prefix: "homie", Unit: hass.Unit}

func describe(cs ...protocol.Component) (*protocol.Description, error) {
	return protocol.NewDescription(&protocol.Describe{Manufacturer: "Acme", Model: "TH-1", Components: cs}, nil, protocol.Limits{})
}

func device(t testing.TB, cs ...protocol.Component) registry.Device {
	t.Helper()
	d, err := describe(cs...)
	if err != nil {
		t.Fatal(err)
	}
	return registry.Device{ID: "kitchen-sensor", Name: "Kitchen", Description: d}
}

func attributes(names ...string) map[string]protocol.Attribute {
	m := map[string]protocol.Attribute{}
	for _, n := range names {
		m[n] = protocol.Attribute{}
	}
	return m
}

func options(os ...string) protocol.Attribute { return protocol.Attribute{Options: os} }

func between(low, high, step float64) protocol.Attribute {
	a := protocol.Attribute{Min: &low, Max: &high}
	if step > 0 {
		a.Step = &step
	}
	return a
}

// kinds is a device of every kind with what it says, and what then stands on the
// topics of its properties.
var kinds = map[string]struct {
	components []protocol.Component
	says       map[string]any
}{
	"sensor": {[]protocol.Component{
		{ID: "power", Kind: "sensor", Unit: "W", Min: new(0.0), Max: new(3000.0)},
		{ID: "battery_left", Kind: "sensor", Unit: "/", Precision: new(3)},
		{ID: "out-side", Kind: "sensor", Unit: "Cel", Name: "Out side", Precision: new(1)},
		{ID: "mode", Kind: "sensor", Options: []string{"eco", "boost"}},
		{ID: "note", Kind: "sensor"},
	}, map[string]any{"power": 3210, "battery_left": 0.5749, "out-side": 21.46, "mode": "eco", "note": ""}},
	"binary_sensor": {[]protocol.Component{{ID: "motion", Kind: "binary_sensor", Class: "motion"}}, map[string]any{"motion": true}},
	"switch":        {[]protocol.Component{{ID: "socket", Kind: "switch"}}, map[string]any{"socket": false}},
	"siren":         {[]protocol.Component{{ID: "alarm", Kind: "siren"}}, map[string]any{"alarm": false}},
	"number": {[]protocol.Component{
		{ID: "limit", Kind: "number", Unit: "W", Min: new(10.0), Max: new(3000.0), Step: new(10.0)},
		{ID: "share", Kind: "number", Unit: "/", Min: new(0.0), Max: new(1.0), Step: new(0.05)},
		{ID: "free", Kind: "number"},
	}, map[string]any{"limit": 5, "share": 0.35, "free": 1e21}},
	"select": {[]protocol.Component{
		{ID: "program", Kind: "select", Options: []string{"wash", "dry"}},
		{ID: "tricky", Kind: "select", Options: []string{"a,b", "c"}},
	}, map[string]any{"program": "dry", "tricky": "a,b"}},
	"text":   {[]protocol.Component{{ID: "greeting", Kind: "text"}}, map[string]any{"greeting": "Grüß Gott"}},
	"button": {[]protocol.Component{{ID: "restart", Kind: "button"}}, nil},
	"event":  {[]protocol.Component{{ID: "bell", Kind: "event", Options: []string{"press", "hold"}}}, map[string]any{"bell": "hold"}},
	"light": {[]protocol.Component{
		{ID: "desk", Kind: "light", Name: "Desk lamp", Attributes: map[string]protocol.Attribute{
			"on": {}, "brightness": {}, "color_temp": between(2700, 6500, 0), "rgb": {}, "effect": options("candle")}},
		{ID: "lawn", Kind: "light", Attributes: map[string]protocol.Attribute{"on": {}, "brightness": between(0, 254, 0)}},
	}, map[string]any{"desk/on": true, "desk/brightness": 40, "desk/color_temp": 9000, "desk/rgb": "#ff0a00", "desk/effect": "candle", "lawn/brightness": 254}},
	"cover": {[]protocol.Component{{ID: "blind", Kind: "cover", Attributes: attributes("state", "position", "tilt", "action")}},
		map[string]any{"blind/state": "opening", "blind/position": 50.5, "blind/tilt": 0}},
	"valve": {[]protocol.Component{{ID: "main", Kind: "valve", Attributes: attributes("state", "position", "action")}},
		map[string]any{"main/state": "closed", "main/position": 101}},
	"lock": {[]protocol.Component{{ID: "front", Kind: "lock", Attributes: attributes("state", "action")}}, map[string]any{"front/state": "jammed"}},
	"fan": {[]protocol.Component{{ID: "vent", Kind: "fan", Attributes: map[string]protocol.Attribute{
		"on": {}, "speed": {}, "preset": options("auto", "sleep"), "oscillate": {}, "direction": {}}}},
		map[string]any{"vent/on": true, "vent/speed": 33, "vent/preset": "auto", "vent/oscillate": false, "vent/direction": "reverse"}},
	"climate": {[]protocol.Component{{ID: "ac", Kind: "climate", Unit: "Cel", Attributes: map[string]protocol.Attribute{
		"mode": {}, "target": between(16, 30, 0.5), "target_low": {}, "temperature": {}, "humidity": {}, "target_humidity": between(35, 85, 0), "action": {}, "fan_mode": options("low", "high")}}},
		map[string]any{"ac/mode": "heat", "ac/target": 21.3, "ac/temperature": 20.9, "ac/humidity": 104, "ac/action": "heating", "ac/fan_mode": "low"}},
	"humidifier": {[]protocol.Component{{ID: "mist", Kind: "humidifier", Attributes: map[string]protocol.Attribute{
		"on": {}, "target": between(30, 80, 0), "humidity": {}, "mode": options("quiet"), "action": {}}}},
		map[string]any{"mist/on": true, "mist/target": 55, "mist/humidity": 41.5, "mist/action": "idle"}},
	"later": {[]protocol.Component{{ID: "beam", Kind: "teleporter", Attributes: attributes("value", "go_-to")}, {ID: "future", Kind: "transporter"}},
		map[string]any{"beam/value": 1, "beam/go_-to": "x", "future": true}},
}

func value(of any) protocol.Value {
	switch v := of.(type) {
	case bool:
		return protocol.Bool(v)
	case int64:
		return protocol.Int(v)
	case int:
		return protocol.Int(int64(v))
	case float64:
		return protocol.Float(v)
	}
	return protocol.Text(of.(string))
}

// One device of every kind as controllers get it: its description and its topics.
func TestKinds(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			d := names.Device(device(t, k.components...))
			var text bytes.Buffer
			text.WriteString(names.Topic(d.ID, "$description") + "\n")
			document := d.Document(7)
			if err := json.Indent(&text, document, "", " "); err != nil {
				t.Fatal(err)
			}
			text.WriteByte('\n')
			checked, err := homiecheck.Parse(document)
			if err != nil {
				t.Fatal(err)
			}
			for _, point := range slices.Sorted(maps.Keys(k.says)) {
				p := d.Points[point]
				payload, ok := p.Payload(value(k.says[point]))
				if !ok {
					fmt.Fprintf(&text, "%s (nothing: %v does not fit)\n", names.Topic(d.ID, p.Path()), k.says[point])
					continue
				}
				fmt.Fprintf(&text, "%s %q\n", names.Topic(d.ID, p.Path()), payload)
				if err := described(checked, p).Check(payload); err != nil {
					t.Errorf("%s: %v", point, err)
				}
			}
			golden(t, name, text.String())
		})
	}
}

// described is what the document says of a property.
func described(d *homiecheck.Device, p *Property) *homiecheck.Property {
	node, property, _ := strings.Cut(p.Path(), "/")
	return d.Nodes[node].Properties[property]
}

func golden(t *testing.T, name, got string) {
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
		t.Errorf("%s: controllers are told something else (-want +got, run with -update if it is meant):\n%s", file, d)
	}
}

func TestTheGatewayIsTheRoot(t *testing.T) {
	document := names.Itself([]string{"lamp", "desk"}).Document(3)
	if _, err := homiecheck.Parse(document); err != nil {
		t.Error(err)
	}
	const want = `{"homie":"5.0","version":3,"name":"Hearthgate k3v9x2ab","type":"gateway","children":["hg-k3v9x2ab-desk","hg-k3v9x2ab-lamp"]}`
	if string(document) != want {
		t.Errorf("got %s", document)
	}
}

// What is set arrives as the value that the device understands, or is refused with
// the words of the property.
func TestSettings(t *testing.T) {
	var all []protocol.Component
	for _, k := range kinds {
		for _, c := range k.components {
			c.ID = c.Kind + "-" + c.ID
			all = append(all, c)
		}
	}
	d, err := describe(all...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, payload string
		name          string
		want          any // nil: refused
	}{
		{"switch--socket/value", "true", "switch-socket", true},
		{"switch--socket/value", "ON", "switch-socket", nil},
		{"number--limit/value", "104", "number-limit", 100},
		{"number--limit/value", "105.5", "number-limit", 110},
		{"number--limit/value", "1e2", "number-limit", 100},
		{"number--limit/value", "+5", "number-limit", nil},
		{"number--limit/value", "0x10", "number-limit", nil},
		{"number--limit/value", "NaN", "number-limit", nil},
		{"number--limit/value", " 5", "number-limit", nil},
		{"number--share/value", "57", "number-share", 0.55},
		{"number--free/value", "9007199254740993", "number-free", int64(9007199254740993)},
		{"select--program/value", "dry", "select-program", "dry"},
		{"select--program/value", "Dry", "select-program", nil},
		{"select--program/value", "wash,dry", "select-program", nil},
		{"select--tricky/value", "a,b", "select-tricky", "a,b"},
		{"text--greeting/value", "\x00", "text-greeting", ""},
		{"text--greeting/value", "\xff", "text-greeting", nil},
		{"button--restart/value", "press", "button-restart", "PRESS"},
		{"button--restart/value", "PRESS", "button-restart", nil},
		{"light--desk/color-temp", "3000", "light-desk/color_temp", 3000},
		{"light--desk/rgb", "rgb,255,9.6,0", "light-desk/rgb", "#ff0a00"},
		{"light--desk/rgb", "rgb,256,0,0", "light-desk/rgb", nil},
		{"light--desk/rgb", "hsv,300,50,75", "light-desk/rgb", nil},
		{"light--desk/rgb", "rgb,1,2", "light-desk/rgb", nil},
		{"cover--blind/action", "stop", "cover-blind/action", "stop"},
		{"climate--ac/target", "21.3", "climate-ac/target", 21.5},
		// What cannot be set goes on to where its outcome is decided.
		{"sensor--power/value", "5", "sensor-power", "5"},
		{"nothing/value", "5", "nothing/value", "5"},
		{"bad---/value", "5", "bad---/value", "5"},
	} {
		node, property, _ := strings.Cut(c.path, "/")
		name, v, err := names.Setting(d, node, property, []byte(c.payload))
		switch {
		case name != c.name:
			t.Errorf("%s is %s, want %s", c.path, name, c.name)
		case (err != nil) != (c.want == nil):
			t.Errorf("%s %q: %v", c.path, c.payload, err)
		case err == nil && v.String() != value(c.want).String():
			t.Errorf("%s %q: %v, want %v", c.path, c.payload, v, c.want)
		}
	}
}

func TestTargets(t *testing.T) {
	for topic, want := range map[string]string{
		"homie/5/hg-k3v9x2ab-lamp/desk/on/set":    "lamp desk on",
		"homie/5/hg-k3v9x2ab-a-b/x--y/value/set":  "a-b x--y value",
		"homie/5/hg-k3v9x2ab/desk/on/set":         "",
		"homie/5/hg-k3v9x2ab--a/desk/on/set":      "",
		"homie/5/hg-zzzzzzzz-lamp/desk/on/set":    "",
		"homie/5/hg-k3v9x2ab-lamp/desk/on":        "",
		"homie/5/hg-k3v9x2ab-lamp/desk/on/x/set":  "",
		"homie/5/hg-k3v9x2ab-lamp/desk/set":       "",
		"other/5/hg-k3v9x2ab-lamp/desk/on/set":    "",
		"homie/5/hg-k3v9x2ab-LAMP/desk/on/set":    "",
		"homie/5/hg-k3v9x2ab-lamp/desk/on/get":    "",
		"homie/5/hg-k3v9x2ab-lamp//desk/on/set":   "",
		"homie/5/x/hg-k3v9x2ab-lamp/desk/on/set/": "",
	} {
		device, node, property, ok := names.Target(topic)
		if got := strings.TrimSpace(device + " " + node + " " + property); got != want || ok != (want != "") {
			t.Errorf("%s: %q", topic, got)
		}
	}
	for topic, want := range map[string]bool{
		"homie/5/hg-k3v9x2ab/$state": true, "other/5/hg-k3v9x2ab-a/b/c": true, "homie/5/hg-k3v9x2abc/$state": false,
		"homie/4/hg-k3v9x2ab/$state": false, "homie/5/hg-k3v9x2ab": false, "a/homie/5/hg-k3v9x2ab/$state": false,
	} {
		if names.Ours(topic) != want {
			t.Errorf("%s is ours: %v", topic, !want)
		}
	}
}

func TestPresence(t *testing.T) {
	for s, want := range map[store.PresenceState]string{
		store.Online: "ready", store.Sleeping: "sleeping", store.Lost: "lost", store.Unknown: "disconnected", store.Disabled: "disconnected",
	} {
		if got := State(s); got != want {
			t.Errorf("%s is %s, want %s", s, got, want)
		}
	}
}

func TestIDs(t *testing.T) {
	for name, want := range map[string]string{
		"temperature": "temperature", "color_temp": "color-temp", "front-door": "front--door", "a__b": "a---uu-b", "a-_": "a---du-", "1-": "1--",
	} {
		if got := idOf(name); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9]([ud_-]|[a-z0-9]){0,8}`).Draw(t, "name")
		id := idOf(name)
		if back, ok := nameOf(id); !ok || back != name || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Fatalf("%s becomes %s and then %s", name, id, back)
		}
		other := rapid.StringMatching(`[a-z0-9]([ud-]|[a-z0-9]){0,8}`).Draw(t, "id")
		if name, ok := nameOf(other); ok && idOf(name) != other {
			t.Fatalf("%s is read as %s, which is %s", other, name, idOf(name))
		}
	})
}

var allKinds = []string{"sensor", "binary_sensor", "switch", "siren", "number", "select", "text", "button", "event", "light", "cover", "valve", "lock", "fan", "climate", "humidifier", "teleporter"}

// randomComponents are components as devices may dare to describe them.
func randomComponents(t *rapid.T) (cs []protocol.Component) {
	known := map[string][]string{}
	for _, k := range kinds {
		for _, c := range k.components {
			known[c.Kind] = slices.Sorted(maps.Keys(c.Attributes))
		}
	}
	number := rapid.Custom(func(t *rapid.T) *float64 {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		return new(rapid.OneOf(rapid.Float64Range(0, 110), rapid.Float64()).Draw(t, "f"))
	})
	options := rapid.SliceOfN(rapid.OneOf(rapid.StringMatching(`[a-z"<&é, ]{0,3}`), rapid.SampledFrom([]string{"\x00", "\ufeffx"})), 1, 3)
	for range rapid.IntRange(1, 4).Draw(t, "components") {
		c := protocol.Component{
			ID:   rapid.StringMatching(`[a-z][a-b_-]{0,3}`).Draw(t, "id"),
			Kind: rapid.SampledFrom(allKinds).Draw(t, "kind"),
			Name: rapid.SampledFrom([]string{"", "Name", "\"q\" \x01"}).Draw(t, "name"),
			Unit: rapid.SampledFrom([]string{"", "Cel", "/", "W", "S/m", "\""}).Draw(t, "unit"),
			Min:  number.Draw(t, "min"), Max: number.Draw(t, "max"), Step: number.Draw(t, "step"),
		}
		if rapid.Bool().Draw(t, "precise") {
			c.Precision = new(rapid.IntRange(0, 9).Draw(t, "precision"))
		}
		if c.Kind == "select" || c.Kind == "event" || rapid.Bool().Draw(t, "has options") {
			c.Options = options.Draw(t, "options")
		}
		if from := known[c.Kind]; len(from) > 0 {
			c.Attributes = map[string]protocol.Attribute{}
			for _, a := range rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, -1, rapid.ID).Draw(t, "attributes") {
				x := protocol.Attribute{Min: number.Draw(t, "min"), Max: number.Draw(t, "max"), Step: number.Draw(t, "step")}
				if a == "preset" || a == "effect" || a == "fan_mode" || a == "mode" && c.Kind == "humidifier" {
					x.Options = options.Draw(t, "options")
				}
				c.Attributes[a] = x
			}
		}
		cs = append(cs, c)
	}
	return cs
}

var randomValues = rapid.OneOf(
	rapid.Map(rapid.Float64(), protocol.Float), rapid.Map(rapid.Float64Range(0, 110), protocol.Float), rapid.Map(rapid.Int64(), protocol.Int),
	rapid.Map(rapid.Float32(), func(f float32) protocol.Value { return protocol.Float(float64(f)) }),
	rapid.Map(rapid.Bool(), protocol.Bool), rapid.Map(rapid.String(), protocol.Text),
	rapid.Map(rapid.SampledFrom([]string{"", "\x00", "\ufeffx", "open", "#ff00ff", "#FFFFFF", "#+1+1+1", "a,b"}), protocol.Text),
)

// Whatever a device describes, says and is asked for: the description keeps to the
// convention, no value leaves its format, and what is set comes back the same.
func TestAnyDescription(t *testing.T) {
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		desc, err := describe(randomComponents(t)...)
		if err != nil {
			return // the gateway does not take it either
		}
		taken++
		d := names.Device(registry.Device{ID: "d-1", Description: desc})
		document := d.Document(1)
		checked, err := homiecheck.Parse(document)
		if err != nil {
			t.Fatalf("%v in %s", err, document)
		}
		properties := 0
		for _, n := range checked.Nodes {
			properties += len(n.Properties)
		}
		if properties != len(desc.Points()) {
			t.Fatalf("%d properties of %d points in %s", properties, len(desc.Points()), document)
		}
		for _, point := range desc.Points() {
			p := d.Points[point.Name]
			v := randomValues.Draw(t, "value")
			payload, ok := p.Payload(v)
			if !ok {
				continue
			}
			if err := described(checked, p).Check(payload); err != nil {
				t.Fatalf("%s says %v: %v", point.Name, v, err)
			}
			node, property, _ := strings.Cut(p.Path(), "/")
			name, set, err := names.Setting(desc, node, property, []byte(payload))
			if name != point.Name {
				t.Fatalf("%s is set as %s", point.Name, name)
			}
			if p.Settable && err != nil {
				t.Fatalf("%s says %q and cannot be set to it: %v", name, payload, err)
			}
			if p.Settable && p.Datatype == "color" && !strings.EqualFold(set.AsText(), v.AsText()) {
				t.Fatalf("%s says %v as %q, which sets %v", name, v, payload, set)
			}
		}
	})
	if taken < 20 {
		t.Errorf("only %d random descriptions were good: the test shows little", taken)
	}
}
