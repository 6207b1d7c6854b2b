package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/hearthgate/hearthgate/store/segment"
)

// journal is where the log is kept: records, one for each commit, numbered in
// their order. The files of package segment are one, a bucket of the database is
// the other. One goroutine appends; the rest may happen beside it.
type journal interface {
	// Append returns when the record is durable. After an error the next call is
	// about the same record.
	Append(payload []byte) (number uint64, err error)

	// Next is the number that the next record gets. For who appends.
	Next() uint64

	// Scan calls f for the records from number on until it returns false.
	// segment.ErrGone: the log begins behind number.
	Scan(number uint64, f func(number uint64, payload []byte) bool) error

	// Extents is what is there, in pieces of some MB. An error says that this is
	// not known now.
	Extents() ([]segment.Extent, error)

	// Release says that nobody reads the records up to passed any more, and that
	// those up to sealed may go when the budget is spent.
	Release(passed, sealed uint64)

	Prepare() error // so that Append need not
	Stats() segment.Stats

	// End is where the log ends, for who opens it next. Zero: that looks for itself.
	// For who appends.
	End() segment.End

	Close() error
}

// mostSearched is how many records without a place in the log may follow each
// other at most when one is looked for.
const mostSearched = 64

// begins is the position with which the records from number on begin, 0 if none
// of them can be read.
func (s *Store) begins(number uint64) (pos Position, err error) {
	searched := 0
	err = s.journal.Scan(number, func(_ uint64, payload []byte) bool {
		var ok bool
		pos, ok = position(payload)
		searched++
		return !ok && searched < mostSearched
	})
	return pos, err
}

// find is the extent in which pos lies, and where it begins: the last one that
// begins at or before it, else the first. Without extents the log is empty. An
// error says that this is not known now, which is no reason to go on without them.
func (s *Store) find(pos Position) (all []segment.Extent, i int, at Position, err error) {
	if all, err = s.journal.Extents(); err != nil {
		return nil, 0, 0, err
	}
	all = slices.DeleteFunc(all, func(x segment.Extent) bool { return x.Last < x.First })
	if len(all) == 0 {
		return nil, 0, 0, nil
	}
	begins := func(i int) Position {
		p, berr := s.begins(all[i].First)
		err = cmp.Or(err, berr)
		return p
	}
	i = sort.Search(len(all), func(i int) bool {
		p := begins(i)
		return p == 0 || p > pos // 0: nothing is left from there on
	})
	i = max(i-1, 0)
	return all, i, begins(i), err
}

// readLog takes a page of the log: up to most entries from pos to head. at is the
// record to look in, 0 = not known; the one to go on in comes back.
func (s *Store) readLog(at uint64, pos, head Position, most int) (entries []*Entry, next uint64, err error) {
	if at == 0 {
		all, i, _, err := s.find(pos)
		if err != nil || len(all) == 0 {
			return nil, 0, logError(err)
		}
		at = all[i].First
	}
	rr := recordReader{mean: s.words.of}
	err = s.journal.Scan(at, func(number uint64, payload []byte) bool {
		next = number
		found, _ := s.entries(&rr, number, payload)
		for _, e := range found {
			if e.Pos >= pos && e.Pos <= head && len(entries) < most {
				entries = append(entries, e)
				pos = e.Pos + 1 // a record that is there twice must not lead back
			}
		}
		return len(entries) < most && rr.end <= head
	})
	if errors.Is(err, segment.ErrGone) && len(entries) > 0 {
		return entries, 0, nil
	}
	return entries, next, logError(err)
}

// logError is what an error of the journal means to a reader.
func logError(err error) error {
	switch {
	case errors.Is(err, segment.ErrGone):
		return errAgain
	case errors.Is(err, segment.ErrClosed):
		return ErrClosed
	}
	return err
}

// errAgain: what was read is not in the log any more.
var errAgain = errors.New("the log moved on")

// entries are those of a record. What cannot be read is reported.
func (s *Store) entries(rr *recordReader, number uint64, payload []byte) (all []*Entry, err error) {
	missing := rr.missing
	err = rr.each(payload, func(p *part) error {
		all = append(all, p.entries...)
		return nil
	})
	if err == nil && rr.missing > missing {
		err = errWord
	}
	if err != nil {
		s.recordDamaged(number, err)
	}
	return all, err
}

var errWord = errors.New("a word that it uses is not known, since the record that defined it is damaged")

// recordDamaged counts and reports a record, once.
func (s *Store) recordDamaged(number uint64, err error) {
	if _, again := s.badRecords.LoadOrStore(number, true); !again {
		s.file.damage(fmt.Sprintf("record %d of the log", number), err)
	}
}

// release lets go of what is sealed and was passed by every durable cursor.
func (s *Store) release() {
	s.journal.Release(s.passed(), s.seal.record)
	s.noteDropped()
}

// passed is up to which record nobody wants to read any more.
func (s *Store) passed() uint64 {
	const all = 1<<64 - 1
	least, any := s.leastCursor()
	s.tails.RLock()
	head := s.tails.durable
	s.tails.RUnlock()
	if !any || least >= head {
		return all
	}
	extents, i, _, err := s.find(least + 1)
	switch {
	case err != nil: // the next sealing knows more
		return 0
	case len(extents) == 0:
		return all
	}
	return extents[i].First - 1
}

// leastCursor is the position of the durable cursor that is furthest behind.
func (s *Store) leastCursor() (least Position, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.cursors {
		if !any || c.durable < least {
			least, any = c.durable, true
		}
	}
	return least, any
}

// noteDropped reports, once for each, readers that have lost entries because the
// log's budget is spent.
func (s *Store) noteDropped() {
	dropped := s.journal.Stats().Dropped
	if s.dropped.Swap(dropped) == dropped {
		return
	}
	extents, err := s.journal.Extents()
	if err != nil || len(extents) == 0 {
		return
	}
	first, err := s.begins(extents[0].First)
	if err != nil || first == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.cursors {
		if c.pos+1 >= first {
			c.lost = false
		} else if !c.lost {
			c.lost = true
			s.log.Error("the log's budget is spent: entries went that a reader has not read; is it still in use?",
				"reader", c.name, "entries", uint64(first-c.pos-1), "remove it by", "hearthgate cursor remove "+c.name)
		}
	}
}

// behind is how much of the log follows pos, and when the first of it was
// received.
func (s *Store) behind(pos, head Position) (bytes int64, oldest time.Time) {
	if pos >= head {
		return 0, oldest
	}
	extents, i, at, err := s.find(pos + 1)
	if err != nil || len(extents) == 0 {
		return 0, oldest
	}
	for _, x := range extents[i+1:] {
		bytes += x.Bytes
	}
	end := head + 1
	if i+1 < len(extents) {
		if p, err := s.begins(extents[i+1].First); err == nil && p > 0 {
			end = p
		}
	}
	if x := extents[i]; end > at && pos+1 >= at && end > pos+1 {
		bytes += int64(float64(x.Bytes) * float64(end-pos-1) / float64(end-at))
	} else {
		bytes += x.Bytes
	}
	first, _, err := s.readLog(extents[i].First, pos+1, head, 1)
	if err == nil && len(first) > 0 {
		oldest = time.UnixMilli(first[0].Received)
	}
	return bytes, oldest
}
