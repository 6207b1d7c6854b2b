package mqtt

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

var update = flag.Bool("update", false, "write testdata/*.golden")

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
		t.Errorf("%s (-want +got, run with -update if it is right):\n%s", name, d)
	}
}

func TestTopicsAreMadeOfValidPartsOnly(t *testing.T) {
	for _, base := range []string{"", "$SYS", "home/+", "a//b", "/a", "a/", "a#", "a\x00", "a\nb", "a\xff"} {
		if _, err := newTopics(base); err == nil {
			t.Errorf("base topic %q was taken", base)
		}
	}
	tp, err := newTopics("home/gate")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := tp.point("desk-1", "lamp/brightness", "state"); !ok || got != "home/gate/device/desk-1/lamp/brightness/state" {
		t.Errorf("%q %v", got, ok)
	}
	for _, id := range []string{"", "+", "a/b", "#", "$a", "a\x00", "A", "a b", "../x"} {
		for _, made := range []func() (string, bool){
			func() (string, bool) { return tp.device(id, "info") },
			func() (string, bool) { return tp.stream(id) },
			func() (string, bool) { return tp.point(id, "c", "state") },
		} {
			if topic, ok := made(); ok {
				t.Errorf("id %q made %q", id, topic)
			}
		}
	}
	for _, name := range []string{"", "+", "a/+", "a/b/c", "#", "a\x00", "$a", "a/", "/a", "a\n"} {
		if topic, ok := tp.point("d", name, "state"); ok {
			t.Errorf("name %q made %q", name, topic)
		}
	}
}

func TestCommandsAreReadFromTopics(t *testing.T) {
	tp := topics{"hearthgate"}
	for topic, want := range map[string]target{
		"hearthgate/device/lamp/command":     {device: "lamp"},
		"hearthgate/device/lamp/on/set":      {device: "lamp", name: "on"},
		"hearthgate/device/lamp/desk/on/set": {device: "lamp", name: "desk/on"},
		"hearthgate/device/lamp/set/set":     {device: "lamp", name: "set"},
		"hearthgate/group/room/set":          {many: many{"group", "room", true}},
		"hearthgate/group/room/command":      {many: many{"group", "room", false}},
		"hearthgate/scene/film/set":          {many: many{"scene", "film", true}},
	} {
		if got, ok := tp.target(topic); !ok || got != want {
			t.Errorf("%s: %+v %v", topic, got, ok)
		}
	}
	for _, topic := range []string{"hearthgate/device/LAMP/command", "hearthgate/device/lamp/a/b/c/set", "hearthgate/device/lamp/set",
		"other/device/lamp/command", "hearthgate/device//command", "hearthgate/device/lamp//set", "hearthgate/device/lamp/a$/set",
		"hearthgate/group/Room/set", "hearthgate/group/room/light/set", "hearthgate/group/room/result", "hearthgate/scene/+/set", "hearthgate/room/x/set"} {
		if got, ok := tp.target(topic); ok {
			t.Errorf("%s: %+v", topic, got)
		}
	}
}

func TestStateTexts(t *testing.T) {
	half := func(bits uint64) protocol.Value { return protocol.MakeValue(protocol.Float16, bits, "") }
	single := func(f float32) protocol.Value {
		return protocol.MakeValue(protocol.Float32, uint64(math.Float32bits(f)), "")
	}
	for _, c := range []struct {
		v         protocol.Value
		precision int // -1 = none
		want      string
	}{
		{protocol.Bool(true), -1, "ON"},
		{protocol.Bool(false), 2, "OFF"},
		{protocol.Text(""), -1, "None"},
		{protocol.Text("21.456"), 1, "21.456"},
		{half(0x4d60), -1, "21.5"},
		{single(21.456), -1, "21.456"},
		{single(21.456), 2, "21.46"},
		{single(21.456), 1, "21.5"},
		{single(21.456), 0, "21"},
		{protocol.Float(2.675), 2, "2.68"}, // the decimal is rounded, not the float64 just below it
		{protocol.Float(0.30000000000000004), -1, "0.30000000000000004"},
		{protocol.Float(0.30000000000000004), 3, "0.3"}, // not padded
		{protocol.Float(9.96), 1, "10"},
		{protocol.Float(-9.96), 1, "-10"},
		{protocol.Float(99.5), 0, "100"},
		{protocol.Float(-0.04), 1, "0"},
		{protocol.Float(1e-7), 3, "0"},
		{protocol.Float(1e300), 3, "1e+300"},
		{protocol.Int(9007199254740993), 1, "9007199254740993"},
		{protocol.MakeValue(protocol.Uint, 1<<63+1, ""), -1, "9223372036854775809"},
		{protocol.Int(-5), 0, "-5"},
	} {
		var p *int
		if c.precision >= 0 {
			p = &c.precision
		}
		if got := string(appendState([]byte("x"), c.v, p)); got != "x"+c.want {
			t.Errorf("%v to %d: %s, want %s", c.v, c.precision, got, c.want)
		}
	}
}

