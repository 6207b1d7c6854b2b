package hass

import (
	"math"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
)

// Fans, climates and humidifiers: one topic an attribute, each way.

// wholeTemplate: of some numbers Home Assistant takes only whole ones, and a
// device may report others.
const wholeTemplate = "{{ value | float | round(0) | int }}"

// both writes state and command topic of a point, named alike.
func (b *describer) both(e *entity, key string, p *protocol.Point) {
	b.state(e, key+"_state_topic", p)
	b.set(e, key+"_command_topic", p)
}

// without are the options but the one that Home Assistant keeps for itself.
func without(options []string, reserved string) []string {
	return slices.DeleteFunc(slices.Clone(options), func(o string) bool { return o == reserved })
}

// noMode is the payload that means no preset and no mode.
const noMode = "None"

func (b *describer) fan(c *protocol.Component, ps parts) {
	e := b.begin(c, "", "fan", b.class("fan", c, unit{}))
	b.state(&e, "state_topic", ps["on"])
	b.set(&e, "command_topic", ps["on"])
	low, high, ranged := span(ps["speed"])
	low = max(low, 1) // 0 is off
	if ranged = ranged && low < high; ranged {
		b.both(&e, "percentage", ps["speed"])
		e.body.text("percentage_value_template", wholeTemplate)
		e.body.int("speed_range_min", low).int("speed_range_max", high)
	}
	presets := []string(nil)
	if p := ps["preset"]; p != nil {
		if presets = without(p.Options, noMode); len(presets) > 0 {
			b.both(&e, "preset_mode", p)
			e.body.list("preset_modes", presets)
		}
	}
	if p := ps["oscillate"]; p != nil {
		b.both(&e, "oscillation", p)
		e.body.text("payload_oscillation_on", "ON").text("payload_oscillation_off", "OFF")
	}
	if p := ps["direction"]; p != nil {
		b.both(&e, "direction", p)
	}
	e.reliably()
	b.finish(e, c)
	if ps.has("speed") && !ranged {
		b.unfit(ps["speed"], unfitRange+" above 0")
	}
	if ps.has("preset") && len(presets) == 0 {
		b.unfit(ps["preset"], "Home Assistant has no preset of that name")
	}
}

// climate is false where the temperatures are in a unit that Home Assistant's
// climates do not have.
func (b *describer) climate(c *protocol.Component, ps parts) bool {
	if c.Unit != "" && c.Unit != "Cel" {
		b.warn(c, "a climate in %q instead of Cel; shown as sensors", c.Unit)
		return false
	}
	e := b.begin(c, "", "climate", b.class("climate", c, unit{}))
	if p := ps["mode"]; p != nil {
		b.both(&e, "mode", p)
		e.body.list("modes", p.Options)
	} else {
		// Home Assistant shows "off" then, and would offer six modes that do
		// nothing if it were not told that this is all.
		e.body.list("modes", []string{"off"})
	}
	b.targets(&e, c, ps)
	if p := ps["temperature"]; p != nil {
		b.state(&e, "current_temperature_topic", p)
	}
	if p := ps["humidity"]; p != nil {
		b.state(&e, "current_humidity_topic", p)
	}
	damp := b.targetHumidity(&e, ps["target_humidity"])
	if p := ps["action"]; p != nil {
		b.state(&e, "action_topic", p)
	}
	if p := ps["fan_mode"]; p != nil {
		b.both(&e, "fan_mode", p)
		e.body.list("fan_modes", p.Options)
	}
	if p := ps["preset"]; p != nil {
		// "none" is always offered beside those that are listed.
		if presets := without(p.Options, "none"); len(presets) > 0 {
			b.both(&e, "preset_mode", p)
			e.body.list("preset_modes", presets)
		}
	}
	e.reliably()
	b.finish(e, c)
	if ps.has("target_humidity") && !damp {
		b.unfit(ps["target_humidity"], unfitPercents)
	}
	return true
}

// targets writes one target temperature or two, and what they all have in
// common: Home Assistant has one range and one step for them.
func (b *describer) targets(e *entity, c *protocol.Component, ps parts) {
	var low, high, step *float64
	for _, t := range []struct{ attribute, key string }{
		{"target", "temperature"}, {"target_low", "temperature_low"}, {"target_high", "temperature_high"},
	} {
		p := ps[t.attribute]
		if p == nil {
			continue
		}
		b.both(e, t.key, p)
		l, h := ends(p)
		low, high, step = least(low, l), most(high, h), least(step, p.Step)
	}
	if low != nil {
		e.body.number("min_temp", *low).number("max_temp", *high)
	}
	if step != nil {
		e.body.number("temp_step", *step)
	}
	if c.Precision != nil {
		e.body.number("precision", math.Pow10(-min(*c.Precision, 1)))
	}
	// Else it would be that of the house where Home Assistant runs.
	e.body.text("temperature_unit", "C")
}

// ends is the range of a target, both or none. One that has no other end would
// meet that of Home Assistant's 7 to 35.
func ends(p *protocol.Point) (low, high *float64) {
	low, high = p.Min, p.Max
	switch {
	case low != nil && high == nil:
		high = new(max(35, *low+28))
	case high != nil && low == nil:
		low = new(min(7, *high-28))
	}
	return low, high
}

func least(a, b *float64) *float64 {
	if a == nil || b != nil && *b < *a {
		return b
	}
	return a
}

func most(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// percents is the range of a target humidity, which Home Assistant wants
// within 0 to 100.
func percents(p *protocol.Point) (low, high int64, ok bool) {
	low, high, ok = span(p)
	low, high = max(low, 0), min(high, 100)
	return low, high, ok && low < high
}

const unfitPercents = "there are no two whole percentages from its min to its max"

func (b *describer) targetHumidity(e *entity, p *protocol.Point) bool {
	low, high, ok := percents(p)
	if ok {
		b.both(e, "target_humidity", p)
		e.body.int("min_humidity", low).int("max_humidity", high)
	}
	return ok
}

func (b *describer) humidifier(c *protocol.Component, ps parts) bool {
	if _, _, ok := percents(ps["target"]); !ok || !ps.has("on") {
		return false
	}
	e := b.begin(c, "", "humidifier", b.class("humidifier", c, unit{}))
	b.state(&e, "state_topic", ps["on"])
	b.set(&e, "command_topic", ps["on"])
	b.targetHumidity(&e, ps["target"])
	if p := ps["humidity"]; p != nil {
		b.state(&e, "current_humidity_topic", p)
	}
	modes := []string(nil)
	if p := ps["mode"]; p != nil {
		if modes = without(p.Options, noMode); len(modes) > 0 {
			b.both(&e, "mode", p)
			e.body.list("modes", modes)
		}
	}
	if p := ps["action"]; p != nil {
		b.state(&e, "action_topic", p)
	}
	e.reliably()
	b.finish(e, c)
	if ps.has("mode") && len(modes) == 0 {
		b.unfit(ps["mode"], "Home Assistant has no mode of that name")
	}
	return true
}
