package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/hearthgate/hearthgate/store/segment"
	bolt "go.etcd.io/bbolt"
)

// bucketRecords is the log when it is in the database: a record lies under its
// number, behind a checksum and how many bytes of records came before it.
var bucketRecords = []byte("records")

const (
	recordHead     = 12
	recordsAtOnce  = 2048     // that one transaction removes
	scanBytes      = 64 << 10 // that one transaction reads
	extentRecords  = 1024     // in one extent
	slackOfRecords = 256 << 10
)

// leastEntry is how many bytes an entry has at least.
const leastEntry = 4

// bucketLog is the journal in that bucket.
type bucketLog struct {
	f      *file
	view   func(func(*bolt.Tx) error) error // of f, but see within
	budget uint64
	room   func() error // makes some when the file is full
	bad    func(number uint64, err error)

	next uint64 // owned by the goroutine that appends
	lost int    // entries at most that the last records had, which cannot be read

	mu     sync.Mutex
	begin  uint64 // bytes of records before the first
	end    uint64 // and with the last
	seals  uint64 // and with the last that is sealed
	sealed uint64
	stats  segment.Stats
}

// openBucketLog replays the records behind after.
func openBucketLog(f *file, after uint64, budget int64, room func() error, bad func(uint64, error), replay func(uint64, []byte) error) (*bucketLog, error) {
	l := &bucketLog{f: f, view: f.view, budget: uint64(budget), room: room, bad: bad, next: after + 1, sealed: after}
	err := f.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketRecords).Cursor()
		l.findEnd(c)
		k, v := c.First()
		l.begin = offsetFrom(c, k, v, l.end)
		k, v = seekRecord(c, after+1)
		l.seals = offsetFrom(c, k, v, l.end)
		return nil
	})
	if err != nil {
		return nil, err
	}
	serr := l.Scan(after+1, func(number uint64, payload []byte) bool {
		err = replay(number, payload)
		return err == nil
	})
	if errors.Is(serr, segment.ErrGone) { // they are missing
		bad(after+1, serr)
		all, xerr := l.Extents()
		if xerr != nil {
			return nil, xerr
		}
		serr = l.Scan(all[0].First, func(number uint64, payload []byte) bool {
			err = replay(number, payload)
			return err == nil
		})
	}
	return l, errors.Join(err, serr)
}

// within is the log for who is in a transaction and reads: another one beside it would
// wait for who waits for the first to end, and opens the file anew.
func (l *bucketLog) within(tx *bolt.Tx) *bucketLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &bucketLog{view: func(f func(*bolt.Tx) error) error { return f(tx) }, bad: l.bad, end: l.end}
}

// findEnd looks at the last records, of which some may be damaged.
func (l *bucketLog) findEnd(c *bolt.Cursor) {
	damaged := 0 // bytes
	last, _ := c.Last()
	before, _ := c.Prev() // a number that is wrong would be used again, and those behind it
	l.next = max(l.next, recordNumber(last)+1, recordNumber(before)+1)
	for k, v := c.Last(); k != nil; k, v = c.Prev() {
		offset, payload, err := openRecord(v)
		if err == nil {
			l.end = offset + uint64(len(payload))
			break
		}
		l.bad(keyNumber(k), err)
		l.lost += len(v) / leastEntry
		damaged += max(0, len(v)-recordHead)
	}
	l.end += uint64(damaged)
}

// recordNumber is that of a record under k, 0 if it can be none.
func recordNumber(k []byte) uint64 {
	if n := keyNumber(k); n < 1<<63 {
		return n
	}
	return 0
}

// inOrder reports whether a record under k can follow those before a number, and be
// followed by what is under next.
func inOrder(k, next []byte, number uint64) bool {
	n, m := recordNumber(k), recordNumber(next)
	return n >= max(number, 1) && (m > n || m < max(number, 1)) // else the next one is the wrong one
}

// firstBehind calls f for the records up to a number until it returns false, and says which
// one follows. It leaves out those whose number is wrong: another may have that one.
func firstBehind(c *bolt.Cursor, to uint64, f func(k, v []byte) bool) (k, v []byte) {
	k, v = c.First()
	for from := uint64(1); k != nil; {
		next, value := c.Next()
		if inOrder(k, next, from) {
			if n := recordNumber(k); n > to || !f(k, v) {
				break
			}
			from = recordNumber(k) + 1
		}
		k, v = next, value
	}
	return k, v
}

