package store

import (
	"slices"
	"sync/atomic"
	"time"
)

// When the disk takes nothing for ten seconds the store goes on in memory only:
// readers and newest values get what is said, so that the house works, and
// everyone who waits is told ErrInMemory, never that something is durable.
// Meanwhile the committer tries the disk again and again with the batch that it
// has in hand. Once that works the store is as if the time in memory had not
// been: seqs count as far as they are durable, so that devices can send again
// what they kept. Positions go on behind those that were used in memory.
//
// A disk need not fail: it may just never answer. The committer hangs then, so
// it is another goroutine that keeps the watch and commits to memory. What the
// committer owns belongs to whoever has the hand; the committer lets go of it
// while it waits for the disk.

const (
	memoryAfter = 10 * time.Second // without a commit that is due
	closeWait   = 15 * time.Second // for a disk that does not answer; after the store was closed
	keptBytes   = 8 << 20          // of entries that nobody sends again; beyond it the oldest go
	firstEra    = Era(2)
)

// Era tells apart the times in which a commit means the disk from those in which
// it means memory only. A session of a device belongs to one: what it was told at
// its beginning, settled seqs and what an ack means, holds no longer in the next.
type Era uint64

// InMemory reports whether commits of that time are in memory only.
func (e Era) InMemory() bool { return e%2 == 1 }

// memory is what the store needs for that.
type memory struct {
	era atomic.Uint64 // changes with mu held

	wake chan struct{} // capacity 1: look again
	stop chan struct{}
	done chan struct{} // closed when the goroutine has ended

	// Owned by whoever has the hand.
	next  Position // of the next entry in memory
	alarm *time.Timer

	// Guarded by mu.
	waiting time.Time // since when a commit is due and not done; zero = none is
	kept    []item    // for the disk: what nobody sends again
	bytes   int64     // of them
	rows    map[rowKey]int
	watch   []func(Era)
}

type rowKey struct{ table, key string }

func (m *memory) init() {
	m.wake, m.stop, m.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	m.rows = map[rowKey]int{}
	m.era.Store(uint64(firstEra))
}

// Era is the one of now. Ask before Hello: what a session was told is of that
// era or of a newer one.
func (s *Store) Era() Era { return Era(s.memory.era.Load()) }

// OnEra has f called after each change of the era. Calls come one at a time,
// with none of the locks held that methods take, and f must not block.
func (s *Store) OnEra(f func(Era)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.watch = append(s.memory.watch, f)
}

// outside runs f, which waits for the disk, without the hand. The caller is the
// committer.
func (s *Store) outside(f func() error) error {
	s.hand.Unlock()
	defer s.hand.Lock()
	return f()
}

// awaits notes that a commit is due: the watch begins.
func (s *Store) awaits(now time.Time) {
	s.mu.Lock()
	first := s.memory.waiting.IsZero()
	if first {
		s.memory.waiting = now
	}
	s.mu.Unlock()
	if first {
		s.memory.alarm.Reset(memoryAfter)
	}
}

// awaitsNot: nothing waits for the disk any more.
func (s *Store) awaitsNot() {
	s.mu.Lock()
	s.memory.waiting = time.Time{}
	s.mu.Unlock()
	s.memory.alarm.Stop()
}

// stirMemory makes the goroutine of the watch look.
func (s *Store) stirMemory() {
	select {
	case s.memory.wake <- struct{}{}:
	default:
	}
}

// runMemory is the goroutine that keeps the watch, and that commits to memory.
func (s *Store) runMemory() {
	defer close(s.memory.done)
	timer := time.NewTimer(tooFar)
	defer timer.Stop()
	for {
		select {
		case <-s.memory.wake:
		case <-timer.C:
		case <-s.memory.stop:
			return
		}
		timer.Reset(s.memoryTurn())
	}
}

// memoryTurn does what is due and says when to look again.
func (s *Store) memoryTurn() time.Duration {
	s.hand.Lock()
	defer s.hand.Unlock()
	now := time.Now()
	if !s.Era().InMemory() {
		s.mu.Lock()
		since := s.memory.waiting
		s.mu.Unlock()
		if since.IsZero() || now.Sub(since) < memoryAfter || s.committer.gaveUp {
			return tooFar // the alarm wakes us
		}
		s.enterMemory(since)
		return 0
	}
	s.tellSettled()
	due, _ := s.due()
	switch {
	case due.IsZero():
		return tooFar
	case due.After(now):
		return due.Sub(now)
	}
	s.mu.Lock()
	items, repeats := s.takeForMemory()
	s.mu.Unlock()
	s.commitToMemory(items, repeats)
	return 0
}

// enterMemory begins the time in memory: what waits for the disk is shown, and
// old sessions are over.
func (s *Store) enterMemory(since time.Time) {
	c, m := &s.committer, &s.memory
	if s.Health().Healthy { // nothing failed: nothing came back at all
		s.unhealthy("the disk has not answered since " + since.Format(time.DateTime))
	}
	m.next = c.next
	if c.inHand {
		m.next += Position(c.batch.entries)
		s.showNewest()
		s.tails.Lock()
		s.showEntries(c.batch.items, m.next-1)
		s.tails.Unlock()
		c.shown = true
	}
	s.mu.Lock()
	era := Era(m.era.Add(1))
	s.health.InMemory, s.health.InMemorySince = true, time.Now()
	why := s.health.Err
	items, repeats := s.takeForMemory()
	s.mu.Unlock()
	s.log.Error("THE DISK TAKES NOTHING: working in memory only, nothing is stored until it works", "error", why,
		"for", time.Since(since).Round(time.Second))
	s.commitToMemory(items, repeats)
	s.tellEra(era)
}

