package mqtt

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// telling is what Home Assistant has to be told about a thing: a device, or the
// gateway itself.
type telling struct {
	configs   []message
	platforms map[string]string // that it knows after that; nil if each has a topic of its own
	moves     []string          // topics that say the same in another form or under another prefix
	again     bool              // there is more to tell after that
}

// telling is what is to be told now, after what was told before. A component
// that goes away or changes its platform is removed by one message and missing
// (or new) in the next.
func (b *Bridge) telling(owner string, t hass.Thing) telling {
	if b.o.Discovery == DiscoverNothing {
		return telling{}
	}
	own := b.owned.of(owner)
	var before []string // what said the same, or some of it
	var wholes []string // of these, in one message
	for _, topic := range slices.Sorted(maps.Keys(own.Topics)) {
		if t.Says(topic) {
			before = append(before, topic)
		}
		if t.SaysWhole(topic) {
			wholes = append(wholes, topic)
		}
	}
	now := telling{platforms: t.Platforms()}
	gone := maps.Clone(own.Platforms)
	maps.DeleteFunc(gone, func(key, platform string) bool { return now.platforms[key] == platform })
	if len(gone) > 0 && len(wholes) > 0 {
		maps.DeleteFunc(now.platforms, func(key, _ string) bool { return gone[key] != "" })
		for _, topic := range wholes {
			now.configs = append(now.configs, message{topic, t.Whole(gone).Payload, true})
		}
		now.again = true
		return now
	}
	if b.o.Discovery == DiscoverComponents {
		now.platforms = nil
		for _, m := range t.Apart() {
			now.configs = append(now.configs, message{m.Topic, m.Payload, true})
		}
	} else {
		m := t.Whole(nil)
		now.configs = []message{{m.Topic, m.Payload, true}}
	}
	now.moves = slices.DeleteFunc(before, func(topic string) bool {
		return slices.ContainsFunc(now.configs, func(m message) bool { return m.topic == topic })
	})
	return now
}

// tell publishes discovery and what else there is of its owner as far as the
// broker does not have it, and empties what is in none of them nor in keep.
// It is false when Home Assistant may still be at work on the last message:
// then the owner's turn comes again. With resend everything goes out.
func (b *Bridge) tell(l *link, owner string, t telling, others []message, keep map[string]bool, resend bool) (bool, error) {
	if last, told := b.plan.told[owner]; told && !resend && b.anyNews(owner, t.configs) {
		b.plan.later[owner] = last.Add(b.settle)
		return false, nil
	}
	for _, m := range append(slices.Clip(others), t.configs...) {
		keep[m.topic] = true
	}
	if len(t.moves) > 0 && !b.plan.moved[owner] {
		if err := b.move(l, owner, t.moves, keep); err != nil {
			return false, err
		}
		t.again = true
	}
	if err := b.clear(l, owner, keep); err != nil {
		return false, err
	}
	news := slices.DeleteFunc(append(slices.Clip(others), t.configs...), func(m message) bool {
		return !resend && b.owned.has(owner, &m)
	})
	b.owned.intend(owner, news, t.platforms)
	if err := b.owned.flush(); err != nil {
		return false, err
	}
	if err := l.publishAll(news); err != nil {
		return false, err
	}
	for i := range news {
		b.owned.own(owner, news[i].topic, news[i].key())
	}
	if slices.ContainsFunc(news, func(m message) bool { return strings.HasSuffix(m.topic, "/config") }) {
		b.plan.told[owner] = time.Now()
	}
	if t.again {
		b.plan.later[owner] = time.Now().Add(b.settle)
	}
	if own := b.owned.of(owner); !maps.Equal(own.Platforms, t.platforms) {
		own.Platforms = t.platforms
		b.owned.dirty[owner] = true
	}
	return true, b.owned.flush()
}

// claim notes what tell will publish for a device, so that a flush serves many.
func (b *Bridge) claim(id string) {
	if d, ok := b.o.Registry.Get(id); ok {
		t := b.telling(id, b.names.Device(d))
		b.owned.intend(id, append(t.configs, b.card(d)), t.platforms)
	}
}

// move tells Home Assistant to let go of entities without forgetting them: with
// the next message they come back under the same unique ids, from elsewhere.
// The old topics stay until it has had time for that.
func (b *Bridge) move(l *link, owner string, topics []string, keep map[string]bool) error {
	b.plan.moved[owner] = true
	var ms []message
	for _, topic := range topics {
		keep[topic] = true
		ms = append(ms, message{topic, []byte(hass.Moves), false})
	}
	return l.publishAll(ms)
}

func (b *Bridge) anyNews(owner string, ms []message) bool {
	return slices.ContainsFunc(ms, func(m message) bool { return !b.owned.has(owner, &m) })
}

// warning is the description that the log has words about, and since when.
type warning struct {
	about *protocol.Description
	at    time.Time
}

// warn says once of each description what of it Home Assistant cannot be told.
// The card has it too, so a device that changes its mind all the time is not
// followed in the log.
func (b *Bridge) warn(d registry.Device) {
	last, now := b.warned[d.ID], time.Now()
	if b.o.Discovery == DiscoverNothing || last.about == d.Description || now.Sub(last.at) < time.Minute {
		return
	}
	b.warned[d.ID] = warning{d.Description, now}
	for _, w := range hass.Warnings(d) {
		b.o.Log.Warn("Home Assistant would not take this of what the device describes: "+w.Message, "device", d.ID, "component", w.Component)
		b.o.Registry.Note(d.ID, registry.AboutDescription, w.String())
	}
}
