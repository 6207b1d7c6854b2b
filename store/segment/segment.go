// Package segment is an append-only sequence of records in a few preallocated
// files. Appending a record is one write and one sync of whole sectors, which
// is all that a commit costs.
//
// The package knows nothing of what is in a record and starts no goroutines.
// One goroutine appends; reading, releasing and preparing may happen beside it.
// FORMAT.md draws the bytes; fs.go is all that it asks of a file system.
package segment

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// Errors that callers branch on.
var (
	ErrGone = errors.New("the record is not in the log any more")
	ErrFull = errors.New("the log has reached its budget and waits until it is sealed")
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
	Budget  int64  // bytes of all that are in use, DefaultBudget
	Log     *slog.Logger
	Damaged func(what string, err error) // called for each damaged place; nil = nobody
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

	// Held while files are made, taken or given back. Before mu.
	making   sync.Mutex
	free     []string // names of segments of o.Size with nothing in them
	sequence uint64   // of the segment that was begun last
	names    int      // the highest number in a name so far
	damaged  int      // segments that were set aside

	mu    sync.RWMutex // held for reading while a file of live is read
	live  []*segment   // in the order of their records
	stats Stats
}

// Stats are counts since Open, Bytes aside.
type Stats struct {
	Bytes   int64  // of the segments in use
	Written uint64 // bytes handed to the file system
	Writes  uint64 // each with its sync
	Begun   uint64 // segments
}

// A segment is one file with records in it.
type segment struct {
	name     string
	mark     mark
	sequence uint64
	first    uint64 // the number that its first record has or will have
	size     int64
	file     File // to read from

	// Guarded by Log.mu.
	open     bool // more is written to it
	records  []place
	distrust bool // a write or a sync failed: never to be used again
	damaged  bool // a part cannot be read: to be set aside
}

// place is where a record lies.
type place struct {
	number uint64
	off    uint32
	length uint32 // of its payload
}

// last is the number of the last record, or the one before the first.
func (s *segment) last() uint64 {
	if n := len(s.records); n > 0 {
		return s.records[n-1].number
	}
	return s.first - 1
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
	l.begun.records = append(l.begun.records, place{number, uint32(l.at), uint32(len(payload))})
	l.mu.Unlock()
	l.at += n
	l.next++
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
	l.end()
	l.Release(0) // it may be empty
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

// Read returns the payload of a record. ErrGone: it was released.
func (l *Log) Read(number uint64) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s, p, ok := l.find(number)
	if !ok {
		return nil, ErrGone
	}
	b := make([]byte, recordHeader+int(p.length))
	if _, err := s.file.ReadAt(b, int64(p.off)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read record %d from %s: %w", number, s.name, err)
	}
	n, payload, what := decodeRecord(b, s.mark)
	if what != record || n != number {
		return nil, fmt.Errorf("%s: record %d at byte %d is damaged", s.name, number, p.off)
	}
	return payload, nil
}

// find is where a record lies. The caller holds mu.
func (l *Log) find(number uint64) (*segment, place, bool) {
	for i := len(l.live) - 1; i >= 0; i-- {
		s := l.live[i]
		if len(s.records) == 0 || number < s.records[0].number {
			continue
		}
		low, high := 0, len(s.records)
		for low < high {
			if mid := (low + high) / 2; s.records[mid].number < number {
				low = mid + 1
			} else {
				high = mid
			}
		}
		if low == len(s.records) || s.records[low].number != number {
			return nil, place{}, false
		}
		return s, s.records[low], true
	}
	return nil, place{}, false
}

// Stats of the log now.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := l.stats
	st.Bytes = l.bytes()
	return st
}

// bytes of all segments in use. The caller holds mu.
func (l *Log) bytes() (n int64) {
	for _, s := range l.live {
		n += s.size
	}
	return n
}

// Close closes the files. Nothing is in memory that is not on disk.
func (l *Log) Close() error {
	l.end()
	var err error
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.live {
		err = errors.Join(err, s.file.Close())
	}
	l.live = nil
	return err
}