// seekRecord is the first record from a number on, at which c is then. The library looks
// for it by halves, which one wrong number leads astray. What lies around the record that
// it finds tells; then all are gone through.
func seekRecord(c *bolt.Cursor, number uint64) (k, v []byte) {
	number = max(number, 1)
	beside := c.Bucket().Cursor()
	k, _ = beside.Seek(numberKey(number))
	after, _ := beside.Next()
	beside.Seek(numberKey(number))
	before, _ := beside.Prev()
	if k == nil {
		before, _ = beside.Last()
	}
	earlier, _ := beside.Prev()
	if n := recordNumber(k); max(recordNumber(before), recordNumber(earlier)) < number &&
		(k == nil || n >= number && (after == nil || recordNumber(after) > n)) {
		return c.Seek(numberKey(number))
	}
	beside.First()
	from := uint64(1)
	for k, v = c.First(); k != nil; k, v = c.Next() {
		after, _ = beside.Next()
		if inOrder(k, after, from) {
			from = recordNumber(k) + 1
		}
		if from > number {
			break
		}
	}
	return k, v
}

var errNumber = fmt.Errorf("%w: its number is wrong", errDamaged)

// offsetFrom is how many bytes of records come before the one at k, or before the next
// one where it is damaged; end if there is none.
func offsetFrom(c *bolt.Cursor, k, v []byte, end uint64) uint64 {
	for ; k != nil; k, v = c.Next() {
		if offset, _, err := openRecord(v); err == nil {
			return offset
		}
	}
	return end
}

func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func keyNumber(k []byte) uint64 {
	if len(k) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}

// sealRecord is a record as it stands in the bucket.
func sealRecord(offset uint64, payload []byte) []byte {
	v := make([]byte, recordHead, recordHead+len(payload))
	binary.LittleEndian.PutUint64(v[4:], offset)
	v = append(v, payload...)
	binary.LittleEndian.PutUint32(v, crc32.Checksum(v[4:], castagnoli))
	return v
}

func openRecord(v []byte) (offset uint64, payload []byte, err error) {
	if len(v) < recordHead || binary.LittleEndian.Uint32(v) != crc32.Checksum(v[4:], castagnoli) {
		return 0, nil, errDamaged
	}
	return binary.LittleEndian.Uint64(v[4:]), v[recordHead:], nil
}

