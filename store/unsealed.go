package store

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/hearthgate/hearthgate/store/segment"
)

// A logged record is one of the log's files whose entries are not in the
// database yet.
type logged struct {
	number     uint64
	first, end Position // of its entries, end is behind the last
	offset     uint64   // bytes of log before them
	latest     int64    // ms, the latest receipt up to here
	earliest   int64    // ms, no record of theirs is older
}

// everything is the sealed position when the log is in the database.
const everything = ^Position(0)

// openSegments reads what is not sealed yet.
func (s *Store) openSegments() error {
	names, err := s.fs.List()
	if err != nil {
		return fmt.Errorf("list the log's files: %w", err)
	}
	used := s.logIn == Files
	for _, name := range names {
		used = used || segment.IsName(name)
	}
	if !used {
		s.tails.sealed = everything
		return nil
	}
	l, err := segment.Open(segment.Options{FS: s.fs, Epoch: s.logEpoch, Size: s.segmentSize, Log: s.log, Damaged: s.file.damage}, s.seal.record, s.replayRecord)
	if err != nil {
		return err
	}
	l.Release(s.seal.record, s.seal.record)
	s.segments = l
	if s.committer.unsealed > 0 {
		s.committer.sealedSince = time.Now().Add(-sealAfter) // at once
	}
	if s.logIn == Files {
		return nil
	}
	return s.leaveSegments()
}

// leaveSegments moves what is in the log's files into the database, which is
// where the log goes from now on.
func (s *Store) leaveSegments() error {
	job := s.sealing()
	job.leave = true
	if err := s.trySeal(job); err != nil {
		return fmt.Errorf("move the log's files into the database: %w", err)
	}
	err := s.segments.Close()
	s.segments, s.tails.sealed, s.committer.unsealed = nil, everything, 0
	names, lerr := s.fs.List()
	for _, name := range names {
		if segment.IsName(name) {
			err = errors.Join(err, s.fs.Remove(name))
		}
	}
	if err = errors.Join(err, lerr); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return err
}

// replayRecord brings everything up to date with a record.
func (s *Store) replayRecord(number uint64, payload []byte) error {
	var at logged
	err := eachPart(payload, func(p *part) error {
		switch p.kind {
		case partBlock:
			return s.replayBlock(&at, p)
		case partRow:
			s.table(p.name).rows[p.key] = append([]byte(nil), p.value...)
		case partNoRow:
			delete(s.table(p.name).rows, p.key)
		case partCursor:
			s.cursors[p.name] = &cursor{name: p.name, pos: p.pos}
		case partNoCursor:
			delete(s.cursors, p.name)
		case partForgotten:
			delete(s.devices, p.name)
			s.committer.unforgotten = append(s.committer.unforgotten, p.name)
		case partBoots:
			d := s.device(p.name)
			d.changed = true
			d.boots = d.boots[:0]
			for _, b := range p.boots {
				d.boots = append(d.boots, &b)
			}
		}
		return nil
	})
	if err != nil {
		s.file.damage(fmt.Sprintf("record %d of the log", number), err)
	}
	s.committer.unsealed += int64(len(payload))
	if at.end > 0 && at.first > s.tails.sealed {
		at.number = number
		s.tails.unsealed = append(s.tails.unsealed, at)
	}
	return nil
}

// replayBlock brings devices up to date with a block, and at and the log's end.
func (s *Store) replayBlock(at *logged, p *part) error {
	h, body, err := unpackHeader(p.value)
	if err != nil {
		return err
	}
	entries, err := unpackBody(p.pos, h, body)
	if err != nil {
		return err
	}
	for _, e := range entries {
		s.replayEntry(e)
	}
	at.add(p.pos, h)
	c := &s.committer
	if p.pos >= c.next {
		c.next, c.logSize, c.latest = at.end, h.offset+uint64(len(p.value)), h.latest
	}
	return nil
}

// logged is what the batch in hand became.
func (c *committer) logged() (l logged) {
	l.number = c.number
	for _, bl := range c.pack.blocks {
		if h, _, err := unpackHeader(c.pack.buf[bl.from:bl.to]); err == nil {
			l.add(bl.first, h)
		}
	}
	return l
}

// add takes a block of the record in.
func (l *logged) add(first Position, h blockHeader) {
	if l.end == 0 {
		l.first, l.offset, l.earliest = first, h.offset, h.earliest
	}
	l.end, l.latest, l.earliest = first+Position(h.count), h.latest, min(l.earliest, h.earliest)
}

// blocks calls f for the blocks of a record, until it says stop. A record that
// was sealed meanwhile is gone: look for its entries in the database. A damaged
// one is reported and has none.
func (s *Store) blocks(l logged, f func(at Position, h blockHeader, body []byte) (stop bool)) (gone bool) {
	payload, err := s.segments.Read(l.number)
	if errors.Is(err, segment.ErrGone) {
		return true
	}
	stop := false
	if err == nil {
		err = eachPart(payload, func(p *part) error {
			if p.kind != partBlock || stop {
				return nil
			}
			h, body, err := unpackHeader(p.value)
			if err == nil {
				stop = f(p.pos, h, body)
			}
			return err
		})
	}
	if err != nil {
		s.blockDamaged(l.first, err)
	}
	return false
}

// sealedTo is up to which position the database has the entries.
func (s *Store) sealedTo() Position {
	s.tails.RLock()
	defer s.tails.RUnlock()
	return s.tails.sealed
}

// unsealedFrom says up to which position the database has the entries, and which
// records there are behind that from pos on. They may be sealed at any moment.
func (s *Store) unsealedFrom(pos Position) (behind []logged, sealed Position) {
	s.tails.RLock()
	defer s.tails.RUnlock()
	all := s.tails.unsealed
	return all[sort.Search(len(all), func(i int) bool { return all[i].end > pos }):], s.tails.sealed
}

// readUnsealed is readLog for entries that are not sealed.
func (s *Store) readUnsealed(behind []logged, pos, head Position, least uint64, max int) (entries []*Entry, after Position) {
	for _, l := range behind {
		if l.first > head {
			break
		}
		if l.offset < least {
			continue
		}
		gone := s.blocks(l, func(at Position, h blockHeader, body []byte) bool {
			block, err := unpackBody(at, h, body)
			if err != nil {
				s.blockDamaged(at, err)
			}
			for _, e := range block {
				if e.Pos >= pos && e.Pos <= head && len(entries) < max {
					entries = append(entries, e)
				}
			}
			return len(entries) >= max
		})
		if gone && len(entries) == 0 {
			return nil, pos // it is in the database now
		}
		if gone || len(entries) >= max {
			break
		}
	}
	return entries, head + 1
}

// scanUnsealed is scanPage for entries that are not sealed.
func (s *Store) scanUnsealed(behind []logged, w *window, next, head Position) (entries []*Entry, after Position) {
	read := 0
	for _, l := range behind {
		if l.first > head {
			break
		}
		if read > scanBytes {
			return entries, l.first
		}
		if l.latest < floorDiv(w.from, 1e6)-aheadOfReceipt.Milliseconds() || l.earliest > floorDiv(w.to, 1e6) {
			continue
		}
		gone := s.blocks(l, func(at Position, h blockHeader, body []byte) bool {
			read += len(body)
			if at >= next && at <= head && w.mayHold(h, body) {
				block, err := unpackBody(at, h, body)
				if err != nil {
					s.blockDamaged(at, err)
				}
				entries = append(entries, block...)
			}
			return false
		})
		if gone {
			return entries, l.first
		}
	}
	return entries, head + 1
}
