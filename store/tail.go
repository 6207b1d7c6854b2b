package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A cursor is how far a reader is. Guarded by Store.mu.
type cursor struct {
	name    string // "" = not durable
	pos     Position
	durable Position // as it would be after a crash
	dirty   bool     // differs from what is on disk
	fresh   bool     // is not on disk at all
	open    bool
	lost    bool // entries that it needs are gone, and that was reported
}

// Tail reads the log from a cursor on. One goroutine at a time; Close may come
// from another.
type Tail struct {
	s      *Store
	cursor *cursor
	closed chan struct{}
	next   Position // what Next returns first
	at     uint64   // the record in which that is, or one before it; 0 = not known
	warned bool     // that entries were skipped, since the reader was last at the head
}

// Tail opens the reader called name. Its cursor is durable; a new reader begins
// at the head. Two readers of one name at a time are an error.
func (s *Store) Tail(name string) (*Tail, error) {
	if name == "" {
		return nil, errors.New("a reader with a cursor needs a name")
	}
	head := s.Head()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue.closing {
		return nil, ErrClosed
	}
	c := s.cursors[name]
	if c == nil {
		c = &cursor{name: name, pos: head, durable: head, fresh: true}
		s.cursors[name] = c
		s.moved(c)
	}
	if c.open {
		return nil, fmt.Errorf("reader %q is open already", name)
	}
	c.open = true
	return &Tail{s: s, cursor: c, closed: make(chan struct{}), next: c.pos + 1}, nil
}

// Follow opens a reader without a durable cursor, beginning at the head.
func (s *Store) Follow() *Tail {
	head := s.Head()
	return &Tail{s: s, cursor: &cursor{pos: head, open: true}, closed: make(chan struct{}), next: head + 1}
}

// Head is the position of the last committed entry.
func (s *Store) Head() Position {
	s.tails.RLock()
	defer s.tails.RUnlock()
	return s.tails.head
}

// Next waits until entries after the last ones returned are committed and
// returns up to max of them, in order. Skipped counts entries that were
// dropped before they were read (the log's budget, damage) since the last call.
func (t *Tail) Next(ctx context.Context, max int) (entries []*Entry, skipped uint64, err error) {
	for {
		at := t.next
		entries, news, err := t.look(max)
		var wait <-chan time.Time
		if errors.Is(err, errUnavailable) {
			wait = time.After(retryEvery)
		} else if errors.Is(err, errAgain) {
			continue
		} else if err != nil {
			return nil, skipped, err
		}
		skipped += t.step(at, entries)
		if len(entries) > 0 {
			return entries, skipped, nil
		}
		if news == nil && wait == nil {
			continue
		}
		select {
		case <-news:
		case <-wait:
		case <-ctx.Done():
			return nil, skipped, ctx.Err()
		case <-t.closed:
			return nil, skipped, ErrClosed
		}
	}
}

// step moves on to behind entries and counts what was missing before and between
// them.
func (t *Tail) step(at Position, entries []*Entry) (skipped uint64) {
	if n := len(entries); n > 0 {
		t.next = entries[n-1].Pos + 1
	}
	skipped = uint64(t.next-at) - uint64(len(entries))
	if skipped > 0 {
		t.s.tails.Lock()
		t.s.tails.skipped += skipped
		t.s.tails.Unlock()
	}
	if skipped > 0 && !t.warned {
		t.warned = true
		t.s.log.Warn("a reader was too far behind, or part of the log is damaged: entries were skipped", "reader", t.cursor.name, "entries", skipped)
	}
	return skipped
}

// look returns what is there now, or a channel that is closed when there may be
// more, or neither: look again at once. It moves next over what is not there.
func (t *Tail) look(max int) (entries []*Entry, news chan struct{}, err error) {
	if max <= 0 {
		max = batchEntries
	}
	s := t.s
	s.tails.RLock()
	head, closed := s.tails.head, s.tails.closed
	news = s.tails.news
	entries, ok := s.tails.recent.from(t.next, max)
	s.tails.RUnlock()
	select {
	case <-t.closed:
		closed = true
	default:
	}
	switch {
	case closed:
		return nil, nil, ErrClosed
	case t.next > head:
		t.at, t.warned = 0, false
		return nil, news, nil
	case ok:
		t.at = 0
		return entries, nil, nil
	}
	entries, t.at, err = s.readLog(t.at, t.next, head, max)
	if err == nil && len(entries) == 0 {
		t.next, err = s.skipTo(t.next, head+1) // nothing of it is there
	}
	return entries, nil, err
}

