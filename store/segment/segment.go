// Package segment is an append-only sequence of records in a few preallocated
// files. Appending a record is one write and one sync of whole sectors, which
// is all that a commit costs.
//
// The package knows nothing of what is in a record and starts no goroutines.
// One goroutine appends; reading, releasing and preparing may happen beside it.
// What is in memory is small however much is kept: the place of a record in each
// 32 KiB, and of segments that nobody reads not even that.
// FORMAT.md draws the bytes; fs.go is all that it asks of a file system.
package segment

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Errors that callers branch on.
var (
	ErrGone   = errors.New("the record is not in the log any more")
	ErrFull   = errors.New("the log has reached its budget with records that are nowhere else")
	ErrClosed = errors.New("the log is closed")
)

// Defaults of Options.
const (
	DefaultSize   = 4 << 20
	DefaultBudget = 256 << 20
)

// spares is how many free segments are kept; more are removed.
const spares = 2

// Options of a log; the zero value of a field is its default.
type Options struct {
	FS      FS     // must be set
	Epoch   uint64 // records of another epoch are stale
	Size    int64  // of a segment, DefaultSize
	Budget  int64  // bytes of all that are in use, DefaultBudget; beyond it the oldest go that are sealed
	End     End    // what End said when the log was closed; zero = it was not, or that is not known
	Log     *slog.Logger
	Damaged func(what string, err error) // called for each damaged place; nil = nobody
}

// An End is where the last segment of a log ends. It spares the next Open to look
// for that.
type End struct {
	Generation uint64 // of the segment; 0 = not known
	Last       uint64 // number of the last record
	Off        int64  // where that one ends
}

// Log is open until Close.
type Log struct {
	o Options

	// Owned by the goroutine that appends.
	next   uint64   // number of the next record
	out    File     // writes to begun; nil = the next record begins a segment
	begun  *segment // the last of live
	block  int      // what writes to out are a multiple of
	at     int64    // where in out the next record goes
	buffer []byte   // aligned, for one record
	ends   End

	// Held while files are made, taken or given back. Before mu.
	making   sync.Mutex
	free     []string // names of segments of o.Size with nothing in them
	sequence uint64   // of the segment that was begun last
	names    int      // the highest number in a name so far
	damaged  int      // segments that were set aside

	mu     sync.RWMutex
	live   []*segment // in the order of their records
	sealed uint64     // records up to here are elsewhere, too
	taken  uint64     // records that the disk took since Open
	closed bool
	stats  Stats
}

// Stats are counts since Open, Bytes and Unsealed aside.
type Stats struct {
	Bytes    int64  // of the segments in use
	Unsealed int64  // of those with records that are in the log alone
	Written  uint64 // bytes handed to the file system
	Made     uint64 // of them, zeros of new segments
	Writes   uint64 // each with its sync
	Begun    uint64 // segments
	Dropped  uint64 // segments that went although somebody might want to read them
}

// A segment is one file with records in it.
type segment struct {
	name     string
	mark     mark
	sequence uint64
	first    uint64 // the number that its first record has or will have
	size     int64
	file     File // to read from

	mute atomic.Uint64 // 1 + Log.taken when the disk first gave nothing up to its end; 0 = it does
	// Guarded by Log.mu.
	layout
	open     bool // more is written to it
	scanned  bool // layout is what it has; else it is as much as it can have
	gap      bool // records behind it were let go of: it may well have less
	readers  int  // in it now; its file is theirs until they have left
	gone     bool // from the log: the last reader gives it back
	distrust bool // a write or a sync failed: never to be used again
}

// layout is what lies where in a segment.
type layout struct {
	last    uint64  // number of the last record, or the one before the first
	end     int64   // where that one ends
	index   []place // of one record in each indexEvery bytes, and of all behind a damaged place
	damaged bool    // a part cannot be read: to be set aside
}

// place is where a record lies.
type place struct {
	number uint64
	off    uint32
}

// indexEvery is how far places in memory are apart, in bytes: what is between
// is found by reading.
const indexEvery = 32 << 10

// add takes the record in that lies at off and is n bytes long with its padding.
// after says that something unreadable lies before it.
func (a *layout) add(number uint64, off, n int64, after bool) {
	if k := len(a.index); k == 0 || after || off-int64(a.index[k-1].off) >= indexEvery {
		a.index = append(a.index, place{number, uint32(off)})
	}
	a.last, a.end = number, off+n
}

// take replaces what s could have by what was found.
func (s *segment) take(found layout) {
	found.damaged = found.damaged || s.damaged
	s.layout, s.scanned = found, true
}

// Append writes one record and returns its number when it is durable. After an
// error nothing is known about it; the next call writes the same number into
// another segment, and that one counts.
func (l *Log) Append(payload []byte) (number uint64, err error) {
	if l.out == nil || l.at+padded(recordHeader+len(payload), l.block) > l.begun.size {
		if err := l.begin(len(payload)); err != nil {
			return 0, fmt.Errorf("begin a segment of the log: %w", err)
		}
	}
	n := padded(recordHeader+len(payload), l.block)
	l.buffer = aligned(l.buffer, int(n))
	encodeRecord(l.buffer, l.begun.mark, l.next, payload)
	if err := l.write(l.out, l.buffer, l.at); err != nil {
		l.abandon()
		return 0, fmt.Errorf("write record %d to %s: %w", l.next, l.begun.name, err)
	}
	number = l.next
	l.mu.Lock()
	l.begun.add(number, l.at, n, false)
	l.taken++
	l.mu.Unlock()
	l.at += n
	l.next++
	l.ends = End{l.begun.mark.generation, number, l.at}
	return number, nil
}

// Next is the number that the next record gets. For the goroutine that appends.
func (l *Log) Next() uint64 { return l.next }

// write is one write and one sync.
func (l *Log) write(f File, b []byte, off int64) error {
	l.mu.Lock()
	l.stats.Written += uint64(len(b))
	l.stats.Writes++
	l.mu.Unlock()
	n, err := f.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	return f.Sync()
}

// abandon stops writing to the segment in use: after a failed write or sync
// nobody knows what of it is on disk, and what the system tells about it later
// is not to be trusted. What was acknowledged in it can still be read.
func (l *Log) abandon() {
	l.mu.Lock()
	l.begun.distrust = true
	l.mu.Unlock()
	l.ends = End{}
	l.end()
	l.making.Lock()
	defer l.making.Unlock()
	l.remove(func(s *segment) bool { return s.distrust && s.last < s.first }) // else a disk that keeps failing uses up the budget
}

// end closes the segment that is written to, if there is one.
func (l *Log) end() {
	if l.out == nil {
		return
	}
	_ = l.out.Close() // all of it is synced, or given up
	l.out = nil
	l.mu.Lock()
	l.begun.open = false
	l.mu.Unlock()
}

// Stats of the log now.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := l.stats
	st.Bytes = l.bytes()
	for _, s := range l.live {
		if s.last > l.sealed {
			st.Unsealed += s.size
		}
	}
	return st
}

// bytes of all segments in use. The caller holds mu.
func (l *Log) bytes() (n int64) {
	for _, s := range l.live {
		n += s.size
	}
	return n
}

// End is where the log ends, of what is released, too: its file may be used again
// only later. For who appends. After a write that failed it is not known.
func (l *Log) End() End { return l.ends }

// Close closes the files. Nothing is in memory that is not on disk.
func (l *Log) Close() error {
	l.end()
	var err error
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.live {
		if s.readers == 0 {
			err = errors.Join(err, s.file.Close())
		}
		s.gone = true
	}
	l.live, l.closed = nil, true
	return err
}
