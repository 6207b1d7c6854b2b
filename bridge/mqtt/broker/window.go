package broker

import (
	"cmp"
	"slices"
)

// The steps of a message that is under way at QoS 1 or 2.
const (
	free      = iota
	published // waits for PUBACK or PUBREC
	released  // QoS 2: waits for PUBCOMP
)

// slot holds one packet id that is in use.
type slot struct {
	id    uint16
	step  byte
	sent  bool   // on this connection, so that it counts against the client's maximum
	order uint64 // of the first sending
	entry entry  // with bytes: the message, of a session that may come back
	bytes []byte
}

// window is the messages under way to one client: a ring in which an id has the
// place id modulo length, so that finding one is looking at one.
type window struct {
	slots []slot // none, or a power of 2 up to maxUnacked
	next  uint16
	order uint64
	used  int
	kept  int // bytes of all slots
}

// take uses the next free id; there has to be room for one.
func (w *window) take() *slot {
	if w.used == len(w.slots) {
		w.grow()
	}
	for {
		w.next++
		if s := &w.slots[int(w.next)%len(w.slots)]; s.step == free && w.next != 0 {
			w.used++
			w.order++
			s.id, s.step, s.sent, s.order = w.next, published, true, w.order
			return s
		}
	}
}

// grow doubles the ring: ids that differ modulo n do so modulo 2n.
func (w *window) grow() {
	old := w.slots
	w.slots = make([]slot, max(16, 2*len(old)))
	for _, s := range old {
		w.slots[int(s.id)%len(w.slots)] = s
	}
}

// find returns the slot of an id that is in use, or nil.
func (w *window) find(id uint16) *slot {
	if len(w.slots) == 0 {
		return nil
	}
	if s := &w.slots[int(id)%len(w.slots)]; s.id == id && s.step != free {
		return s
	}
	return nil
}

func (w *window) keep(s *slot, e entry, b []byte) {
	s.entry, s.bytes = e, append(s.bytes[:0], b...)
	w.kept += len(b)
}

// forget drops the message of a slot and keeps its id.
func (w *window) forget(s *slot) {
	w.kept -= len(s.bytes)
	if s.bytes = s.bytes[:0]; cap(s.bytes) > 4<<10 {
		s.bytes = nil
	}
}

func (w *window) free(s *slot) {
	w.forget(s)
	s.step = free
	w.used--
}

// unsettled returns the ids in use, the oldest first.
func (w *window) unsettled() []uint16 {
	var busy []*slot
	for i := range w.slots {
		if w.slots[i].step != free {
			busy = append(busy, &w.slots[i])
		}
	}
	slices.SortFunc(busy, func(a, b *slot) int { return cmp.Compare(a.order, b.order) })
	ids := make([]uint16, len(busy))
	for i, s := range busy {
		ids[i] = s.id
	}
	return ids
}
