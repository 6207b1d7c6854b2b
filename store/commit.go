package store

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	checkpointEvery = time.Minute          // at most, with a commit that happens anyway
	cursorsEvery    = 5 * time.Second      // likewise
	retryEvery      = time.Second          // after a commit that failed
	longestRest     = 5 * time.Millisecond // between two commits

	// clockStep, in ms, is by how much an entry must have been received before
	// its predecessor to show that the clock was set back in between. Then the
	// times of the two say nothing about their order, but the log does: a value
	// of now must not lose against one that seems to come from the future.
	clockStep = 10_000
)

// committer is what the one goroutine that writes keeps to itself.
type committer struct {
	next       Position // of the next entry
	last       Position // the last one that is durable
	inHand     bool     // the batch is not done
	shown      bool     // readers have it all the same, from memory
	logSize    uint64   // bytes of all blocks
	latest     int64    // ms, the latest Received so far
	pack       packer
	batch      batch
	rest       time.Time // after a commit, see due
	checkpoint time.Time // when the last one was
	cursors    time.Time // likewise
	retainAt   time.Time
	retryAt    time.Time // of the batch in hand, which failed; zero = there is none
	lastErr    error
	gaveUp     bool // the last batch was never written

	// When commits go to the log's files.
	payload     []byte // of the batch in hand
	number      uint64 // of the record that it became
	unsealed    int64  // bytes of records since the last sealing
	sealedSince time.Time
	unforgotten []string // devices that were forgotten since
}

// A batch is what one transaction writes. One that failed is tried again as it
// is, so nothing in it is decided twice.
type batch struct {
	items     []item
	entries   int // of items
	samples   uint64
	cells     []*cell
	cursors   []cursorWrite
	states    []stateWrite
	saveState bool
	forgotten []forgotten
	boots     []bootsWrite
}

type cursorWrite struct {
	name   string
	pos    Position
	remove bool
}

// A stateWrite is a device of a checkpoint; nil = it was forgotten.
type stateWrite struct {
	device string
	value  []byte
}

// run is the committer's goroutine. It sleeps until something is due.
func (s *Store) run() {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.wake:
		case <-timer.C:
		}
		wait, end := s.turn()
		if end {
			return
		}
		timer.Reset(wait)
	}
}

// turn does what is due and says when to look again.
func (s *Store) turn() (wait time.Duration, end bool) {
	s.hand.Lock()
	defer s.hand.Unlock()
	c := &s.committer
	if c.gaveUp {
		return 0, true
	}
	s.tellSettled()
	now := time.Now()
	due, closing := s.due()
	if !c.retryAt.IsZero() {
		if now.Before(c.retryAt) && !closing {
			return c.retryAt.Sub(now), false
		}
		if !s.retry() {
			if closing {
				s.giveUp()
			}
			return retryEvery, closing
		}
	}
	if !closing && s.logFull() {
		if !due.IsZero() && !due.After(now) {
			s.awaits(now)
		}
		return s.waitForSealer(now), false
	}
	if s.Era().InMemory() { // the log was full
		s.leaveMemory()
		return 0, false
	}
	if closing || !due.IsZero() && !due.After(now) {
		s.take(now, closing)
		if ok := s.write(); closing {
			if !ok {
				s.giveUp()
			}
			return 0, true
		}
	} else if s.segments == nil && !c.retainAt.After(now) {
		s.awaits(now)
		_ = s.outside(func() error { c.retainAt = now.Add(s.dropOld(now)); return nil })
		s.awaitsNot()
	}
	s.sealIfDue(now)
	return s.nextTurn(), false
}

// nextTurn is the time until something is due again.
func (s *Store) nextTurn() time.Duration {
	due, closing := s.due()
	c := &s.committer
	next := c.retainAt
	if s.segments != nil {
		next = time.Now().Add(s.sealFor())
	}
	if !due.IsZero() && due.Before(next) {
		next = due
	}
	if !c.retryAt.IsZero() {
		next = c.retryAt
	}
	if closing {
		return 0
	}
	return max(0, time.Until(next))
}

// due is when the next commit starts, zero if nothing needs one, and whether the
// store is closing. A commit that follows another at once waits half as long as
// that one took: what devices send upon their acks then shares one sync instead
// of needing several. A batch that is full waits for nothing.
func (s *Store) due() (due time.Time, closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	due = q.due
	if rest := s.committer.rest; !due.IsZero() && due.Before(rest) && len(q.items) < batchEntries && q.bytes < batchBytes {
		due = rest
	}
	return due, q.closing
}

