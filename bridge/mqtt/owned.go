package mqtt

import (
	"errors"
	"time"

	"github.com/hearthgate/hearthgate/store"
)

// belongings is what the bridge has on the broker for one device, or for the
// gateway itself: retained topics, and what Home Assistant was told. It is kept
// in the store, so that nothing is left behind by a removal, or by another base
// topic, prefix or discovery mode after a restart.
type belongings struct {
	// Topics with a mark of what was last confirmed on them; 0 for states,
	// which change too often to be written down.
	Topics map[string]uint64 `cbor:"1,keyasint"`
	// Platforms of the components that Home Assistant knows.
	Platforms map[string]string `cbor:"2,keyasint,omitempty"`
	// Version of the description that Homie controllers have.
	Version uint64 `cbor:"3,keyasint,omitempty"`
}

// gatewayKey is where the gateway's own belongings are; no device id has a '_'.
const gatewayKey = "_gateway"

// ownedTopics is the list of all belongings. Only the goroutine that publishes
// uses it.
type ownedTopics struct {
	table *store.Table[belongings]
	all   map[string]*belongings
	dirty map[string]bool
	first bool // of what is dirty something has to be on disk first
}

func openOwned(s *store.Store, name string) (*ownedTopics, error) {
	table, err := store.OpenTable[belongings](s, name)
	if err != nil {
		return nil, err
	}
	o := &ownedTopics{table: table, all: map[string]*belongings{}, dirty: map[string]bool{}}
	err = table.Each(func(key string, b belongings) error {
		if b.Topics == nil {
			b.Topics = map[string]uint64{}
		}
		o.all[key] = &b
		return nil
	})
	return o, err
}

// of are the belongings of an owner, made if there are none.
func (o *ownedTopics) of(owner string) *belongings {
	b := o.all[owner]
	if b == nil {
		b = &belongings{Topics: map[string]uint64{}}
		o.all[owner] = b
	}
	return b
}

// own notes a topic with the mark of its content.
func (o *ownedTopics) own(owner, topic string, mark uint64) {
	b := o.of(owner)
	old, ok := b.Topics[topic]
	if ok && old == mark {
		return
	}
	b.Topics[topic] = mark
	o.dirty[owner] = true
	o.first = o.first || !ok || mark == 0
}

// intend notes what is going to be published for an owner, before it is: the
// topics, none of them with a mark, and the platforms that Home Assistant may
// know from then on.
func (o *ownedTopics) intend(owner string, ms []message, platforms map[string]string) {
	for i := range ms {
		if !o.has(owner, &ms[i]) {
			o.own(owner, ms[i].topic, 0)
		}
	}
	b := o.of(owner)
	for key, platform := range platforms {
		if b.Platforms[key] == "" {
			if b.Platforms == nil {
				b.Platforms = map[string]string{}
			}
			b.Platforms[key] = platform
			o.dirty[owner], o.first = true, true
		}
	}
}

// disown forgets a topic that is empty now.
func (o *ownedTopics) disown(owner, topic string) {
	b := o.of(owner)
	delete(b.Topics, topic)
	o.dirty[owner] = true
}

// has reports whether the broker has that content on the topic.
func (o *ownedTopics) has(owner string, m *message) bool {
	b := o.all[owner]
	return b != nil && b.Topics[m.topic] == m.key()
}

// knows reports whether the topic is owned, whatever is on it.
func (o *ownedTopics) knows(owner, topic string) bool {
	b := o.all[owner]
	if b == nil {
		return false
	}
	_, ok := b.Topics[topic]
	return ok
}

// flush writes down what changed. What is going to be published is on disk
// before it is, so that no crash leaves something behind of which nobody knows;
// that it was published, or is gone, goes with a later commit. While the store
// works in memory only, nothing can be on disk before: then all of it is later.
func (o *ownedTopics) flush() error {
	urgency, synced := store.Rides, make(chan error, len(o.dirty))
	var done func(error)
	if o.first {
		urgency, done = store.Now, func(err error) { synced <- err }
	}
	rows := len(o.dirty)
	for owner := range o.dirty {
		err := o.write(owner, urgency, done)
		if errors.Is(err, store.ErrInMemory) {
			rows--
			err = o.write(owner, store.Rides, nil)
		}
		if err != nil {
			return err // it stays, for the next time
		}
		delete(o.dirty, owner)
	}
	if o.first {
		o.first = false
		o.await(synced, rows)
	}
	return nil
}

// write writes the row of an owner, or removes that of one that has nothing left.
func (o *ownedTopics) write(owner string, u store.Urgency, done func(error)) error {
	b := o.all[owner]
	if b == nil || len(b.Topics) == 0 {
		delete(o.all, owner)
		return o.table.Delete(owner, u, done)
	}
	return o.table.Put(owner, *b, u, done)
}

// await waits until rows are on disk. A disk that does not take them must not
// keep states from their topics.
func (o *ownedTopics) await(synced <-chan error, rows int) {
	patience := time.NewTimer(diskPatience)
	defer patience.Stop()
	for range rows {
		select {
		case <-synced:
		case <-patience.C:
			return
		}
	}
}

// diskPatience is how long publishing waits for the disk.
const diskPatience = 2 * time.Second

// forgetMarks makes everything count as never published: the broker forgot.
// That is not written down: until all is published again the broker has no
// epoch mark of ours, and the next start would come here again.
func (o *ownedTopics) forgetMarks() {
	for _, b := range o.all {
		for t := range b.Topics {
			b.Topics[t] = 0
		}
	}
}
