package store

import (
	"errors"

	"github.com/hearthgate/hearthgate/store/segment"
)

// A stretch is some records of the log, one behind the other, whose entries are
// not in the history yet.
type stretch struct {
	first, last      uint64   // records
	end              Position // behind the last entry
	bytes            int
	latest, earliest int64 // ms: no record in it has a time outside
}

// stretchBytes is about how long one is: memory for many, reading for few.
const stretchBytes = 32 << 10

// stretches of all that is not sealed. Guarded by Store.tails.
type stretches []stretch

// add takes a record in.
func (all *stretches) add(s stretch) {
	if n := len(*all); n > 0 {
		l := &(*all)[n-1]
		if l.bytes < stretchBytes {
			l.last, l.end, l.bytes = s.last, s.end, l.bytes+s.bytes
			l.latest, l.earliest = max(l.latest, s.latest), min(l.earliest, s.earliest)
			return
		}
	}
	*all = append(*all, s)
}

// drop lets go of what is at or before a record, which the log may not have any more.
func (all *stretches) drop(record uint64) {
	n := 0
	for n < len(*all) && (*all)[n].last <= record {
		n++
	}
	*all = append(stretches(nil), (*all)[n:]...)
	if len(*all) > 0 { // the last one grew while the records before were sealed
		(*all)[0].first = max((*all)[0].first, record+1)
	}
}

// see widens the times of s by those of e.
func (s *stretch) see(e *Entry) {
	for i := range e.Records {
		t := floorDiv(e.Records[i].Time, 1e6)
		s.earliest, s.latest = min(s.earliest, t), max(s.latest, t)
	}
}

func newStretch() stretch { return stretch{earliest: 1<<63 - 1, latest: -1 << 63} }

// errElsewhere: what was in the log alone a moment ago is sealed, and gone from it.
var errElsewhere = errors.New("sealed meanwhile")

// scanStretches calls f for the records of all that may have records of devices
// between two times (ns).
func (s *Store) scanStretches(all stretches, from, to int64, f func(number uint64, payload []byte) error) error {
	for _, st := range all {
		if st.latest < floorDiv(from, 1e6) || st.earliest > floorDiv(to, 1e6) {
			continue
		}
		var ferr error
		err := s.journal.Scan(st.first, func(number uint64, payload []byte) bool {
			if number <= st.last {
				ferr = f(number, payload)
			}
			return ferr == nil && number < st.last
		})
		if errors.Is(err, segment.ErrGone) && s.sealedSince(all) {
			return errElsewhere
		}
		if err = errors.Join(ferr, err); err != nil {
			return err
		}
	}
	return nil
}

// sealedSince reports whether something of these was sealed after they were noted;
// else what the log lacks is missing for good.
func (s *Store) sealedSince(noted stretches) bool {
	s.tails.RLock()
	defer s.tails.RUnlock()
	return len(s.tails.unsealed) == 0 || s.tails.unsealed[0].first != noted[0].first
}

// unsealed calls f for the entries of a device ("" = all) that are in the log
// alone and may have records between two times. errElsewhere: begin again.
func (s *Store) unsealed(device string, from, to int64, f func(*Entry)) error {
	s.tails.RLock()
	all, sealed, head := append(stretches(nil), s.tails.unsealed...), s.tails.sealed, s.tails.head
	s.tails.RUnlock()
	rr := recordReader{only: device, mean: s.words.of}
	return s.scanStretches(all, from, to, func(number uint64, payload []byte) error {
		found, _ := s.entries(&rr, number, payload)
		for _, e := range found {
			if e.Pos > sealed && e.Pos <= head {
				f(e)
			}
		}
		return nil
	})
}
