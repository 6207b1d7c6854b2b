package hass

import (
	"math"
	"slices"
	"strconv"

	"github.com/hearthgate/hearthgate/protocol"
)

// Covers, valves and locks. Each is given a state topic even where the device
// reports no such attribute: without one Home Assistant would believe its own
// command, with one it says that it does not know.

// span is the range of a number as Home Assistant takes it for positions and
// speeds: whole numbers, the first below the second.
func span(p *protocol.Point) (low, high int64, ok bool) {
	if p == nil || p.Min == nil || p.Max == nil {
		return 0, 0, false
	}
	l, h := math.Ceil(*p.Min), math.Floor(*p.Max)
	return int64(l), int64(h), l < h && l >= -farthest && h <= farthest
}

// unfit shows an attribute as a sensor that Home Assistant cannot have in its
// entity.
func (b *describer) unfit(p *protocol.Point, why string) {
	b.warn(p.Component, "%s: %s; shown as a sensor, and commanded by MQTT alone", p.Attribute, why)
	b.plain(p)
}

const unfitRange = "there are no two whole numbers from its min to its max"

func (b *describer) cover(c *protocol.Component, ps parts) {
	e := b.begin(c, "", "cover", b.class("cover", c, unit{}))
	closed, open, positioned := span(ps["position"])
	if ps.has("state") || !positioned {
		e.body.text("state_topic", b.topic(c.ID+"/state", "state"))
	}
	switch {
	case ps.has("action"):
		b.set(&e, "command_topic", ps["action"])
		e.offered("payload_open", ps["action"], "open")
		e.offered("payload_close", ps["action"], "close")
		e.offered("payload_stop", ps["action"], "stop")
	case positioned: // opens and closes by its ends
		b.set(&e, "command_topic", ps["position"])
		e.body.text("payload_open", strconv.FormatInt(open, 10)).text("payload_close", strconv.FormatInt(closed, 10)).null("payload_stop")
	}
	if positioned {
		b.state(&e, "position_topic", ps["position"])
		b.set(&e, "set_position_topic", ps["position"])
		e.body.int("position_open", open).int("position_closed", closed)
	}
	if low, high, ok := span(ps["tilt"]); ok {
		b.state(&e, "tilt_status_topic", ps["tilt"])
		e.body.text("tilt_status_template", wholeTemplate)
		b.set(&e, "tilt_command_topic", ps["tilt"])
		e.body.int("tilt_min", low).int("tilt_max", high).int("tilt_closed_value", low).int("tilt_opened_value", high)
		e.body.null("payload_stop_tilt") // a tilt is a number here
	}
	e.reliably()
	b.finish(e, c)
	for _, attribute := range []string{"position", "tilt"} {
		if _, _, ok := span(ps[attribute]); !ok && ps.has(attribute) {
			b.unfit(ps[attribute], unfitRange)
		}
	}
}

// valve: one that has a position is commanded by it alone; words beside it make
// Home Assistant refuse the component.
func (b *describer) valve(c *protocol.Component, ps parts) {
	e := b.begin(c, "", "valve", b.class("valve", c, unit{}))
	closed, open, positioned := span(ps["position"])
	switch {
	case positioned:
		e.body.bool("reports_position", true)
		b.state(&e, "state_topic", ps["position"])
		b.set(&e, "command_topic", ps["position"])
		e.body.int("position_open", open).int("position_closed", closed)
	default:
		e.body.text("state_topic", b.topic(c.ID+"/state", "state"))
		// Home Assistant's valves do not stop half way; what is not closed is open.
		e.body.text("value_template", "{{ 'open' if value == 'stopped' else value }}")
		if ps.has("action") {
			b.set(&e, "command_topic", ps["action"])
			e.offered("payload_open", ps["action"], "open")
			e.offered("payload_close", ps["action"], "close")
			e.offered("payload_stop", ps["action"], "stop")
		}
	}
	e.reliably()
	b.finish(e, c)
	if ps.has("position") && !positioned {
		b.unfit(ps["position"], unfitRange)
	}
}

func (b *describer) lock(c *protocol.Component, ps parts) {
	e := b.begin(c, "", "lock", b.class("lock", c, unit{}))
	e.body.text("state_topic", b.topic(c.ID+"/state", "state"))
	for _, s := range []string{"locked", "locking", "unlocked", "unlocking", "jammed"} {
		e.body.text("state_"+s, s)
	}
	b.set(&e, "command_topic", ps["action"])
	e.body.text("payload_lock", "lock").text("payload_unlock", "unlock")
	if slices.Contains(ps["action"].Options, "open") {
		e.body.text("payload_open", "open")
	}
	e.reliably()
	b.finish(e, c)
}

// offered writes the payload of a command, or that there is no such command.
func (e *entity) offered(key string, p *protocol.Point, option string) {
	if slices.Contains(p.Options, option) {
		e.body.text(key, option)
	} else {
		e.body.null(key)
	}
}
