package main

import (
	"encoding/json"
	"testing"
)

func TestValuesAreShownAsPeopleWriteThem(t *testing.T) {
	for _, c := range []struct{ value, unit, want string }{
		{"21.5", "Cel", "21.5 °C"}, {"0.453", "/", "45.3 %"}, {"-0.001", "/", "-0.1 %"}, {"44", "%RH", "44 %"},
		{"7", "count", "7"}, {"85.4", "W", "85.4 W"}, {"1234567", "", "1234567"}, {"9007199254740993", "Wh", "9007199254740993 Wh"},
		{"true", "", "true"}, {`"off \"now\""`, "", `off "now"`}, {"", "Cel", "-"}, {"3.6", "moons", "3.6 moons"},
	} {
		if got := valueText(json.RawMessage(c.value), c.unit); got != c.want {
			t.Errorf("%s %s is shown as %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}
