// Package store is the durable log of what devices said, and what follows from
// it: newest values, settled counters, history, cursors of readers, and small
// tables of what other packages keep.
//
// A frame is appended, synced together with others, and only then
// acknowledged. Everything that goes out is a reader with a named cursor.
// Callers see nothing of how it is written; FORMAT.md tells that.
package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
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
)

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

// Waiter is told when what it appended is durable. Calls come from the
// committer's goroutine in the order of appending and must not block.
type Waiter interface {
	// Committed is called once for each appended entry: err is nil when it is
	// synced, or why it never will be (the store was closed).
	Committed(e *Entry, err error)
}

// Errors that callers branch on.
var (
	ErrClosed     = errors.New("store is closed")
	ErrOverloaded = errors.New("too much waits for the disk") // storage failing or too slow
	ErrLocked     = errors.New("another process holds the data directory")
)

// Options of a store; the zero value of a field is its default.
type Options struct {
	Dir    string        // made with mode 0700 if it is not there
	Commit time.Duration // how long a measurement may wait; negative = 1s, 0 = as fast as the disk
	Retain time.Duration // how long raw entries are kept; 0 = for ever
	Log    *slog.Logger  // nil = discard
}

// Store is open until Close. All methods are safe for concurrent use.
type Store struct{ unwritten }

type unwritten struct{}

// Open opens or makes the store in o.Dir. After a power cut it cuts a torn
// tail; damage is set aside, logged, and never stops the start.
func Open(o Options) (*Store, error) { panic("not written yet") }

// Close commits what waits, saves the cursors and closes the file.
func (s *Store) Close() error { panic("not written yet") }

// GatewayID is 8 characters of [a-z0-9], made once.
func (s *Store) GatewayID() string { panic("not written yet") }

// Epoch is a random mark of this store, made once (and anew by a restore).
func (s *Store) Epoch() string { panic("not written yet") }

// Append gives e to the committer and returns at once; w (may be nil) is told
// when it is durable. The store owns e from then on.
//
// A Telemetry or Refused entry with a seq at or below the last one of its boot
// that is settled or waits is a repeat: it is not stored again, w is told when
// that seq is durable, and repeat is true.
//
// ErrOverloaded: the bytes that wait are above the budget; nothing was taken.
func (s *Store) Append(e *Entry, u Urgency, w Waiter) (repeat bool, err error) {
	panic("not written yet")
}

// Hello names the boots of a device's hello (1 first, then 7) and returns the
// last settled (durable) seq of each, 0 for one that is not remembered. Eight
// boots of a device are remembered; the one least recently named is forgotten.
func (s *Store) Hello(device string, boots []protocol.Boot) []uint64 { panic("not written yet") }

// Newest is the newest value of a name, as of the last commit.
type Newest struct {
	Name     string
	Value    protocol.Value
	Time     int64 // ns since 1970
	Received int64 // ms since 1970
}

// Newest are the newest values of a device, in the order of their names. Records
// that are Late or Unfit or of an Uncertain entry never get here.
func (s *Store) Newest(device string) []Newest { panic("not written yet") }

// NewestOf is the newest value of one name.
func (s *Store) NewestOf(device, name string) (Newest, bool) { panic("not written yet") }

// PresenceOf is the last Presence entry of a device that was appended.
func (s *Store) PresenceOf(device string) (PresenceChange, bool) { panic("not written yet") }

// Forget drops what the store knows of a removed device (boots, newest,
// presence). Its history stays until retention takes it.
func (s *Store) Forget(device string) { panic("not written yet") }

// Tail opens the reader called name. Its cursor is durable; a new reader begins
// at the head. Two readers of one name at a time are an error.
func (s *Store) Tail(name string) (*Tail, error) { panic("not written yet") }

// Follow opens a reader without a durable cursor, beginning at the head.
func (s *Store) Follow() *Tail { panic("not written yet") }

// Tail reads the log from a cursor on. One goroutine at a time.
type Tail struct{ unwritten }

// Next waits until entries after the last ones returned are committed and
// returns up to max of them, in order. Skipped counts entries that were
// dropped before they were read (budget, retention) since the last call.
func (t *Tail) Next(ctx context.Context, max int) (entries []*Entry, skipped uint64, err error) {
	panic("not written yet")
}

// Advance says that everything up to pos is done with. It is written down with
// a later commit; after a crash entries are seen again.
func (t *Tail) Advance(pos Position) { panic("not written yet") }

// Rewind makes Next begin after the advanced cursor again.
func (t *Tail) Rewind() { panic("not written yet") }

// Lag is how many committed entries are after the advanced cursor.
func (t *Tail) Lag() uint64 { panic("not written yet") }

// Head is the position of the last committed entry.
func (s *Store) Head() Position { panic("not written yet") }

// Close ends the reader; the cursor stays.
func (t *Tail) Close() { panic("not written yet") }

// Cursor is a named reader's durable place.
type Cursor struct {
	Name string   `json:"name"`
	Pos  Position `json:"position"`
	Lag  uint64   `json:"lag"`  // entries
	Open bool     `json:"open"` // a reader has it now
}

// Cursors are all named cursors; RemoveCursor drops one that nobody has open.
func (s *Store) Cursors() []Cursor { panic("not written yet") }

// RemoveCursor drops a cursor.
func (s *Store) RemoveCursor(name string) error { panic("not written yet") }

// Sample is one value of history. Time is ns since 1970.
type Sample struct {
	Time  int64
	Value protocol.Value
}

// History returns the values of one name with from <= time < to, in the order
// of their times; of equal times the last one said counts. At most limit
// samples (0 = all), the earliest.
func (s *Store) History(ctx context.Context, device, name string, from, to time.Time, limit int) ([]Sample, error) {
	panic("not written yet")
}

// Export calls f for each record with from <= time < to of a device ("" = all),
// in the order of the log, in bounded reads. Uncertain entries are left out.
func (s *Store) Export(ctx context.Context, device string, from, to time.Time, f func(e *Entry, r *protocol.Record) error) error {
	panic("not written yet")
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
	Repeats   uint64    // since start
	FileBytes int64
	Skipped   uint64 // entries that readers never saw
}

// Health of the store now.
func (s *Store) Health() Health { panic("not written yet") }
