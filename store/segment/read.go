package segment

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Scan calls f for the records from number on, in order, until f returns false
// or there are no more. Payloads may be kept. ErrGone: the log begins behind
// number; see Extents. Damaged records are reported and left out.
//
// Nothing is locked while the disk is read or f runs. What is released meanwhile
// stays readable until Scan is out of it.
func (l *Log) Scan(number uint64, f func(number uint64, payload []byte) bool) error {
	for {
		s, at, last, err := l.enter(number)
		if s == nil {
			return err
		}
		more, err := l.walk(&window{s: s}, at, last, func(n uint64, payload []byte) bool {
			return n < number || f(n, payload)
		})
		l.leave(s)
		if !more || err != nil {
			return err
		}
		number = last + 1
	}
}

// enter finds the segment in which record number is, or the first behind it,
// and keeps it from being used again. at is where to begin, last the number of
// its last record now; nil: there is none.
func (l *Log) enter(number uint64) (s *segment, at place, last uint64, err error) {
	for {
		l.mu.Lock()
		if l.closed || len(l.live) > 0 && number < l.live[0].first {
			err = ErrGone
			if l.closed {
				err = ErrClosed
			}
			l.mu.Unlock()
			return nil, at, 0, err
		}
		i, _ := slices.BinarySearchFunc(l.live, number, func(s *segment, n uint64) int { return cmp.Compare(s.last, n) })
		for i < len(l.live) && l.live[i].last < l.live[i].first { // nothing in it
			i++
		}
		if i == len(l.live) {
			l.mu.Unlock()
			return nil, at, 0, nil
		}
		s = l.live[i]
		s.readers++
		if s.scanned || number <= s.first && !s.gap { // its first record lies at its beginning
			break
		}
		last = s.last
		l.mu.Unlock()
		found := l.scan(s, last)
		l.mu.Lock()
		s.take(found)
		l.mu.Unlock()
		if found.last < last && !s.gap { // it is shorter than it was
			l.lost(s, found.last+1, last)
		}
		l.leave(s)
	}
	defer l.mu.Unlock()
	return s, s.place(number), s.last, nil
}

// place is where to begin to look for a record. The caller holds Log.mu, but at the
// start.
func (s *segment) place(number uint64) place {
	if k, _ := slices.BinarySearchFunc(s.index, number+1, func(p place, n uint64) int { return cmp.Compare(p.number, n) }); k > 0 {
		return s.index[k-1]
	}
	return place{s.first, headerSpace}
}

// leave is the end of enter.
func (l *Log) leave(s *segment) {
	l.mu.Lock()
	s.readers--
	back, closed := s.gone && s.readers == 0, l.closed
	l.mu.Unlock()
	if !back {
		return
	}
	_ = s.file.Close()
	if !closed {
		l.making.Lock()
		defer l.making.Unlock()
		l.giveBack(s)
	}
}

// walk reads the segment of w from at on up to the record last, and says whether f
// wants more.
func (l *Log) walk(w *window, at place, last uint64, f func(number uint64, payload []byte) bool) (more bool, err error) {
	s, before := w.s, at.number-1
	mute := false // the disk gives nothing up to the end
	for off := int64(at.off); before < last && off+recordHeader <= s.size; {
		number, payload, what := decodeRecord(w.record(off, s.mark), s.mark)
		if w.nothing && !mute && w.away() {
			if mute = true; l.away(s) {
				return false, fmt.Errorf("read %s at byte %d: %w", s.name, off, w.err)
			}
		}
		if what != record || number <= before || number > last {
			off += leastBlock
			continue
		}
		if number != before+1 {
			l.lost(s, before+1, number-1)
		}
		before = number
		if !f(number, payload) {
			return false, nil
		}
		off += padded(recordHeader+len(payload), leastBlock)
	}
	if !mute {
		s.mute.Store(0)
	}
	if before < last {
		l.lost(s, before+1, last)
	}
	return true, nil
}

// away reports whether the disk seems to be, which gives nothing of s up to its end.
// It is not if it has taken a record since that was first so: then the place is bad.
func (l *Log) away(s *segment) bool {
	l.mu.RLock()
	taken := l.taken
	l.mu.RUnlock()
	return s.mute.CompareAndSwap(0, taken+1) || taken < s.mute.Load()
}

// lost reports records that should be there, unless the segment is known to be
// damaged.
func (l *Log) lost(s *segment, from, to uint64) {
	l.mu.Lock()
	known := s.damaged
	s.damaged = true
	l.mu.Unlock()
	if !known {
		l.o.Damaged(fmt.Sprintf("records %d to %d of the log, in %s", from, to, s.name), errors.New("they cannot be read"))
	}
}

// An Extent is what the log has of one segment.
type Extent struct {
	First, Last uint64 // records, First - 1 if there are none
	Bytes       int64  // of them, about
}

// Extents are the segments of the log, in order. ErrClosed.
func (l *Log) Extents() ([]Extent, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, ErrClosed
	}
	all := make([]Extent, 0, len(l.live))
	for _, s := range l.live {
		all = append(all, Extent{s.first, s.last, s.end - headerSpace})
	}
	return all, nil
}
