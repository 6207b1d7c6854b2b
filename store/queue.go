package store

import "time"

// When a commit starts by itself, and what may wait for one.
const (
	batchEntries  = 256      // pending entries that start a commit
	batchBytes    = 64 << 10 // pending bytes that do
	pendingBudget = 32 << 20 // bytes that may wait; beyond it Append refuses
	ridesWait     = time.Minute
	gatherTime    = 50 * time.Millisecond // of urgent entries above the ration
)

// An item is one thing that the next commit writes, in order of asking.
type item struct {
	e    *Entry // of an entry
	dev  *device
	boot *boot // when e has a seq that is settled by it
	w    Waiter

	table *table // of a change to a table
	key   string
	value []byte // nil = delete
	tell  func(error)

	forget *device // dropped at this point of the order

	size int64
}

// done tells whoever waits for the item.
func (it *item) done(err error) {
	switch {
	case it.w != nil:
		it.w.Committed(it.e, err)
	case it.tell != nil:
		it.tell(err)
	}
}

// A repeat stores nothing; it waits for the commit of what it repeats.
type repeat struct {
	e    *Entry
	boot *boot
	w    Waiter
}

// repeatSize is what a waiting repeat counts in the budget.
const repeatSize = 128

// queue is what waits for the committer. Guarded by Store.mu.
type queue struct {
	items        []item
	bytes        int64 // of items and repeats
	writing      int   // items that the committer has in hand
	writingBytes int64
	due          time.Time // when a commit has to start; zero = nothing needs one
	haste        haste     // why
	repeats      []repeat  // of seqs that are pending
	settled      []repeat  // of seqs that are durable: told without a commit
	named        []*device // in a hello since the last commit
	removed      []string  // cursors
	closing      bool
	ration       ration
}

// What of the pending asks for how quick a commit.
type haste uint8

const (
	none   haste = iota
	riding       // within ridesWait
	timed        // within Options.Commit
	gather       // within gatherTime
	atOnce
)

// hasten makes a commit start as soon as u of d (may be nil) asks for.
func (s *Store) hasten(d *device, u Urgency) {
	q := &s.queue
	h := atOnce
	switch {
	case len(q.items) >= batchEntries || q.bytes >= batchBytes || u == Now:
	case u == Rides:
		h = riding
	case s.commit == 0:
	case u == Measured:
		h = timed
	case q.ration.gathers(d, time.Now()):
		h = gather
	}
	if len(q.items) == batchEntries {
		s.signal() // a full batch does not rest
	}
	if h > q.haste { // else a commit is on its way that starts soon enough
		q.haste = h
		s.startWithin(h)
	}
}

// startWithin lets the committer begin a commit in the time that h allows.
func (s *Store) startWithin(h haste) {
	due := time.Now()
	switch h {
	case riding:
		due = due.Add(ridesWait)
	case timed:
		due = due.Add(s.commit)
	case gather:
		due = due.Add(min(gatherTime, s.commit))
	}
	if s.queue.due.IsZero() || due.Before(s.queue.due) {
		s.queue.due = due
		s.signal()
	}
}

// signal makes the committer look at the queue, or who commits instead of it.
func (s *Store) signal() {
	if s.Era().InMemory() {
		s.stirMemory()
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