// Append is one transaction. When the file is full the oldest history makes
// room, when the log's budget is spent the oldest sealed records.
func (l *bucketLog) Append(payload []byte) (uint64, error) {
	l.mu.Lock()
	offset, sealed := l.end, l.sealed
	excess := int64(l.end + uint64(len(payload)) - l.begin - l.budget)
	l.mu.Unlock()
	var begin uint64
	for {
		err := l.f.update(func(tx *bolt.Tx) (err error) {
			b := tx.Bucket(bucketRecords)
			b.FillPercent = 1 // keys only grow
			if excess > 0 {
				if begin, err = dropRecords(b, sealed, uint64(excess)); err != nil {
					return err
				}
			}
			return b.Put(numberKey(l.next), sealRecord(offset, payload))
		})
		if err == nil {
			break
		}
		if !overBudget(err) {
			return 0, err
		}
		if err := l.room(); err != nil {
			return 0, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if begin > l.begin {
		l.begin = begin
		l.stats.Dropped++
	}
	l.end = offset + uint64(len(payload))
	l.next++
	return l.next - 1, nil
}

// dropRecords removes at least so many bytes from the beginning, and says where
// that is now.
func dropRecords(b *bolt.Bucket, sealed, bytes uint64) (begin uint64, err error) {
	var keys [][]byte
	c := b.Cursor()
	freed := uint64(0)
	k, v := firstBehind(c, sealed, func(k, v []byte) bool {
		if freed >= bytes+slackOfRecords {
			return false
		}
		freed += uint64(len(v))
		keys = append(keys, append([]byte(nil), k...)) // deleting while iterating would skip some
		return true
	})
	if freed < bytes {
		return 0, segment.ErrFull
	}
	return offsetFrom(c, k, v, 0), deleteAll(b, keys)
}

// Next is of journal, as are the others.
func (l *bucketLog) Next() uint64 { return l.next }

// Scan reads a page at a time and calls f between the transactions.
func (l *bucketLog) Scan(number uint64, f func(number uint64, payload []byte) bool) error {
	for {
		type found struct {
			number  uint64
			payload []byte
		}
		var page []found
		err := l.view(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketRecords).Cursor()
			first, _ := c.First()
			second, _ := c.Next()
			if n := recordNumber(first); number < n && inOrder(first, second, 0) {
				return segment.ErrGone
			}
			bytes := 0
			k, v := seekRecord(c, number)
			for k != nil && bytes < scanBytes {
				next, value := c.Next()
				_, payload, err := openRecord(v)
				if !inOrder(k, next, number) {
					err = errNumber
				} else {
					number = recordNumber(k) + 1
					bytes += len(v)
				}
				if err != nil {
					l.bad(keyNumber(k), err)
				} else {
					page = append(page, found{number - 1, append([]byte(nil), payload...)})
				}
				k, v = next, value
			}
			if bytes == 0 {
				number = 0
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			if !f(r.number, r.payload) {
				return nil
			}
		}
		if number == 0 {
			return nil
		}
	}
}

// Extents are of equally many records.
func (l *bucketLog) Extents() (all []segment.Extent, err error) {
	l.mu.Lock()
	end := l.end
	l.mu.Unlock()
	var offsets []uint64
	err = l.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketRecords).Cursor()
		last, _ := c.Last()
		before, _ := c.Prev()
		from := uint64(1)
		k, v := c.First()
		for k != nil {
			next, value := c.Next()
			if !inOrder(k, next, from) {
				k, v = next, value
				continue
			}
			n := recordNumber(k)
			if i := len(all); i > 0 {
				all[i-1].Last = n - 1
			}
			all = append(all, segment.Extent{First: n, Last: max(n, recordNumber(last), recordNumber(before))})
			offsets = append(offsets, offsetFrom(c, k, v, end))
			from = n + extentRecords
			k, v = seekRecord(c, from)
		}
		return nil
	})
	for i, offset := range offsets {
		to := end
		if i+1 < len(offsets) {
			to = offsets[i+1]
		}
		all[i].Bytes = max(0, int64(to-offset))
	}
	return all, err
}

// Release removes records; what fails is tried again the next time. What is sealed is so
// in any case.
func (l *bucketLog) Release(passed, sealed uint64) {
	for more := true; more; {
		l.mu.Lock()
		begin, seals := l.end, l.end // unless there are more
		l.mu.Unlock()
		var keys [][]byte
		err := l.view(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketRecords).Cursor()
			k, v := firstBehind(c, min(passed, sealed), func(k, _ []byte) bool {
				if len(keys) == recordsAtOnce {
					return false
				}
				keys = append(keys, append([]byte(nil), k...))
				return true
			})
			begin = offsetFrom(c, k, v, begin)
			k, v = seekRecord(c, sealed+1)
			seals = offsetFrom(c, k, v, seals)
			return nil
		})
		if err != nil {
			return
		}
		l.mu.Lock()
		l.seals, l.sealed = max(l.seals, seals), max(l.sealed, sealed)
		l.mu.Unlock()
		if len(keys) > 0 {
			err = l.f.update(func(tx *bolt.Tx) error { return deleteAll(tx.Bucket(bucketRecords), keys) })
		}
		if err != nil {
			return
		}
		more = len(keys) == recordsAtOnce
		l.mu.Lock()
		l.begin = max(l.begin, begin)
		l.mu.Unlock()
	}
}

func deleteAll(b *bolt.Bucket, keys [][]byte) error {
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Prepare has nothing to do.
func (l *bucketLog) Prepare() error { return nil }

// Stats counts bytes of records only; what the database writes is counted there.
func (l *bucketLog) Stats() segment.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.stats
	st.Bytes, st.Unsealed = int64(l.end-l.begin), int64(l.end-l.seals)
	return st
}

// Close leaves the database open, which others use.
// End is in the database already.
func (l *bucketLog) End() segment.End { return segment.End{} }

func (l *bucketLog) Close() error { return nil }