// take makes a batch of what waits.
func (s *Store) take(now time.Time, closing bool) {
	c, b := &s.committer, &s.committer.batch
	clear(b.items) // let go of what was written
	clear(b.cells)
	b.cells, b.cursors, b.states = b.cells[:0], b.cursors[:0], b.states[:0]
	b.forgotten, b.boots = b.forgotten[:0], b.boots[:0]

	s.mu.Lock()
	q := &s.queue
	b.items, q.items = q.items, b.items[:0]
	q.writing, q.writingBytes = len(b.items), 0
	for i := range b.items {
		q.writingBytes += b.items[i].size
	}
	q.bytes -= q.writingBytes
	named := q.named
	q.named, q.due, q.haste = nil, time.Time{}, none
	s.takeCursors(now, closing)
	s.saveWear(now, closing)
	s.mu.Unlock()

	s.stage()
	c.inHand, c.shown = true, false
	if s.segments != nil {
		s.takeBoots(named)
		return
	}
	b.saveState = closing || len(b.forgotten) > 0 || now.Sub(c.checkpoint) >= checkpointEvery
	if b.saveState {
		for _, f := range b.forgotten {
			b.states = append(b.states, stateWrite{device: f.device})
		}
		b.states = s.takeStates(b.states)
		c.checkpoint = now
	}
}

// waitForSealer is a turn in which nothing can be committed, since the log's
// files are used up; the sealer says when it has made room.
func (s *Store) waitForSealer(now time.Time) time.Duration {
	s.committer.unsealed = max(s.committer.unsealed, s.sealBytes)
	s.sealIfDue(now)
	s.mu.Lock()
	failing := s.health.SealErr
	s.mu.Unlock()
	if failing != "" {
		s.unhealthy("the log's files are used up: " + failing)
	}
	return retryEvery
}

// stage gives the entries their positions, decides which records are late, and
// packs the blocks.
func (s *Store) stage() {
	c, b := &s.committer, &s.committer.batch
	b.entries, b.samples = 0, 0
	c.pack.reset(c.logSize, c.latest)
	for i := range b.items {
		it := &b.items[i]
		if it.forget != nil {
			c.pack.seal()
			b.forgotten = append(b.forgotten, forgotten{it.forget.id, len(c.pack.blocks)})
		}
		if it.e == nil {
			continue
		}
		it.e.Pos = c.next + Position(b.entries)
		b.entries++
		b.samples += uint64(len(it.e.Records))
		if it.boot != nil {
			it.boot.staged = it.e.Seq
		}
		if it.dev != nil {
			b.cells = s.stageEntry(it.dev, it.e, b.cells)
		}
		c.pack.add(it.e)
	}
	c.pack.seal()
}

// stageEntry brings d up to date with e. The cells that changed are appended.
func (s *Store) stageEntry(d *device, e *Entry, changed []*cell) []*cell {
	d.changed = true
	if e.Kind == Presence {
		p := e.Presence
		d.staged = &p
	}
	if e.Uncertain || e.Kind == Imported {
		return changed
	}
	for i := range e.Records {
		r := &e.Records[i]
		if r.Unfit || r.Late {
			continue
		}
		c := s.cell(d, r.Name)
		if c.known && r.Time < c.staged.Time && e.Received >= c.staged.Received-clockStep {
			r.Late = true
			continue
		}
		c.known = true
		c.staged = Newest{Name: r.Name, Value: r.Value, Time: r.Time, Received: e.Received}
		if e.Again && c.ahead {
			continue // what is shown is newer
		}
		changed = append(changed, c)
	}
	return changed
}

// write puts the batch in hand on disk and tells everyone. On failure the batch
// stays in hand and nobody is told.
func (s *Store) write() bool {
	c, b := &s.committer, &s.committer.batch
	if len(b.items) > 0 || len(b.cursors) > 0 || len(b.states) > 0 || len(b.boots) > 0 {
		began := time.Now()
		s.awaits(began)
		err := s.commitBatch()
		if c.gaveUp {
			return false
		}
		if err != nil {
			s.failed(err)
			return false
		}
		now := time.Now()
		c.rest = now.Add(min(now.Sub(began)/2, longestRest))
	}
	c.next += Position(b.entries)
	if b.entries > 0 {
		c.last = c.next - 1
	}
	c.inHand = false
	c.logSize, c.latest = c.pack.head.offset, c.pack.head.latest
	c.unsealed += int64(len(c.payload))
	c.payload = c.payload[:0]
	c.retryAt = time.Time{}
	s.awaitsNot()
	s.publish()
	if s.Era().InMemory() {
		s.leaveMemory()
	}
	return true
}

// commitBatch writes the batch: one record of the log's files, or a transaction
// of the database. When the budget for that is spent the oldest entries make
// room.
func (s *Store) commitBatch() error {
	if s.segments != nil {
		c := &s.committer
		c.payload = c.appendBatch(c.payload[:0])
		return s.outside(func() (err error) {
			c.number, err = s.segments.Append(c.payload)
			return err
		})
	}
	return s.outside(s.commitToBolt)
}

func (s *Store) commitToBolt() error {
	for {
		err := s.file.update(s.put)
		if err == nil || !overBudget(err) {
			return err
		}
		if err := s.makeRoom(); err != nil {
			return err
		}
	}
}