// Advance says that everything up to pos is done with. It is written down with
// a later commit; after a crash entries are seen again.
func (t *Tail) Advance(pos Position) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if pos > t.cursor.pos {
		t.cursor.pos = pos
		t.s.moved(t.cursor)
	}
}

// moved plans to write c down.
func (s *Store) moved(c *cursor) {
	if c.name != "" {
		c.dirty = true
		s.hasten(nil, Rides)
	}
}

// Rewind makes Next begin after the advanced cursor again.
func (t *Tail) Rewind() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.next, t.at = t.cursor.pos+1, 0
}

// Lag is how many committed entries are after the advanced cursor.
func (t *Tail) Lag() uint64 {
	head := t.s.Head()
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return lag(head, t.cursor.pos)
}

func lag(head, pos Position) uint64 {
	if pos > head { // advanced to an entry that came after head was read
		return 0
	}
	return uint64(head - pos)
}

// Close ends the reader; the cursor stays.
func (t *Tail) Close() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.cursor.open {
		t.cursor.open = false
		close(t.closed)
	}
}

// Cursor is a named reader's durable place.
type Cursor struct {
	Name   string     `json:"name"`
	Pos    Position   `json:"position"`
	Lag    uint64     `json:"lag"`              // entries
	Bytes  int64      `json:"bytes"`            // of log behind it, about
	Oldest *time.Time `json:"oldest,omitempty"` // receipt of the first entry that is unread; nil: there is none
	Open   bool       `json:"open"`             // a reader has it now
}

// Cursors are all named cursors; RemoveCursor drops one that nobody has open.
func (s *Store) Cursors() []Cursor {
	head := s.Head()
	s.mu.Lock()
	all := make([]Cursor, 0, len(s.cursors))
	for _, c := range s.cursors {
		all = append(all, Cursor{Name: c.name, Pos: c.pos, Lag: lag(head, c.pos), Open: c.open})
	}
	s.mu.Unlock()
	for i := range all {
		bytes, oldest := s.behind(all[i].Pos, head)
		if all[i].Bytes = bytes; !oldest.IsZero() {
			all[i].Oldest = &oldest
		}
	}
	slices.SortFunc(all, func(a, b Cursor) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// RemoveCursor drops a cursor.
func (s *Store) RemoveCursor(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c := s.cursors[name]; {
	case c == nil:
		return fmt.Errorf("there is no cursor %q", name)
	case c.open:
		return fmt.Errorf("cursor %q is in use", name)
	}
	delete(s.cursors, name)
	s.queue.removed = append(s.queue.removed, name)
	s.hasten(nil, Measured)
	return nil
}

// takeCursors puts the cursors that moved into the batch, unless that was done a
// moment ago. The caller is the committer and holds mu.
func (s *Store) takeCursors(now time.Time, closing bool) {
	c := &s.committer
	for _, name := range s.queue.removed {
		c.batch.cursors = append(c.batch.cursors, cursorWrite{name: name, remove: true})
	}
	s.queue.removed = nil
	write := closing || now.Sub(c.cursors) >= cursorsEvery
	for _, cur := range s.cursors {
		switch {
		case !cur.dirty:
		case write || cur.fresh: // else what is committed with it has no such reader after a crash
			c.cursors = now
			cur.dirty, cur.fresh = false, false
			c.batch.cursors = append(c.batch.cursors, cursorWrite{name: cur.name, pos: min(cur.pos, c.last)})
		default:
			s.hasten(nil, Rides)
		}
	}
}

// cursorsDurable notes what was written. The caller holds mu.
func (s *Store) cursorsDurable(written []cursorWrite) {
	for _, w := range written {
		if c := s.cursors[w.name]; c != nil && !w.remove {
			c.durable = max(c.durable, w.pos)
		}
	}
}

// putCursor writes one cursor.
func putCursor(tx *bolt.Tx, w cursorWrite) error {
	b := tx.Bucket(bucketCursors)
	if w.remove {
		return b.Delete([]byte(w.name))
	}
	return b.Put([]byte(w.name), positionKey(w.pos))
}
