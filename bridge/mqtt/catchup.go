package mqtt

import (
	"context"
	"slices"

	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// After an outage states come first, each as its newest value, and then the
// stream from the cursor on, in order and without states.

// farBehind is how many entries are read for what changed in them; with more,
// all states are published.
const farBehind = 20000

// catchUp publishes presence and newest values: all of them on a broker that
// has nothing of us, else what the entries after the cursor changed. It returns
// the position up to which entries are replayed without states.
func (b *Bridge) catchUp(l *link, full bool) (store.Position, error) {
	head := b.o.Store.Head()
	b.tail.Rewind()
	var touched map[string]*touch
	if !full && !b.unsure && b.tail.Lag() <= b.farBehind {
		var err error
		if touched, err = b.touched(l.ctx, head); err != nil {
			return 0, err
		}
		b.tail.Rewind()
	}
	b.compose.begin()
	for _, d := range b.o.Registry.List() {
		t := everything
		if touched != nil {
			if t = touched[d.ID]; t == nil {
				continue
			}
		}
		b.composeDevice(d, t)
		if len(b.compose.msgs) >= batchSize {
			if err := b.publishComposed(l); err != nil {
				return 0, err
			}
			b.compose.begin()
		}
	}
	if err := b.publishComposed(l); err != nil {
		return 0, err
	}
	if touched == nil {
		b.unsure = false
	}
	return head, nil
}

// touch is what changed of a device.
type touch struct {
	all      bool
	presence bool
	names    map[string]bool
}

var everything = &touch{all: true, presence: true}

// touched reads the entries from the cursor to head for what they change; nil if some
// of them are gone.
func (b *Bridge) touched(ctx context.Context, head store.Position) (map[string]*touch, error) {
	all := map[string]*touch{}
	for last := store.Position(0); last < head && b.tail.Lag() > 0; {
		entries, skipped, err := b.tail.Next(ctx, batchSize)
		if err != nil {
			return nil, err
		}
		if skipped > 0 {
			b.dropped(skipped, entries)
			return nil, nil
		}
		for _, e := range entries {
			if e.Kind == store.Imported {
				continue
			}
			t := all[e.Device]
			if t == nil {
				t = &touch{names: map[string]bool{}}
				all[e.Device] = t
			}
			t.presence = t.presence || e.Kind == store.Presence
			for i := range e.Records {
				t.names[e.Records[i].Name] = true
			}
		}
		last = entries[len(entries)-1].Pos
	}
	return all, nil
}

// dropped is told of entries that were gone before they were read, and what came behind
// them. The cursor moves there, so that they are counted once and never met again; all
// states have to be published, since it is not known what those entries changed.
func (b *Bridge) dropped(skipped uint64, entries []*store.Entry) {
	b.count.behind.Add(skipped)
	b.event(bridgeEvent{Type: "alert", Message: "the broker was too slow or away for too long: the oldest entries of the stream were dropped"})
	b.unsure = true
	if len(entries) > 0 {
		b.tail.Advance(entries[0].Pos - 1)
	}
}

// composeDevice adds presence and newest values of a device.
func (b *Bridge) composeDevice(d registry.Device, t *touch) {
	if t.presence {
		p, known := b.o.Store.PresenceOf(d.ID)
		b.compose.addPresence(d, p, known)
	}
	for _, n := range b.values(d) {
		if t.all || t.names[n.Name] {
			b.compose.addNewest(d.ID, n)
		}
	}
}

// orphans are the owned topics that are not in keep, discovery's first: what
// Home Assistant is told to remove must be gone before it is told of the same
// thing anew.
func orphans(b *belongings, keep map[string]bool, isDiscovery func(string) bool) []message {
	var first, rest []message
	for topic := range b.Topics {
		switch {
		case keep[topic]:
		case isDiscovery(topic):
			first = append(first, message{topic: topic, retained: true})
		default:
			rest = append(rest, message{topic: topic, retained: true})
		}
	}
	all := append(first, rest...)
	slices.SortStableFunc(all[len(first):], func(x, y message) int { return compareTopics(x, y) })
	slices.SortStableFunc(all[:len(first)], func(x, y message) int { return compareTopics(x, y) })
	return all
}

func compareTopics(x, y message) int {
	if x.topic < y.topic {
		return -1
	}
	return 1
}
