// Package store is the durable log of what devices said, and what follows from
// it: newest values, settled counters, history, cursors of readers, and small
// tables of what other packages keep.
//
// A frame is appended, synced together with others, and only then
// acknowledged. Everything that goes out is a reader with a named cursor.
// Callers see nothing of how it is written; FORMAT.md tells that.
//
// Where to look: append.go is the way in, queue.go what waits for the disk and for
// how long, commit.go the one goroutine that commits, record.go and entry.go the
// bytes, journal.go the two places that the log may have, show.go and tail.go what
// readers see, seal.go the way from the log into the history, history.go and
// export.go the look back, memory.go the time without a disk, open.go and replay.go
// the start, and file.go the database.
package store

import (
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/segment"
)

// Position is a place in the log. It is opaque, 0 is before the first entry,
// and it grows; entries of one device are in the order of their positions.
type Position uint64

// Kind says what an entry is.
type Kind uint8

// Kinds of entries.
const (
	Telemetry Kind = 1 // records of a telemetry frame
	Result    Kind = 2 // records of a result; Command is set
	Refused   Kind = 3 // a seq that was settled by an error; no records
	Presence  Kind = 4 // Presence is set
	ClockStep Kind = 5 // the gateway's clock stepped; Step is set
	Imported  Kind = 6 // records that another store had: history alone, see below
)

// An Imported entry has the boot, seq or command and the receipt that it had where
// it comes from. It changes no newest value and settles no seq, and who publishes
// what devices say leaves it out.

// Entry is one entry of the log. It is never changed once it is appended, so
// it may be shared between goroutines.
type Entry struct {
	Pos       Position // set by the store
	Kind      Kind
	Device    string
	Boot      protocol.Boot
	Seq       uint64
	Received  int64 // ms since 1970
	Records   []protocol.Record
	Command   uint64 // of a Result
	Uncertain bool   // the times are not known: stream only
	Presence  PresenceChange
	Step      int64 // ms, of a ClockStep

	// Era of the session that it came in; Append refuses one of another era than
	// now's. 0 = it is of none. It is not stored.
	Era Era
	// Again: readers saw it before, from memory, before it was on disk. What it
	// says is not new. It is not stored.
	Again bool
}

// PresenceState is online, sleeping, lost, unknown or disabled.
type PresenceState string

// The states of a device's presence.
const (
	Online   PresenceState = "online"
	Sleeping PresenceState = "sleeping"
	Lost     PresenceState = "lost"
	Unknown  PresenceState = "unknown"
	Disabled PresenceState = "disabled"
)

// PresenceChange is what a Presence entry says. Times are ms since 1970.
type PresenceChange struct {
	State    PresenceState
	Since    int64
	Cause    string
	NextWake int64 // 0 = not planned
}

// Urgency is how soon an entry wants to be on disk.
type Urgency uint8

// Urgencies, the least first.
const (
	Rides    Urgency = iota // goes with the next commit, alone at most once a minute
	Measured                // within Options.Commit
	Urgent                  // at once: a person may be waiting; rationed
	Now                     // at once: half a window un-acked, bye, shutdown
)

// Waiter is told when what it appended is durable. Calls come one at a time and
// must not block. Entries are told in the order of appending; a repeat is told
// after the commit that has its seq, or soon if that is durable already.
type Waiter interface {
	// Committed is called once for each appended entry: err is nil when it is
	// synced, ErrInMemory when readers have it but the disk does not, or why it
	// never will be (the store was closed).
	Committed(e *Entry, err error)
}

// Errors that callers branch on.
var (
	ErrClosed     = errors.New("store is closed")
	ErrOverloaded = errors.New("too much waits for the disk") // storage failing or too slow
	ErrLocked     = errors.New("another process holds the data directory")
	ErrInMemory   = errors.New("the disk takes nothing; the gateway works in memory only")
	ErrOldEra     = errors.New("the session began before the disk failed or came back")
)

// Options of a store; the zero value of a field is its default.
type Options struct {
	Dir    string        // made with mode 0700 if it is not there
	Commit time.Duration // how long a measurement may wait; negative = 1s, 0 = as fast as the disk
	Retain time.Duration // how long samples are kept; 0 = for ever
	Rows   RetainRows    // how long rows are
	Log    *slog.Logger  // nil = discard
	LogIn  LogIn         // where commits are written, Files
	Budget int64         // bytes of log that readers may leave unread, 0 = 256 MiB; beyond it they miss the oldest
	FS     segment.FS    // the directory of the log's files, nil = Dir
}