func streamOf(e *store.Entry) (parts []string) {
	appendStream(nil, e, func(p []byte) { parts = append(parts, string(p)) })
	return parts
}

func TestStreamMessages(t *testing.T) {
	boot := protocol.Boot{1, 2, 3, 4, 5, 6, 7, 8}
	var out strings.Builder
	for _, e := range []*store.Entry{
		{Kind: store.Telemetry, Boot: boot, Seq: 1, Received: 1795219200000,
			Records: []protocol.Record{{Name: "temperature", Value: protocol.Float(21.5), Time: 1795219200e9}}},
		{Kind: store.Telemetry, Boot: boot, Seq: 2, Received: 1795219200000, Records: []protocol.Record{
			{Name: "desk/on", Value: protocol.Bool(true), Time: 1795219200e9 + 1},
			{Name: "text", Value: protocol.Text("a \"b\"\n\x00 é"), Time: 1795219200e9 + 120e6},
			{Name: "energy", Unit: "kWh", Value: protocol.MakeValue(protocol.Uint, 1<<64-1, ""), Time: -1500e6}}},
		{Kind: store.Telemetry, Boot: protocol.Boot{0xff}, Seq: 1<<53 - 1, Received: 1, Uncertain: true},
		{Kind: store.Result, Boot: boot, Command: 7, Received: 1795219200001, Records: []protocol.Record{
			{Name: "desk/on", Value: protocol.Bool(false), Time: 1795219200001e6}}},
	} {
		for _, p := range streamOf(e) {
			if !json.Valid([]byte(p)) {
				t.Errorf("no JSON: %s", p)
			}
			out.WriteString(p + "\n")
		}
	}
	golden(t, "stream", out.String())
	if !strings.HasPrefix(out.String(), `{"boot":"0102030405060708","seq":1,"received":1795219200000,"records":[{"n":"temperature","v":21.5,"t":1795219200.0}]}`+"\n") {
		t.Error("the contract's example is written otherwise")
	}
}

func TestLargeFramesGoInParts(t *testing.T) {
	e := &store.Entry{Kind: store.Telemetry, Seq: 9}
	for i := range 1000 {
		e.Records = append(e.Records, protocol.Record{Name: "note", Value: protocol.Text(strings.Repeat("\x01", i%200)), Time: int64(i)})
	}
	parts := streamOf(e)
	if len(parts) < 2 {
		t.Fatalf("%d parts", len(parts))
	}
	next := 0
	for i, p := range parts {
		var m struct {
			Seq, Part, Parts int
			Records          []struct {
				VS string
				T  json.Number
			}
		}
		if err := json.Unmarshal([]byte(p), &m); err != nil {
			t.Fatal(err)
		}
		if len(p) > 32<<10 || m.Part != i+1 || m.Parts != len(parts) || m.Seq != 9 {
			t.Errorf("part %d: %d bytes, part %d of %d, seq %d", i, len(p), m.Part, m.Parts, m.Seq)
		}
		for _, r := range m.Records {
			if len(r.VS) != next%200 {
				t.Fatalf("record %d has %d bytes", next, len(r.VS))
			}
			next++
		}
	}
	if next != 1000 {
		t.Errorf("%d records arrived", next)
	}
}

