package homiecheck

import (
	"strings"
	"testing"
)

// What the convention shows as right is right, and what it forbids is found.
func TestParse(t *testing.T) {
	right := `{"homie":"5.0","version":7,"name":"Supercar","root":"bridge","children":["lamp"],"extensions":[],
		"nodes":{"engine":{"name":"Car engine","properties":{"temperature":{"name":"Engine temperature","unit":"°C","datatype":"float","format":"-20:120"},
		"speed":{"datatype":"integer","format":"0::5","settable":true,"retained":false}}}}}`
	if _, err := Parse([]byte(right)); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		`"5.0"`: `"4.0"`, `"version":7`: `"version":"7"`, `"version":7,`: ``, `"name":"Supercar",`: ``, `"root":"bridge"`: `"parent":"bridge"`,
		`"lamp"`: `"Lamp"`, `"engine"`: `"car_engine"`, `"speed"`: `"$speed"`, `"float"`: `"number"`, `-20:120`: `120:-20`,
		`0::5`: `0::0`, `"homie"`: `"home"`, `"unit":"°C"`: `"unit":null`, `"0::5"`: `"0.5:"`,
	} {
		wrong := strings.Replace(right, from, to, 1)
		if wrong == right {
			t.Fatalf("%s is not there", from)
		}
		if _, err := Parse([]byte(wrong)); err == nil {
			t.Errorf("%s in place of %s is let through", to, from)
		}
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		p         Property
		good, bad string
	}{
		{Property{Datatype: "integer", Format: "-5:10"}, "-5 0 10", "11 1.0 1e1 - +1"},
		{Property{Datatype: "float", Format: ":10"}, "-5 0.5 1e-7 10", "11 NaN Inf 1e+2 1,5"},
		{Property{Datatype: "boolean"}, "true false", "TRUE on 1"},
		{Property{Datatype: "enum", Format: "Car,bus"}, "Car bus", "car Bus Car,bus"},
		{Property{Datatype: "color", Format: "rgb,xyz"}, "rgb,0,1.5,255 xyz,0.25,0.34", "rgb,0,0 rgb,0,0,256 hsv,1,1,1 xyz,2,0 0,0,0"},
		{Property{Datatype: "datetime"}, "2026-11-21T14:00:00Z", "yesterday"},
		{Property{Datatype: "duration"}, "PT12H5M46S PT5M", "5M P1D"},
		{Property{Datatype: "json"}, `{"a":1} []`, `1 {`},
		{Property{Datatype: "string"}, "x \x00", "\xff \ufeffx"},
	} {
		for s := range strings.SplitSeq(c.good, " ") {
			if err := c.p.Check(s); err != nil {
				t.Errorf("%+v: %v", c.p, err)
			}
		}
		for _, s := range append(strings.Split(c.bad, " "), "") {
			if c.p.Check(s) == nil {
				t.Errorf("%s %q takes %q", c.p.Datatype, c.p.Format, s)
			}
		}
	}
}

func TestTree(t *testing.T) {
	home := func() map[string]string {
		return map[string]string{
			"homie/5/hub/$state":        "ready",
			"homie/5/hub/$description":  `{"homie":"5.0","version":1,"name":"Hub","children":["lamp"]}`,
			"homie/5/lamp/$state":       "sleeping",
			"homie/5/lamp/$description": `{"homie":"5.0","version":1,"name":"Lamp","root":"hub","nodes":{"light":{"properties":{"on":{"datatype":"boolean"},"press":{"datatype":"enum","format":"x","retained":false}}}}}`,
			"homie/5/lamp/light/on":     "true",
			"other/topic":               "x",
		}
	}
	if states, err := Tree(home(), "homie"); err != nil || states["lamp"] != "sleeping" || len(states) != 2 {
		t.Fatal(states, err)
	}
	for topic, payload := range map[string]string{
		"homie/5/lamp/$state": "asleep", "homie/5/lamp/light/on": "ON", "homie/5/lamp/light/off": "true", "homie/5/lamp/light/press": "x",
		"homie/5/lamp/light/on/set": "true", "homie/5/ghost/light/on": "true", "homie/5/hub/$description": `{"homie":"5.0","version":1,"name":"Hub"}`,
		"homie/5/lamp/$description": `{"homie":"5.0","version":1,"name":"Lamp"}`,
	} {
		h := home()
		h[topic] = payload
		if _, err := Tree(h, "homie"); err == nil {
			t.Errorf("%s %s is let through", topic, payload)
		}
	}
	for _, topic := range []string{"homie/5/lamp/$state", "homie/5/lamp/$description", "homie/5/hub/$description"} {
		h := home()
		delete(h, topic)
		if _, err := Tree(h, "homie"); err == nil {
			t.Errorf("without %s it is let through", topic)
		}
	}
}
