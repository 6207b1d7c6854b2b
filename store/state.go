package store

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
	bolt "go.etcd.io/bbolt"
)

// A checkpoint saves what follows from the log (boots, newest values, presence)
// for the devices that changed. It is part of sealing; at the start what is not
// sealed is read again.

const stateFormat = 1

// A stateWrite is a device of a checkpoint; nil = it was forgotten.
type stateWrite struct {
	device string
	value  []byte
}

// takeStates adds the devices that changed since the last checkpoint.
func (s *Store) takeStates(to []stateWrite) []stateWrite {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, d := range s.devices {
		if d.changed {
			to = append(to, stateWrite{id, d.encode()})
			d.changed = false
		}
	}
	return to
}

// takeBoots puts the boots of the devices that said hello into the batch.
func (s *Store) takeBoots(named []*device) {
	c := &s.committer
	for _, f := range c.batch.forgotten {
		c.unforgotten = append(c.unforgotten, f.device)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range named {
		d.named = false
		if s.devices[d.id] != d {
			continue // forgotten meanwhile
		}
		d.changed = true
		w := bootsWrite{device: d.id}
		for _, b := range d.boots {
			w.boots = append(w.boots, *b)
		}
		c.batch.boots = append(c.batch.boots, w)
	}
}

// putStates writes a checkpoint.
func putStates(tx *bolt.Tx, states []stateWrite) error {
	devices := tx.Bucket(bucketDevices)
	for _, w := range states {
		var err error
		if w.value == nil {
			err = devices.Delete([]byte(w.device))
		} else {
			err = devices.Put([]byte(w.device), w.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// encode is d as of the batch in hand. The caller is the committer and holds mu.
func (d *device) encode() []byte {
	b := []byte{0, 0, 0, 0, stateFormat}
	b = binary.AppendUvarint(b, uint64(len(d.boots)))
	for _, bt := range d.boots {
		b = append(b, bt.id[:]...)
		b = binary.AppendUvarint(b, bt.staged)
	}
	if d.staged == nil {
		b = append(b, 0)
	} else {
		b = appendPresence(append(b, 1), *d.staged)
	}
	known := 0 // by the log, not only in memory
	for _, c := range d.cells {
		if c.known {
			known++
		}
	}
	b = binary.AppendUvarint(b, uint64(known))
	for _, c := range d.cells {
		if !c.known {
			continue
		}
		b = append(b, byte(c.staged.Value.Kind()))
		b = appendText(b, c.staged.Name)
		b = binary.AppendVarint(b, c.staged.Time)
		b = binary.AppendVarint(b, c.staged.Received)
		b = appendValue(b, c.staged.Value)
	}
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// decodeDevice reads what encode wrote.
func decodeDevice(id string, v []byte) (*device, error) {
	if len(v) < 5 || binary.LittleEndian.Uint32(v) != crc32.Checksum(v[4:], castagnoli) || v[4] != stateFormat {
		return nil, errDamaged
	}
	d := &device{id: id, cells: map[string]*cell{}}
	r := reader{s: string(v[5:])}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		bt := &boot{}
		copy(bt.id[:], r.take(len(protocol.Boot{})))
		bt.last = r.uvarint()
		bt.durable, bt.staged = bt.last, bt.last
		d.boots = append(d.boots, bt)
	}
	if r.byte() == 1 {
		p := r.presence()
		q := p
		d.presence, d.staged = &p, &q
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		k := protocol.Kind(r.byte())
		v := Newest{Name: r.text(), Time: r.varint(), Received: r.varint()}
		v.Value = r.value(k)
		d.cells[v.Name] = &cell{newest: v, shown: true, staged: v, known: true}
	}
	if r.bad || len(r.s) > 0 || len(d.boots) > bootsRemembered {
		return nil, errDamaged
	}
	return d, nil
}

// Newest is the newest value of a name, as of the last commit.
type Newest struct {
	Name     string
	Value    protocol.Value
	Time     int64 // ns since 1970
	Received int64 // ms since 1970
}

// clockStep, in ms, is by how much an entry must have been received before
// its predecessor to show that the clock was set back in between. Then the
// times of the two say nothing about their order, but the log does: a value
// of now must not lose against one that seems to come from the future.
const clockStep = 10_000

// supersedes reports whether n stays the newest although a value of that time was
// received behind it: late data never overwrites a newer value.
func (n *Newest) supersedes(time, received int64) bool {
	return time < n.Time && received >= n.Received-clockStep
}

// Newest are the newest values of a device, in the order of their names. Records
// that are Late or Unfit or of an Uncertain entry never get here.
func (s *Store) Newest(device string) []Newest {
	d := s.known(device)
	if d == nil {
		return nil
	}
	s.values.RLock()
	all := make([]Newest, 0, len(d.cells))
	for _, c := range d.cells {
		if c.shown {
			all = append(all, c.newest)
		}
	}
	s.values.RUnlock()
	slices.SortFunc(all, func(a, b Newest) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// NewestOf is the newest value of one name.
func (s *Store) NewestOf(device, name string) (Newest, bool) {
	d := s.known(device)
	if d == nil {
		return Newest{}, false
	}
	s.values.RLock()
	defer s.values.RUnlock()
	if c := d.cells[name]; c != nil && c.shown {
		return c.newest, true
	}
	return Newest{}, false
}

// known is the device called id, nil if there is none.
func (s *Store) known(id string) *device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.devices[id]
}
