package main

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
)

// valueText is a value of the API with its SenML unit as people write both:
// 21.5 °C for 21.5 Cel, 45.3 % for 0.453 /.
func valueText(v json.RawMessage, senml string) string {
	if len(v) == 0 {
		return "-"
	}
	var words string
	if v[0] == '"' && json.Unmarshal(v, &words) == nil {
		return words
	}
	if !bytes.ContainsAny(v[:1], "-0123456789") {
		return string(v) // true or false
	}
	unit, factor := hass.Unit(senml)
	text := string(v)
	if f, err := strconv.ParseFloat(text, 64); err == nil && factor != 1 {
		text = shortNumber(f * float64(factor))
	}
	if unit != "" {
		text += " " + unit
	}
	return text
}

// shortNumber leaves out the digits that are only binary: 45.3 for
// 45.300000000000004.
func shortNumber(f float64) string {
	f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'g', 12, 64), 64)
	return strconv.FormatFloat(f, 'f', -1, 64)
}
