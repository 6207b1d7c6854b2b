package protocol

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func describe(t *testing.T, components ...Component) *Description {
	t.Helper()
	d, err := NewDescription(&Describe{Components: components}, nil, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// flat is a house with one of everything.
func flat(t *testing.T) *Description {
	none := Attribute{}
	return describe(t,
		Component{ID: "temperature", Kind: "sensor", Unit: "Cel"},
		Component{ID: "note", Kind: "sensor"},
		Component{ID: "phase", Kind: "sensor", Options: []string{"wash", "spin"}},
		Component{ID: "energy", Kind: "sensor", StateClass: "total_increasing"},
		Component{ID: "door", Kind: "binary_sensor"},
		Component{ID: "plug", Kind: "switch"},
		Component{ID: "alarm", Kind: "siren"},
		Component{ID: "level", Kind: "number", Min: ptr(-10.0), Max: ptr(30.0)},
		Component{ID: "scene", Kind: "select", Options: []string{"day", "night"}},
		Component{ID: "label", Kind: "text"},
		Component{ID: "identify", Kind: "button"},
		Component{ID: "bell", Kind: "event", Options: []string{"press"}},
		Component{ID: "desk", Kind: "light", Attributes: map[string]Attribute{
			"on": none, "brightness": none, "color_temp": {Min: ptr(2700.0), Max: ptr(6500.0)},
			"rgb": none, "effect": {Options: []string{"fire"}},
		}},
		Component{ID: "blind", Kind: "cover", Attributes: map[string]Attribute{
			"state": none, "position": {Max: ptr(50.0)}, "action": {Options: []string{"open", "close"}},
		}},
		Component{ID: "front", Kind: "lock", Attributes: map[string]Attribute{"state": none, "action": none}},
		Component{ID: "water", Kind: "valve", Attributes: map[string]Attribute{"action": none}},
		Component{ID: "room", Kind: "climate", Unit: "Cel", Attributes: map[string]Attribute{
			"mode": none, "target": none, "temperature": none, "humidity": none, "action": none,
		}},
		Component{ID: "robot", Kind: "vacuum"},
		Component{ID: "mower", Kind: "lawn_mower", Attributes: map[string]Attribute{"b": none, "a": none}},
	)
}

func TestRecordsAreCheckedAgainstTheDescription(t *testing.T) {
	d := flat(t)
	for _, c := range []struct {
		record Record
		want   string // "" = fits
	}{
		{Record{Name: "temperature", Value: Float(21.5)}, ""},
		{Record{Name: "temperature", Value: Float(21.5), Unit: "Cel"}, ""},
		{Record{Name: "temperature", Value: Float(21.5), Unit: "K"}, `unit "K", described as "Cel"`},
		{Record{Name: "temperature", Value: Text("warm")}, "temperature is a text, must be a number"},
		{Record{Name: "temperature", Value: Bool(true)}, "temperature is a bool, must be a number"},
		{Record{Name: "note", Value: Text("warm")}, ""},
		{Record{Name: "note", Value: Int(1), Unit: "W"}, ""},
		{Record{Name: "note", Value: Bool(true)}, "note is a bool, must be a number or a text"},
		{Record{Name: "phase", Value: Text("spin")}, ""},
		{Record{Name: "phase", Value: Text("rinse")}, `phase is "rinse", must be one of "wash", "spin"`},
		{Record{Name: "energy", Value: Text("1")}, "energy is a text, must be a number"},
		{Record{Name: "door", Value: Bool(true)}, ""},
		{Record{Name: "door", Value: Int(1)}, "door is a number, must be a bool"},
		{Record{Name: "level", Value: Int(1000)}, ""}, // a measurement is a fact
		{Record{Name: "scene", Value: Text("dusk")}, `scene is "dusk", must be one of "day", "night"`},
		{Record{Name: "identify", Value: Bool(true)}, "a button never reports"},
		{Record{Name: "bell", Value: Text("press")}, ""},
		{Record{Name: "bell", Value: Text("hold")}, `bell is "hold", must be one of "press"`},
		{Record{Name: "desk/on", Value: Bool(true)}, ""},
		{Record{Name: "desk/brightness", Value: Int(120)}, ""},
		{Record{Name: "desk/rgb", Value: Text("#00ffAA")}, ""},
		{Record{Name: "desk/rgb", Value: Text("red")}, `desk/rgb is "red", must be a colour as #rrggbb`},
		{Record{Name: "desk/rgb", Value: Text("#+0ff00")}, `desk/rgb is "#+0ff00", must be a colour as #rrggbb`},
		{Record{Name: "desk/speed", Value: Int(1)}, `"desk" has no attribute "speed"`},
		{Record{Name: "desk", Value: Bool(true)}, `"desk" needs an attribute, as in "desk/on"`},
		{Record{Name: "plug/on", Value: Bool(true)}, `"plug" has no attribute "on"`},
		{Record{Name: "sofa/on", Value: Bool(true)}, `there is no component "sofa"`},
		{Record{Name: "blind/state", Value: Text("opening")}, ""},
		{Record{Name: "blind/state", Value: Text("ajar")}, `blind/state is "ajar", must be one of "open", "opening", "closed", "closing", "stopped"`},
		{Record{Name: "room/temperature", Value: Int(20), Unit: "Cel"}, ""},
		{Record{Name: "room/temperature", Value: Int(20), Unit: "K"}, `unit "K", described as "Cel"`},
		{Record{Name: "room/humidity", Value: Int(40), Unit: "%RH"}, ""},
		{Record{Name: "robot", Value: Bool(true)}, ""},
		{Record{Name: "mower/a", Value: Text("mowing")}, ""},
		{Record{Name: "mower", Value: Int(1)}, `"mower" needs an attribute, as in "mower/a"`},
	} {
		made, err := d.Check(&c.record)
		if fmt.Sprint(err) != c.want && !(err == nil && c.want == "") {
			t.Errorf("%s = %s: %v, want %q", c.record.Name, c.record.Value, err, c.want)
		}
		if made != nil {
			t.Errorf("%s made %+v", c.record.Name, *made)
		}
	}
}

func TestANewNameMakesAComponent(t *testing.T) {
	d := describe(t)
	for _, c := range []struct {
		record Record
		want   Component
	}{
		{Record{Name: "rssi", Value: Int(-60), Unit: "dBm"}, Component{ID: "rssi", Kind: "sensor", Unit: "dBm", Category: "diagnostic", Auto: true}},
		{Record{Name: "mode", Value: Text("eco")}, Component{ID: "mode", Kind: "sensor", Category: "diagnostic", Auto: true, Text: true}},
		{Record{Name: "open", Value: Bool(false)}, Component{ID: "open", Kind: "binary_sensor", Category: "diagnostic", Auto: true}},
	} {
		made, err := d.Check(&c.record)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&c.want, made); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		with, err := NewDescription(nil, []Component{*made}, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []Value{Int(1), Text("x"), Bool(true)} {
			_, err := with.Check(&Record{Name: made.ID, Value: v})
			same := v.IsNumber() == c.record.Value.IsNumber() && v.IsText() == c.record.Value.IsText()
			if (err == nil) != same {
				t.Errorf("%s was made by %s; %s gives %v", made.ID, c.record.Value, v, err)
			}
		}
	}
}

func TestADescriptionThatCannotBeUsed(t *testing.T) {
	none := Attribute{}
	for want, c := range map[string]Component{
		"component 0: the id is not [a-z0-9][a-z0-9_-]{0,31}":                            {ID: "A", Kind: "sensor"},
		"component 0 (a): no kind":                                                       {ID: "a"},
		"component 0 (a): the category is neither config nor diagnostic":                 {ID: "a", Kind: "sensor", Category: "other"},
		"component 0 (a): the state class is not measurement, total or total_increasing": {ID: "a", Kind: "sensor", StateClass: "sum"},
		"component 0 (a): the precision is above 17":                                     {ID: "a", Kind: "sensor", Precision: ptr(18)},
		"component 0 (a): min is above max":                                              {ID: "a", Kind: "number", Min: ptr(2.0), Max: ptr(1.0)},
		"component 0 (a): the step is not above 0":                                       {ID: "a", Kind: "number", Step: ptr(0.0)},
		"component 0 (a): needs options (key 10)":                                        {ID: "a", Kind: "select"},
		"component 0 (b): needs options (key 10)":                                        {ID: "b", Kind: "event"},
		"component 0 (a): a light needs attributes (key 14)":                             {ID: "a", Kind: "light"},
		"component 0 (b): a light needs attributes (key 14)":                             {ID: "b", Kind: "light", Attributes: map[string]Attribute{}},
		"component 0 (a): a light has no attribute speed":                                {ID: "a", Kind: "light", Attributes: map[string]Attribute{"speed": none}},
		"component 0 (a): a valve has no attribute tilt":                                 {ID: "a", Kind: "valve", Attributes: map[string]Attribute{"tilt": none}},
		"component 0 (a): a switch has no attributes":                                    {ID: "a", Kind: "switch", Attributes: map[string]Attribute{"on": none}},
		"component 0 (a): effect: needs options (key 10)":                                {ID: "a", Kind: "light", Attributes: map[string]Attribute{"effect": none}},
		"component 0 (a): brightness: min is above max":                                  {ID: "a", Kind: "light", Attributes: map[string]Attribute{"brightness": {Min: ptr(101.0)}}},
		`component 0 (a): action: "jump" is not one of "lock", "unlock", "open"`:         {ID: "a", Kind: "lock", Attributes: map[string]Attribute{"action": {Options: []string{"jump"}}}},
		"component 0 (a): the name of an attribute is not [a-z0-9][a-z0-9_-]{0,31}":      {ID: "a", Kind: "light", Attributes: map[string]Attribute{"#": none}},
		"component 0 (b): the name of an attribute is not [a-z0-9][a-z0-9_-]{0,31}":      {ID: "b", Kind: "robot", Attributes: map[string]Attribute{"a/b": none}},
	} {
		_, err := NewDescription(&Describe{Components: []Component{c}}, nil, Limits{})
		var r *Refusal
		if !errors.As(err, &r) || r.Code != InvalidRecord || r.Message != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, err := NewDescription(&Describe{Components: []Component{{ID: "a", Kind: "sensor"}, {ID: "a", Kind: "switch"}}}, nil, Limits{})
	if err == nil || !strings.Contains(err.Error(), "component 1 (a): the id is there twice") {
		t.Error(err)
	}
}

func TestDescribedComponentsComeBeforeThoseThatRecordsMade(t *testing.T) {
	d, err := NewDescription(
		&Describe{Components: []Component{{ID: "a", Kind: "switch"}}},
		[]Component{{ID: "a", Kind: "sensor", Auto: true}, {ID: "b", Kind: "sensor", Auto: true}, {ID: "b", Kind: "sensor", Auto: true, Text: true}},
		Limits{Components: 2})
	if err != nil {
		t.Fatal(err)
	}
	if d.Point("a").Component.Kind != "switch" || len(d.Components) != 2 || d.Point("b").Type != NumberPoint {
		t.Errorf("components %+v", d.Components)
	}
	_, err = NewDescription(nil, []Component{{ID: "a", Kind: "sensor", Auto: true}, {ID: "b", Kind: "sensor", Auto: true}}, Limits{Components: 1})
	var r *Refusal
	if !errors.As(err, &r) || r.Code != TooLarge {
		t.Errorf("%v, want too large", err)
	}
}

func TestPointsComeInTheOrderDescribed(t *testing.T) {
	var names []string
	for _, p := range flat(t).Points() {
		names = append(names, p.Name)
	}
	want := "temperature note phase energy door plug alarm level scene label identify bell " +
		"desk/on desk/brightness desk/color_temp desk/rgb desk/effect " +
		"blind/state blind/position blind/action front/state front/action water/action " +
		"room/mode room/target room/temperature room/humidity room/action robot mower/a mower/b"
	if d := cmp.Diff(strings.Fields(want), names); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestCommandsAreCheckedBeforeTheyAreSent(t *testing.T) {
	d := flat(t)
	for _, c := range []struct {
		name string
		v    Value
		want string
	}{
		{"plug", Bool(true), ""},
		{"plug", Text("ON"), "plug is a text, must be a bool"},
		{"door", Bool(true), "door cannot be commanded"},
		{"level", Int(-10), ""},
		{"level", Int(30), ""},
		{"level", Int(31), "level is 31, must be -10 to 30"},
		{"level", Float(-10.5), "level is -10.5, must be -10 to 30"},
		{"scene", Text("night"), ""},
		{"scene", Text("dusk"), `scene is "dusk", must be one of "day", "night"`},
		{"label", Text(""), ""},
		{"label", Text(strings.Repeat("x", 1025)), "label must be UTF-8 of at most 1024 bytes"},
		{"label", Text("\xff"), "label must be UTF-8 of at most 1024 bytes"},
		{"identify", Text("PRESS"), ""},
		{"identify", Bool(true), ""},
		{"identify", Value{}, "identify: no value"},
		{"desk/brightness", Int(100), ""},
		{"desk/brightness", Int(101), "desk/brightness is 101, must be 0 to 100"},
		{"desk/color_temp", Int(2000), "desk/color_temp is 2000, must be 2700 to 6500"},
		{"desk/rgb", Text("blue"), `desk/rgb is "blue", must be a colour as #rrggbb`},
		{"desk/effect", Text("fire"), ""},
		{"blind/position", Int(51), "blind/position is 51, must be 0 to 50"},
		{"blind/action", Text("close"), ""},
		{"blind/action", Text("stop"), `blind/action is "stop", must be one of "open", "close"`},
		{"blind/state", Text("open"), "blind/state cannot be commanded"},
		{"room/target", Float(1e9), ""},
		{"room/temperature", Int(1), "room/temperature cannot be commanded"},
		{"robot", Text("start"), "robot cannot be commanded"},
	} {
		err := d.Point(c.name).CheckCommand(c.v)
		if fmt.Sprint(err) != c.want && !(err == nil && c.want == "") {
			t.Errorf("%s = %s: %v, want %q", c.name, c.v, err, c.want)
		}
		if strings.HasSuffix(c.want, "cannot be commanded") != errors.Is(err, ErrNotSettable) {
			t.Errorf("%s: %v, is ErrNotSettable: %v", c.name, err, errors.Is(err, ErrNotSettable))
		}
	}
	for _, c := range []struct {
		least, most *float64
		want        string
	}{{ptr(1.0), nil, "n is 0, must be at least 1"}, {nil, ptr(-1.0), "n is 0, must be at most -1"}} {
		p := describe(t, Component{ID: "n", Kind: "number", Min: c.least, Max: c.most}).Point("n")
		if err := p.CheckCommand(Int(0)); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestPlainTextBecomesAValueOfItsPoint(t *testing.T) {
	d := flat(t)
	for _, c := range []struct {
		name, text string
		want       Value // None = refused
	}{
		{"level", "21", Int(21)},
		{"level", " -3 ", Int(-3)},
		{"level", "21.5", Float(21.5)},
		{"level", "1e3", Float(1000)},
		{"level", "18446744073709551616", Float(18446744073709551616)},
		{"level", "", Value{}}, {"level", "warm", Value{}}, {"level", "0x10", Value{}},
		{"level", "NaN", Value{}}, {"level", "inf", Value{}}, {"level", "1_000", Value{}}, {"level", "1e999", Value{}},
		{"plug", "ON", Bool(true)}, {"plug", "on", Bool(true)}, {"plug", "true", Bool(true)}, {"plug", "1", Bool(true)},
		{"plug", "OFF", Bool(false)}, {"plug", "False", Bool(false)}, {"plug", "0\n", Bool(false)},
		{"plug", "", Value{}}, {"plug", "toggle", Value{}}, {"plug", "2", Value{}},
		{"label", " as it is ", Text(" as it is ")},
		{"label", "", Text("")},
		{"label", "\xff", Value{}},
		{"identify", "PRESS", Text("PRESS")},
	} {
		v, err := d.Point(c.name).Parse(c.text)
		if v != c.want || (err != nil) != (c.want.Kind() == None) {
			t.Errorf("%s from %q is %#v, %v", c.name, c.text, v, err)
		}
	}
}

func TestWhatMustNotHappenTwiceOrLate(t *testing.T) {
	d := flat(t)
	for name, want := range map[string]struct{ momentary, guarded bool }{
		"identify":     {true, true},
		"blind/action": {true, true}, "blind/position": {false, true},
		"front/action": {true, true}, "water/action": {true, true},
		"alarm":       {false, true},
		"plug":        {false, false},
		"room/action": {false, false}, // reports what the heating does
		"desk/on":     {false, false},
	} {
		p := d.Point(name)
		if p.Momentary() != want.momentary || p.Guarded() != want.guarded {
			t.Errorf("%s: momentary %v, guarded %v", name, p.Momentary(), p.Guarded())
		}
	}
}

func TestTheHashIsTakenOverTheBytesAsSent(t *testing.T) {
	want := Hash{0xb6, 0x53, 0xc3, 0xa0, 0xc3, 0x1f, 0xa5, 0x7f}
	for _, v := range vectors(t) {
		if v.Name != "example: describe" {
			continue
		}
		f, err := Decode(unhex(t, v.Hex), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		d := f.(*Describe)
		if d.Hash() != want {
			t.Errorf("hash %x", d.Hash())
		}
		d.Raw = nil
		if d.Hash() != want {
			t.Errorf("hash %x of the same fields", d.Hash())
		}
		return
	}
	t.Fatal("the example is missing")
}

func TestDeviceIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "0": true, "kitchen-sensor": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "A": false, "a_b": false, "a/b": false, "ä": false, "a\n": false, strings.Repeat("a", 64): false,
	} {
		if ValidDeviceID(id) != want {
			t.Errorf("%q valid: %v", id, !want)
		}
	}
}