// leaveMemory ends it, since the disk works again. The caller is the committer,
// with no batch in hand.
func (s *Store) leaveMemory() {
	c, m := &s.committer, &s.memory
	s.mu.Lock()
	items, repeats := s.takeForMemory()
	era := Era(m.era.Add(1))
	for _, d := range s.devices {
		for _, b := range d.boots {
			b.seen, b.last = max(b.seen, b.last), b.durable
		}
	}
	since := s.health.InMemorySince
	s.health.InMemory, s.health.InMemorySince = false, time.Time{}
	s.mu.Unlock()
	s.commitToMemory(items, repeats)

	c.next = m.next
	s.awaitsNot()
	s.mu.Lock()
	s.queue.items = append(m.kept, s.queue.items...)
	s.queue.bytes += m.bytes
	m.kept, m.bytes = nil, 0
	clear(m.rows)
	s.hasten(nil, Now)
	s.mu.Unlock()
	s.log.Warn("the disk works again: devices send once more what they kept", "in memory for", time.Since(since).Round(time.Second))
	s.tellEra(era)
}

func (s *Store) tellEra(e Era) {
	s.mu.Lock()
	watch := s.memory.watch
	s.mu.Unlock()
	for _, f := range watch {
		f(e)
	}
}

// takeForMemory takes what waits for a commit. The caller holds mu.
func (s *Store) takeForMemory() ([]item, []repeat) {
	q := &s.queue
	items, repeats := q.items, q.repeats
	q.items, q.repeats, q.bytes = nil, nil, 0
	q.due, q.haste = time.Time{}, none
	return items, repeats
}

// commitToMemory shows items to readers and tells those who wait. What nobody
// sends again is kept for the disk.
func (s *Store) commitToMemory(items []item, repeats []repeat) {
	m := &s.memory
	for i := range items {
		it := &items[i]
		if it.e == nil {
			continue
		}
		it.e.Pos = m.next
		m.next++
		if it.dev != nil && !it.e.Uncertain && it.e.Kind != Imported {
			s.showInMemory(it.dev, it.e)
		}
	}
	s.tails.Lock()
	s.showEntries(items, m.next-1)
	s.tails.Unlock()

	s.mu.Lock()
	for i := range items {
		s.keep(&items[i])
	}
	durable := make([]bool, len(repeats))
	for i, r := range repeats {
		durable[i] = r.e.Seq <= r.boot.durable
	}
	s.mu.Unlock()
	for i := range items {
		if it := &items[i]; it.w != nil {
			it.w.Committed(it.e, ErrInMemory)
		}
	}
	for i, r := range repeats {
		if durable[i] {
			r.w.Committed(r.e, nil)
		} else {
			r.w.Committed(r.e, ErrInMemory)
		}
	}
	s.roundOver()
}

// keep puts what nobody sends again aside for the disk: everything but frames
// with a seq and imports. Of a row the newest change counts. The caller holds mu.
func (s *Store) keep(it *item) {
	m := &s.memory
	switch {
	case it.e != nil && (it.boot != nil || it.e.Kind == Imported):
		s.health.InMemoryOnly++
		return
	case it.table != nil && it.tell == nil:
		k := rowKey{it.table.name, it.key}
		if at, again := m.rows[k]; again {
			m.bytes += it.size - m.kept[at].size
			m.kept[at] = *it
			return
		}
		m.rows[k] = len(m.kept)
	case it.table != nil: // somebody waits for this one: the next is another
		delete(m.rows, rowKey{it.table.name, it.key})
	}
	again := *it
	again.w = nil
	if it.e != nil {
		e := *it.e
		e.Again, e.Pos = true, 0
		e.Records = slices.Clone(e.Records)
		for i := range e.Records {
			e.Records[i].Late = false // decided anew
		}
		again.e = &e
	}
	m.kept = append(m.kept, again)
	m.bytes += again.size
	s.keepLess()
}

// keepLess drops the oldest entries beyond the budget. The caller holds mu.
func (s *Store) keepLess() {
	m := &s.memory
	if m.bytes <= keptBytes {
		return
	}
	var kept []item
	for _, it := range m.kept {
		if it.e != nil && m.bytes > keptBytes/2 {
			m.bytes -= it.size
			s.health.InMemoryOnly++
			continue
		}
		kept = append(kept, it)
	}
	m.kept = kept
	clear(m.rows)
	for i, it := range m.kept {
		switch {
		case it.table == nil:
		case it.tell == nil:
			m.rows[rowKey{it.table.name, it.key}] = i
		default: // behind an earlier change of the same row
			delete(m.rows, rowKey{it.table.name, it.key})
		}
	}
}

// within waits for done, but not longer than patience.
func within(patience time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// awaitCommitter waits until the committer has ended. False: the disk does not
// answer it; everyone was told that the store is closed.
func (s *Store) awaitCommitter() bool {
	if within(closeWait, s.done) {
		return true
	}
	s.hand.Lock()
	defer s.hand.Unlock()
	select {
	case <-s.done:
		return true
	default:
	}
	s.giveUp()
	return false
}