// put is the batch's transaction.
func (s *Store) put(tx *bolt.Tx) error {
	c, b := &s.committer, &s.committer.batch
	log := tx.Bucket(bucketLog)
	log.FillPercent = 1 // keys only grow
	for _, bl := range c.pack.blocks {
		if err := log.Put(blockKey(bl.first), c.pack.buf[bl.from:bl.to]); err != nil {
			return err
		}
	}
	for i := range b.items {
		if it := &b.items[i]; it.table != nil {
			if err := putTable(tx, it.table.name, it.key, it.value); err != nil {
				return err
			}
		}
	}
	for _, w := range b.cursors {
		if err := putCursor(tx, w); err != nil {
			return err
		}
	}
	if !b.saveState {
		return nil
	}
	head := c.last
	if b.entries > 0 {
		head = c.next + Position(b.entries) - 1
	}
	return putStates(tx, b.states, head)
}

// publish makes the batch visible and tells those who wait.
func (s *Store) publish() {
	c, b := &s.committer, &s.committer.batch
	if !c.shown {
		s.showNewest()
	}

	s.mu.Lock()
	for i := range b.items {
		if it := &b.items[i]; it.boot != nil {
			it.boot.durable = max(it.boot.durable, it.e.Seq)
		}
	}
	q := &s.queue
	q.writing, q.writingBytes = 0, 0
	settled := q.takeSettled()
	if !s.health.Healthy {
		s.log.Warn("the store writes again", "failing for", time.Since(s.health.Since).Round(time.Second))
	}
	s.health.Healthy = true
	s.health.Entries += uint64(b.entries)
	s.health.Samples += b.samples
	if len(b.items)+len(b.cursors)+len(b.states)+len(b.boots) > 0 {
		s.health.Commits++
	}
	s.mu.Unlock()

	s.tails.Lock()
	s.tails.durable, s.tails.logSize = c.last, c.logSize
	if b.entries > 0 && s.segments != nil {
		s.tails.unsealed = append(s.tails.unsealed, c.logged())
	}
	if !c.shown {
		s.showEntries(b.items, c.last)
	}
	s.tails.Unlock()

	for i := range b.items {
		b.items[i].done(nil)
	}
	for _, r := range settled {
		r.w.Committed(r.e, nil)
	}
	s.roundOver()
}

// takeSettled removes the repeats whose seq is durable by now.
func (q *queue) takeSettled() (settled []repeat) {
	kept := q.repeats[:0]
	for _, r := range q.repeats {
		if r.e.Seq <= r.boot.durable {
			settled = append(settled, r)
			q.bytes -= repeatSize
		} else {
			kept = append(kept, r)
		}
	}
	clear(q.repeats[len(kept):])
	q.repeats = kept
	return settled
}

// tellSettled answers repeats of what was durable when they came.
func (s *Store) tellSettled() {
	s.mu.Lock()
	settled := s.queue.settled
	s.queue.settled = nil
	s.mu.Unlock()
	for _, r := range settled {
		r.w.Committed(r.e, nil)
	}
	if len(settled) > 0 {
		s.roundOver()
	}
}

// AfterCommitted sets the one function that is called after each round of calls
// to Waiters, from the same goroutine: what they began can be finished there
// once for the whole commit, such as one ack for many frames. It must not block.
func (s *Store) AfterCommitted(f func()) { s.told.Store(&f) }

func (s *Store) roundOver() {
	if f := s.told.Load(); f != nil {
		(*f)()
	}
}

// failed makes the health red and plans the next try.
func (s *Store) failed(err error) {
	c := &s.committer
	c.lastErr = err
	c.retryAt = time.Now().Add(retryEvery)
	s.unhealthy(err.Error())
}

// unhealthy says why nothing can be committed.
func (s *Store) unhealthy(why string) {
	s.mu.Lock()
	first := s.health.Healthy
	if first {
		s.health.Since = time.Now()
	}
	s.health.Healthy, s.health.Err = false, why
	s.mu.Unlock()
	if first {
		s.log.Error("the store cannot write; nothing is acknowledged until it can", "error", why)
	}
}

// retry tries the batch that failed once more. The log goes on in another
// segment. After an error of the database other than one of space it is opened
// anew first: what the library has in memory, and what the kernel made of pages
// that it could not write, is not to be trusted.
func (s *Store) retry() bool {
	if s.segments == nil && !noSpace(s.committer.lastErr) {
		err := s.outside(func() error {
			if err := s.file.close(); err != nil {
				s.log.Warn("close the file after an error", "error", err)
			}
			return s.file.open()
		})
		if s.committer.gaveUp {
			return false
		}
		if err != nil {
			s.failed(err)
			return false
		}
	}
	return s.write()
}

// giveUp tells all who wait that the store was closed before it could write.
func (s *Store) giveUp() {
	s.committer.gaveUp = true
	s.mu.Lock()
	q := &s.queue
	items, repeats := append(s.memory.kept, q.items...), q.repeats
	q.items, q.repeats, q.bytes, q.writing, q.writingBytes = nil, nil, 0, 0, 0
	s.memory.kept, s.memory.bytes = nil, 0
	s.mu.Unlock()
	for i := range s.committer.batch.items {
		s.committer.batch.items[i].done(ErrClosed)
	}
	s.committer.batch.items = nil
	for i := range items {
		items[i].done(ErrClosed)
	}
	for _, r := range repeats {
		r.w.Committed(r.e, ErrClosed)
	}
}