// mapper is a composer over a made-up home of one device.
func mapper(t *testing.T, newest map[string]store.Newest, cs ...protocol.Component) *composer {
	t.Helper()
	d, err := protocol.NewDescription(&protocol.Describe{Components: cs}, nil, protocol.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &composer{
		topics: topics{"b"},
		device: func(id string) (registry.Device, bool) { return registry.Device{ID: id, Description: d}, id == "d" },
		describe: func(id string) *protocol.Description {
			if id == "d" {
				return d
			}
			return nil
		},
		newest: func(_, name string) (store.Newest, bool) { n, ok := newest[name]; return n, ok },
		since:  10,
	}
}

// states are the messages beside the stream.
func (c *composer) texts(withStream bool) (all []string) {
	for _, m := range c.msgs {
		if m.topic != "" && (withStream || !strings.HasPrefix(m.topic, "b/stream/")) {
			all = append(all, fmt.Sprintf("%s %s", m.topic, m.payload))
		}
	}
	return all
}

func TestBatchPublishesNumbersOnceAndWordsEachTime(t *testing.T) {
	c := mapper(t, nil, thermometer, plug, protocol.Component{ID: "bell", Kind: "event", Options: []string{"press"}},
		protocol.Component{ID: "mode", Kind: "select", Options: []string{"a", "b"}})
	now := time.Unix(1795219200, 0)
	c.begin()
	pos := store.Position(10)
	add := func(rs ...protocol.Record) {
		pos++
		for i := range rs {
			if rs[i].Time == 0 {
				rs[i].Time = now.UnixNano()
			}
		}
		c.add(&store.Entry{Pos: pos, Kind: store.Telemetry, Device: "d", Records: rs}, true, now)
	}
	press := protocol.Record{Name: "bell", Value: protocol.Text("press")}
	old := press
	old.Time = now.Add(-31 * time.Second).UnixNano()
	late := number("temperature", 99)
	late.Late = true
	unfit := number("temperature", 98)
	unfit.Unfit = true
	add(number("temperature", 1), onOff("plug", true), press)
	add(number("temperature", 2), onOff("plug", false), protocol.Record{Name: "mode", Value: protocol.Text("a")}, press, old)
	add(late, unfit, number("unknown", 3), number("temperature", 4))
	want := []string{
		"b/device/d/plug/state ON",
		`b/device/d/bell/event {"event_type":"press","time":1795219200000}`,
		"b/device/d/plug/state OFF",
		"b/device/d/mode/state a",
		`b/device/d/bell/event {"event_type":"press","time":1795219200000}`,
		"b/device/d/temperature/state 4",
	}
	if d := cmp.Diff(want, c.texts(false)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if n := len(c.texts(true)) - len(c.texts(false)); n != 3 {
		t.Errorf("%d messages of the stream for 3 frames", n)
	}
	for _, m := range c.msgs {
		if m.topic != "" && m.retained != strings.HasSuffix(m.topic, "/state") {
			t.Errorf("%s retained=%v", m.topic, m.retained)
		}
	}
}

func TestWhatChangesNoState(t *testing.T) {
	now := time.Now()
	record := []protocol.Record{{Name: "temperature", Value: protocol.Float(1), Time: now.UnixNano()}, {Name: "bell", Value: protocol.Text("press"), Time: now.UnixNano()}}
	bell := protocol.Component{ID: "bell", Kind: "event", Options: []string{"press"}}
	for name, x := range map[string]struct {
		e      store.Entry
		states bool
		want   int // messages
	}{
		"telemetry":              {store.Entry{Pos: 11, Kind: store.Telemetry, Device: "d", Records: record}, true, 3},
		"result":                 {store.Entry{Pos: 11, Kind: store.Result, Device: "d", Records: record}, true, 3},
		"replayed: event though": {store.Entry{Pos: 11, Kind: store.Telemetry, Device: "d", Records: record}, false, 2},
		"before our start":       {store.Entry{Pos: 10, Kind: store.Telemetry, Device: "d", Records: record}, true, 2},
		"uncertain":              {store.Entry{Pos: 11, Kind: store.Telemetry, Device: "d", Records: record, Uncertain: true}, true, 1},
		"refused":                {store.Entry{Pos: 11, Kind: store.Refused, Device: "d"}, true, 0},
		"clock step":             {store.Entry{Pos: 11, Kind: store.ClockStep, Step: 5}, true, 0},
		"removed device":         {store.Entry{Pos: 11, Kind: store.Telemetry, Device: "gone", Records: record}, true, 1},
		"presence of removed":    {store.Entry{Pos: 11, Kind: store.Presence, Device: "gone"}, true, 0},
		"presence":               {store.Entry{Pos: 11, Kind: store.Presence, Device: "d"}, true, 2},
		"presence, replayed":     {store.Entry{Pos: 11, Kind: store.Presence, Device: "d"}, false, 0},
		"no id":                  {store.Entry{Pos: 11, Kind: store.Telemetry, Device: "a/+"}, true, 0},
	} {
		c := mapper(t, nil, thermometer, bell)
		c.begin()
		c.add(&x.e, x.states, now)
		if got := c.texts(true); len(got) != x.want {
			t.Errorf("%s: %d messages, want %d: %q", name, len(got), x.want, got)
		}
	}
}

func TestLightIsOneState(t *testing.T) {
	lamp := protocol.Component{ID: "desk", Kind: "light", Attributes: map[string]protocol.Attribute{
		"on": {}, "brightness": {}, "color_temp": {}, "rgb": {}, "effect": {Options: []string{"candle"}}}}
	c := mapper(t, map[string]store.Newest{
		"desk/on":         {Name: "desk/on", Value: protocol.Bool(true), Time: 5},
		"desk/rgb":        {Name: "desk/rgb", Value: protocol.Text("#ff8000"), Time: 4},
		"desk/color_temp": {Name: "desk/color_temp", Value: protocol.Int(2700), Time: 3},
	}, lamp)
	steps := []struct {
		rs   []protocol.Record
		want []string
	}{
		{[]protocol.Record{{Name: "desk/brightness", Value: protocol.Int(40), Time: 10}},
			[]string{`{"state":"ON","brightness":40,"color_mode":"rgb","color":{"r":255,"g":128,"b":0}}`}},
		{[]protocol.Record{{Name: "desk/on", Value: protocol.Bool(false), Time: 11}, {Name: "desk/color_temp", Value: protocol.Int(4000), Time: 11}},
			[]string{`{"state":"OFF","brightness":40,"color_mode":"rgb","color":{"r":255,"g":128,"b":0}}`,
				`{"state":"OFF","brightness":40,"color_mode":"color_temp","color_temp":4000}`}},
		{[]protocol.Record{{Name: "desk/brightness", Value: protocol.Int(50), Time: 12}, {Name: "desk/brightness", Value: protocol.Int(60), Time: 13}},
			[]string{`{"state":"OFF","brightness":60,"color_mode":"color_temp","color_temp":4000}`}},
		{[]protocol.Record{{Name: "desk/effect", Value: protocol.Text("candle"), Time: 14}},
			[]string{`{"state":"OFF","brightness":60,"color_mode":"color_temp","color_temp":4000,"effect":"candle"}`}},
	}
	for i, s := range steps {
		c.begin()
		c.add(&store.Entry{Pos: 11, Kind: store.Telemetry, Device: "d", Records: s.rs}, true, time.Unix(0, 20))
		var got []string
		for _, x := range c.texts(false) {
			got = append(got, strings.TrimPrefix(x, "b/device/d/desk/state "))
		}
		if d := cmp.Diff(s.want, got); d != "" {
			t.Errorf("step %d, -want +got:\n%s", i, d)
		}
	}
}

// A lamp that says both colours at one moment means the one that it says last. From the
// store, which has no order of them, it is always the same one.
func TestTwoColoursOfOneMoment(t *testing.T) {
	both := []protocol.Record{
		{Name: "desk/rgb", Value: protocol.Text("#ff8000"), Time: 4},
		{Name: "desk/color_temp", Value: protocol.Int(2700), Time: 4},
	}
	newest := map[string]store.Newest{}
	for _, r := range both {
		newest[r.Name] = store.Newest{Name: r.Name, Value: r.Value, Time: r.Time}
	}
	again := func(c *composer) string {
		c.begin()
		c.addNewest("d", newest["desk/rgb"])
		return c.texts(false)[0]
	}
	const rgb = `b/device/d/desk/state {"state":null,"color_mode":"rgb","color":{"r":255,"g":128,"b":0}}`
	const white = `b/device/d/desk/state {"state":null,"color_mode":"color_temp","color_temp":2700}`
	for range 50 {
		if got := again(mapper(t, newest, lampOfBoth)); got != rgb {
			t.Fatalf("after a start: %s, want %s", got, rgb)
		}
	}
	c := mapper(t, newest, lampOfBoth)
	c.begin()
	c.add(&store.Entry{Pos: 11, Kind: store.Telemetry, Device: "d", Records: both}, true, time.Unix(0, 20))
	said := c.texts(false)
	if last := said[len(said)-1]; last != white {
		t.Errorf("it said %s, want %s", last, white)
	}
	if got := again(c); got != white {
		t.Errorf("said again: %s, want %s", got, white)
	}
}

var lampOfBoth = protocol.Component{ID: "desk", Kind: "light", Attributes: map[string]protocol.Attribute{"on": {}, "color_temp": {}, "rgb": {}}}

func TestCardsAndLifecycle(t *testing.T) {
	d, err := protocol.NewDescription(&protocol.Describe{Model: "TH-1", Manufacturer: "Acme", Components: []protocol.Component{thermometer,
		{ID: "desk", Kind: "light", Attributes: map[string]protocol.Attribute{"on": {}, "color_temp": {Min: new(2700.0), Max: new(6500.0)}}}}}, nil, protocol.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	device := registry.Device{ID: "kitchen", Name: "Kitchen", Area: "Ground floor", Created: 1795219200000, Firmware: "1.4.0", WakeInterval: 600, LastBoot: testBoot, Description: d}
	var out bytes.Buffer
	for _, doc := range []any{
		cardOf(device),
		lifecycleOf(device, store.PresenceChange{State: store.Sleeping, Since: 1, Cause: "bye", NextWake: 2}, true),
		lifecycleOf(device, store.PresenceChange{}, false),
		bridgeInfo{Gateway: "k3v9x2ab", Version: "0.1.0", Protocol: protocol.Subprotocol},
		bridgeHealth{OK: true, Storage: "ok", Devices: 2, Online: 1, Uptime: 60, StorageBytes: 4096},
		bridgeEvent{Type: "alert", Time: 1, Device: "kitchen", Message: "m"},
	} {
		out.Write(document(doc))
		out.WriteByte('\n')
	}
	golden(t, "cards", out.String())
	for st, want := range map[store.PresenceState]string{store.Online: "online", store.Sleeping: "online", store.Lost: "offline", store.Unknown: "offline", store.Disabled: "offline"} {
		if got := (lifecycle{State: st}).availability(); got != want {
			t.Errorf("%s is %s, want %s", st, got, want)
		}
	}
}

// What is wrong with a light's JSON is said in its words, not in those of Go.
func TestLightCommandsSayWhatIsWrong(t *testing.T) {
	for payload, want := range map[string]string{
		`true`:                            `{"state":"ON","brightness":40}: cannot be a bool`,
		`{"state":true}`:                  "state cannot be a bool",
		`{"color":{"r":256,"g":0,"b":0}}`: "color.r cannot be a number 256",
		`ON`:                              "invalid character 'O'",
	} {
		_, err := parseCommand(target{device: "d", name: "desk"}, true, []byte(payload))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", payload, err, want)
		}
	}
}

func TestLightCommands(t *testing.T) {
	for payload, want := range map[string]string{
		`{"state":"ON","brightness":40,"transition":2}`: "desk/on=ON desk/brightness=40",
		`{"state":"OFF"}`:                                "desk/on=OFF",
		`{"state":"ON","color_temp":2700}`:               "desk/on=ON desk/color_temp=2700",
		`{"state":"ON","color":{"r":255,"g":128,"b":0}}`: "desk/on=ON desk/rgb=#ff8000",
		`{"effect":"candle"}`:                            "desk/effect=candle",
		`{"brightness":9007199254740993}`:                "desk/brightness=9007199254740993",
		`{}`:                                             "",
		`ON`:                                             "",
		`{"state":true}`:                                 "",
		`{"color":{"r":256,"g":0,"b":0}}`:                "",
		`{"color":{"h":1,"s":1}}`:                        "",
		`{"state":"ON"} x`:                               "",
		"{\"effect\":\"\xff\"}":                          "",
		`{"effect":"` + strings.Repeat("x", 64<<10) + `"}`: "",
	} {
		r, err := parseCommand(target{device: "d", name: "desk"}, true, []byte(payload))
		var got []string
		for _, s := range r.Set {
			got = append(got, s.Name+"="+s.Text)
		}
		if g := strings.Join(got, " "); g != want || (err == nil) != (want != "") {
			t.Errorf("%.60s: %q, %v, want %q", payload, g, err, want)
		}
	}
}
