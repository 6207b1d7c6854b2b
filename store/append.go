package store

import (
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

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

// A device is what the store knows of one device besides its log.
type device struct {
	id string

	// Guarded by Store.mu.
	boots    []*boot // the most recently named first
	presence *PresenceChange
	asks     pace
	named    bool // in a hello since its boots were last taken

	// Owned by the committer. The map of cells is changed under Store.values.
	cells   map[string]*cell
	staged  *PresenceChange // presence as of the batch in hand
	changed bool            // by an entry since the last checkpoint
}

// bootsRemembered is how many boots of a device are (PROTOCOL.md, Boot and seq).
const bootsRemembered = 8

// A boot is one counter of a device.
type boot struct {
	id      protocol.Boot
	last    uint64 // settled or waiting; guarded by Store.mu
	durable uint64 // guarded by Store.mu
	staged  uint64 // durable once the batch in hand is; owned by the committer
	seen    uint64 // readers have up to here, though perhaps from memory; guarded by Store.mu
}

// A cell is the newest value of one name. The committer owns staged; newest is
// what others may see, guarded by Store.values and written by the committer.
type cell struct {
	newest Newest
	shown  bool
	ahead  bool // newest was shown from memory and is not of the log
	staged Newest
	known  bool
}

// device is the one called id, made if it is new. The caller holds mu.
func (s *Store) device(id string) *device {
	d := s.devices[id]
	if d == nil {
		d = &device{id: id, cells: map[string]*cell{}}
		s.devices[id] = d
	}
	return d
}

// boot is the one of d with this id, nil if it is not remembered.
func (d *device) boot(id protocol.Boot) *boot {
	for _, b := range d.boots {
		if b.id == id {
			return b
		}
	}
	return nil
}

// name makes id the most recently named boot of d and forgets the ninth.
func (d *device) name(id protocol.Boot) *boot {
	at := len(d.boots)
	for i, b := range d.boots {
		if b.id == id {
			at = i
		}
	}
	var b *boot
	if at < len(d.boots) {
		b = d.boots[at]
	} else {
		b = &boot{id: id}
		if len(d.boots) < bootsRemembered {
			d.boots = append(d.boots, nil)
		}
		at = len(d.boots) - 1
	}
	copy(d.boots[1:at+1], d.boots[:at])
	d.boots[0] = b
	return b
}

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

// weight is about what e takes in memory and on disk.
func weight(e *Entry) int64 {
	n := 24 + len(e.Device) + len(e.Presence.Cause)
	for i := range e.Records {
		r := &e.Records[i]
		n += 12 + len(r.Name) + len(r.Unit) + len(r.Value.AsText())
	}
	return int64(n)
}

// Hello names the boots of a device's hello (1 first, then 7) and returns the
// last settled (durable) seq of each, 0 for one that is not remembered. Eight
// boots of a device are remembered; the one least recently named is forgotten.
func (s *Store) Hello(device string, boots []protocol.Boot) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.device(device)
	settled := make([]uint64, len(boots))
	for i, id := range boots {
		if b := d.boot(id); b != nil {
			settled[i] = b.durable
		}
	}
	for i := min(len(boots), bootsRemembered) - 1; i >= 0; i-- {
		d.name(boots[i])
	}
	if !d.named {
		d.named = true
		s.queue.named = append(s.queue.named, d)
	}
	return settled
}

// PresenceOf is the last Presence entry of a device that was appended.
func (s *Store) PresenceOf(device string) (PresenceChange, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[device]; d != nil && d.presence != nil {
		return *d.presence, true
	}
	return PresenceChange{}, false
}

// Forget drops what the store knows of a removed device (boots, newest,
// presence). Its history stays until retention takes it.
func (s *Store) Forget(device string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[device]
	if d == nil {
		return
	}
	delete(s.devices, device)
	s.queue.items = append(s.queue.items, item{forget: d})
	s.hasten(nil, Measured)
}
