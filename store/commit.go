package store

import "time"

const (
	checkpointEvery = time.Minute          // at most, with a commit that happens anyway
	cursorsEvery    = 5 * time.Second      // likewise
	retryEvery      = time.Second          // after a commit that failed
	longestRest     = 5 * time.Millisecond // between two commits
)

// committer is what the one goroutine that writes keeps to itself.
type committer struct {
	next    Position // of the next entry
	last    Position // the last one that is durable
	inHand  bool     // the batch is not done
	shown   bool     // readers have it all the same, from memory
	words   *words
	entries entryWriter // of the batch in hand
	batch   batch
	rest    time.Time // after a commit, see due
	cursors time.Time // when they were last written
	retryAt time.Time // of the batch in hand, which failed; zero = there is none
	lastErr error
	gaveUp  bool // the last batch was never written

	payload     []byte // of the batch in hand
	number      uint64 // of the record that it became, 0 if it had nothing to say
	unsealed    int64  // bytes of records since the last sealing
	sealedSince time.Time
	unforgotten []string // devices that were forgotten since
}

// A batch is what one commit writes. One that failed is tried again as it
// is, so nothing in it is decided twice.
type batch struct {
	items     []item
	entries   int // of items
	samples   uint64
	received  int64   // ms, of the first entry
	stretch   stretch // what the log says by it
	cells     []*cell
	cursors   []cursorWrite
	forgotten []forgotten
	boots     []bootsWrite
}

type cursorWrite struct {
	name   string
	pos    Position
	remove bool
}

// empty is a batch that need not be written.
func (b *batch) empty() bool { return len(b.items)+len(b.cursors)+len(b.boots) == 0 }

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
		if s.sealMoved.Swap(false) { // slow, not gone
			s.awaitsNot()
		}
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
	}
	s.sealIfDue(now)
	return s.nextTurn(), false
}

// nextTurn is the time until something is due again.
func (s *Store) nextTurn() time.Duration {
	due, closing := s.due()
	c := &s.committer
	next := time.Now().Add(s.sealFor())
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
	b.cells, b.cursors, b.forgotten, b.boots = b.cells[:0], b.cursors[:0], b.forgotten[:0], b.boots[:0]

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
	s.takeBoots(named)
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
// encodes them.
func (s *Store) stage() {
	c, b := &s.committer, &s.committer.batch
	b.entries, b.samples = 0, 0
	b.stretch = newStretch()
	c.words.begin()
	c.entries = entryWriter{words: c.words, b: c.entries.b[:0]}
	for i := range b.items {
		it := &b.items[i]
		if it.forget != nil {
			b.forgotten = append(b.forgotten, forgotten{it.forget.id, len(c.entries.b)})
		}
		if it.e == nil {
			continue
		}
		if b.entries == 0 {
			b.received = it.e.Received
			c.entries.prev = b.received
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
		c.entries.add(it.e)
		b.stretch.see(it.e)
	}
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
		if c.known && c.staged.supersedes(r.Time, e.Received) {
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
	c.number = 0
	if !b.empty() {
		began := time.Now()
		s.awaits(began)
		err := s.commitBatch()
		if c.gaveUp {
			return false
		}
		if err != nil {
			s.failed(err)
			s.condemnLog(err)
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
	c.unsealed += int64(len(c.payload))
	c.retryAt = time.Time{}
	s.awaitsNot()
	s.publish()
	c.payload = c.payload[:0]
	if s.Era().InMemory() {
		s.leaveMemory()
	}
	return true
}

// commitBatch writes the batch as one record of the log.
func (s *Store) commitBatch() error {
	c := &s.committer
	c.payload = c.appendBatch(c.payload[:0])
	err := s.outside(func() (err error) {
		c.number, err = s.journal.Append(c.payload)
		return err
	})
	if err == nil {
		c.words.durable(c.number)
	}
	return err
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
	s.cursorsDurable(b.cursors)
	q := &s.queue
	q.writing, q.writingBytes = 0, 0
	settled := q.takeSettled()
	if !s.health.Healthy {
		s.log.Warn("the store writes again", "failing for", time.Since(s.health.Since).Round(time.Second))
	}
	s.health.Healthy = true
	s.health.Entries += uint64(b.entries)
	s.health.Samples += b.samples
	if !b.empty() {
		s.health.Commits++
	}
	s.mu.Unlock()

	s.tails.Lock()
	s.tails.durable = c.last
	if b.entries > 0 {
		st := b.stretch
		st.first, st.last, st.end, st.bytes = c.number, c.number, c.next, len(c.payload)
		s.tails.unsealed.add(st)
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

// condemnLog is called with why a commit failed: it may have met a bad place in the
// database that the log is in. Another try would meet it again.
func (s *Store) condemnLog(err error) {
	if s.place == InBolt && corrupt(err) {
		_ = s.outside(func() error { s.condemn(err); return nil })
	}
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
// segment; a database is opened anew before.
func (s *Store) retry() bool {
	if s.place == InBolt {
		err := s.outside(func() error { return s.reopen(s.committer.lastErr) })
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
