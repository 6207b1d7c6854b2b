package hass

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
)

// event is something that happened. One of the class button is a button that a
// hand presses: its options are device triggers as well, since that is where
// people who automate look for buttons.
func (b *describer) event(p *protocol.Point) {
	c := p.Component
	class := b.class("event", c, unit{})
	e := b.begin(c, "", "event", class)
	e.body.text("state_topic", b.topic(p.Name, "event"))
	e.body.list("event_types", p.Options)
	b.finish(e, c)
	if class != "button" {
		return
	}
	used := map[string]bool{}
	for _, option := range p.Options {
		press := pressOf(option)
		if used[press] {
			press = option // two options with one type would be one trigger
		}
		used[press] = true
		b.trigger(p, option, press)
	}
}

// presses are the types of triggers that Home Assistant has words for, by what
// devices call them.
var presses = map[string]string{
	"press": "button_short_press", "single": "button_short_press", "short": "button_short_press", "short_press": "button_short_press",
	"release": "button_short_release", "short_release": "button_short_release",
	"hold": "button_long_press", "long": "button_long_press", "long_press": "button_long_press", "long_release": "button_long_release",
	"double": "button_double_press", "double_press": "button_double_press",
	"triple": "button_triple_press", "triple_press": "button_triple_press",
	"quadruple": "button_quadruple_press", "quadruple_press": "button_quadruple_press",
	"quintuple": "button_quintuple_press", "quintuple_press": "button_quintuple_press",
}

// pressOf is the type of a trigger, the option itself where there is no word
// for it.
func pressOf(option string) string {
	if known := presses[strings.TrimPrefix(option, "button_")]; known != "" {
		return known
	}
	return option
}

// trigger lets automations start at one option of an event.
func (b *describer) trigger(p *protocol.Point, option, press string) {
	e := entity{key: "_" + p.Component.ID + "-" + word(option), platform: "device_automation", alone: true} // no entity, so never unavailable
	e.body.text("automation_type", "trigger").text("type", press).text("subtype", p.Component.ID)
	e.body.text("topic", b.topic(p.Name, "event"))
	e.body.text("payload", option).text("value_template", "{{ value_json.event_type }}")
	b.add(e)
}

// word is an option as part of a key: itself if it can be, else a mark of it.
func word(option string) string {
	plain := func(r rune) bool { return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' }
	if option != "" && len(option) <= 32 && strings.IndexFunc(option, func(r rune) bool { return !plain(r) }) < 0 {
		return option
	}
	h := fnv.New64a()
	h.Write([]byte(option))
	return fmt.Sprintf("%016x", h.Sum64())
}
