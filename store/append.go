package store

// Append gives e to the committer and returns at once; w (may be nil) is told
// when it is durable. The store owns e from then on.
//
// A Telemetry or Refused entry with a seq at or below the last one of its boot
// that is settled or waits is a repeat: it is not stored again, w is told when
// that seq is durable, and repeat is true.
//
// ErrOverloaded: the bytes that wait are above the budget. ErrOldEra: it came in a
// session of before. ErrInMemory: it is Imported, and the disk takes nothing. In
// either case nothing was taken.
func (s *Store) Append(e *Entry, u Urgency, w Waiter) (repeat bool, err error) {
	size := weight(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(size); err != nil {
		return false, err
	}
	switch era := s.Era(); {
	case e.Era != 0 && e.Era != era:
		return false, ErrOldEra
	case e.Kind == Imported && era.InMemory():
		return false, ErrInMemory
	}
	var d *device
	var b *boot
	if e.Device != "" {
		d = s.device(e.Device)
		if e.Seq > 0 && (e.Kind == Telemetry || e.Kind == Refused) {
			if b = d.boot(e.Boot); b == nil {
				b = d.name(e.Boot)
			}
			if e.Seq <= b.last {
				s.repeat(e, d, b, u, w)
				return true, nil
			}
			e.Again = e.Seq <= b.seen
			b.last = e.Seq
		}
		if e.Kind == Presence {
			p := e.Presence
			d.presence = &p
		}
	}
	s.queue.items = append(s.queue.items, item{e: e, dev: d, boot: b, w: w, size: size})
	s.queue.bytes += size
	s.hasten(d, u)
	return false, nil
}

// repeat remembers that w wants to know when e's seq, which is stored or on its
// way, is durable.
func (s *Store) repeat(e *Entry, d *device, b *boot, u Urgency, w Waiter) {
	s.health.Repeats++
	if w == nil {
		return
	}
	r := repeat{e, b, w}
	if e.Seq <= b.durable {
		s.queue.settled = append(s.queue.settled, r)
		s.signal()
		return
	}
	s.queue.repeats = append(s.queue.repeats, r)
	s.queue.bytes += repeatSize
	s.hasten(d, u)
}

// room says whether size more bytes may wait.
func (s *Store) room(size int64) error {
	switch {
	case s.queue.closing:
		return ErrClosed
	case s.Era().InMemory(): // what the committer has in hand is not of now
		if s.queue.bytes+s.memory.bytes+size > pendingBudget {
			return ErrOverloaded
		}
	case s.queue.bytes+s.queue.writingBytes+size > pendingBudget:
		return ErrOverloaded
	}
	return nil
}

// weight is about what e takes in memory and on disk.
func weight(e *Entry) int64 {
	n := 24 + len(e.Device) + len(e.Presence.Cause)
	for i := range e.Records {
		r := &e.Records[i]
		n += 12 + len(r.Name) + len(r.Unit) + len(r.Value.AsText())
	}
	return int64(n)
}