// RetainRows is how long rows of the history are kept, each at least as long as
// what they are made of; negative = for ever.
type RetainRows struct {
	FiveMinutes time.Duration // 0 = a year
	Hours       time.Duration // 0 = five years
	Days        time.Duration // 0 = for ever
}

// LogIn is where commits are written.
type LogIn uint8

// Places for commits. A store can be opened with the one after the other.
const (
	Files  LogIn = iota // preallocated files beside the database: one write and one sync
	InBolt              // the database itself: nothing beside it, and much more wear
)

// Store is open until Close. All methods are safe for concurrent use.
//
// Of its locks mu comes first: values, tails and the file's own may be taken
// while it is held, never the other way round.
type Store struct {
	// Set at birth.
	dir    string
	commit time.Duration
	retain history.Keep
	logIn  LogIn // where the log is wanted
	log    *slog.Logger
	file   *file
	id     string
	epoch  string
	held   *os.File // the lock

	fs           segment.FS // the data directory
	segmentSize  int64
	sealBytes    int64
	sealAtOnce   int
	mostUnsealed int64
	sealsAtClose time.Duration
	logBudget    int64
	logEpoch     uint64 // of the log's files
	place        LogIn  // where the log is
	journal      journal
	words        *words
	dropped      atomic.Uint64 // by the journal, that was reported
	counters     atomic.Pointer[func(device, name string) (counter, known bool)]

	wake chan struct{} // capacity 1: the committer should look again
	done chan struct{} // closed when the committer has ended

	// Held by whoever owns what the committer owns; see memory.go. Before all
	// other locks, and no method waits for it but Close.
	hand   sync.Mutex
	memory memory

	mu      sync.Mutex
	queue   queue
	devices map[string]*device
	cursors map[string]*cursor
	tables  map[string]*table
	health  Health
	wear    wear

	snapshots []*snapshot // that were asked for

	// The newest values inside devices.
	values sync.RWMutex

	// What readers may see.
	tails struct {
		sync.RWMutex
		head     Position
		durable  Position // the last one that is on disk
		sealed   Position // the last one that is in the history
		unsealed stretches
		recent   recent
		news     chan struct{} // closed and replaced at each commit
		closed   bool
		skipped  uint64
	}

	badRecords sync.Map // of those that were reported: number → true
	badParts   sync.Map // of the history, likewise: where → true

	told atomic.Pointer[func()] // see AfterCommitted

	// Owned by the committer.
	committer committer

	// Owned by the sealer, the channels aside.
	seal     sealer
	sealBusy atomic.Bool // the sealer has something to do; the committer sets it

	sealMoved atomic.Bool // it took some in since the committer looked
}

// Health is how the store is. Healthy is false from the first commit that
// failed until one works again.
type Health struct {
	Healthy   bool
	Err       string    // of the last failed commit
	Since     time.Time // of that failure
	Pending   int       // entries that wait for a commit
	Bytes     int64     // of them
	Commits   uint64    // since start
	Entries   uint64    // committed since start
	Samples   uint64    // records in them
	Repeats   uint64    // since start
	FileBytes int64     // of the database
	LogBytes  int64     // of the log in use
	Written   uint64    // bytes handed to the log's files since start
	SealErr   string    // why the log's files cannot be moved into the database, if so
	Skipped   uint64    // entries that readers never saw
	Dropped   uint64    // samples and rows removed because the space was used up, since start
	Damaged   uint64    // records and values that could not be read, since start

	ClockDoubts uint64 // times since start that the clock was too far ahead to remove history by it

	InMemory      bool      // nothing was committed for ten seconds: working in memory only
	InMemorySince time.Time // zero = it is not
	InMemoryOnly  uint64    // entries, since start, that were never on disk unless their device sent them again
}

// GatewayID is 8 characters of [a-z0-9], made once.
func (s *Store) GatewayID() string { return s.id }

// Epoch is a random mark of this store, made once (and anew by a restore).
func (s *Store) Epoch() string { return s.epoch }

// Health of the store now.
func (s *Store) Health() Health {
	size := s.file.size()
	s.tails.RLock()
	skipped := s.tails.skipped
	s.tails.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.health
	h.Pending = len(s.queue.items) + s.queue.writing
	h.Bytes = s.queue.bytes + s.queue.writingBytes
	st := s.journal.Stats()
	h.LogBytes, h.Written = st.Bytes, st.Written
	h.FileBytes, h.Skipped, h.Damaged = size, skipped, s.file.damaged.Load()
	return h
}
