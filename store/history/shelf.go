package history

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	bolt "go.etcd.io/bbolt"
)

// shelf is the bucket of one span of time at one level. Its sequence counts the
// samples or rows in it, which costs nothing; the bytes of each level are
// counted in the bucket history.
type shelf struct {
	tx    *bolt.Tx
	level Level
	name  []byte
	b     *bolt.Bucket // nil: not there
}

func openShelf(tx *bolt.Tx, l Level, d day) shelf { return namedShelf(tx, l, l.bucket(d)) }

func namedShelf(tx *bolt.Tx, l Level, name []byte) shelf {
	s := shelf{tx: tx, level: l, name: name}
	if all := tx.Bucket(buckets[l]); all != nil {
		s.b = all.Bucket(name)
	}
	return s
}

// older are the buckets of the days of a month, as rows of five minutes once had
// them. What is written goes to the month's.
func (s *shelf) older() (all []shelf) {
	if s.level != FiveMinutes {
		return nil
	}
	for _, name := range names(s.tx, s.level, string(s.name)) {
		if !bytes.HasPrefix(name, s.name) {
			break
		}
		if len(name) == len(layoutDay) {
			all = append(all, namedShelf(s.tx, s.level, name))
		}
	}
	return all
}

// create makes the bucket if it is not there.
func (s *shelf) create() (err error) {
	if s.b == nil {
		s.b, err = s.tx.Bucket(buckets[s.level]).CreateBucketIfNotExists(s.name)
	}
	if s.b != nil {
		s.b.FillPercent = 1 // keys come in order, all but the late ones
	}
	return err
}

// part is one value of a shelf.
type part struct {
	key   []byte
	value []byte
	part  uint32
}

// parts are the values of a device.
func (s *shelf) parts(device string) (all []part) {
	if s.b == nil {
		return nil
	}
	c := s.b.Cursor()
	for k, v := c.Seek(valueKey(device, 0)); k != nil; k, v = c.Next() {
		name, n, ok := parseKey(k)
		if !ok || name != device {
			break
		}
		all = append(all, part{k, v, n})
	}
	return all
}

// pieces are those of a device that are not merged yet, in the order of the log.
func (s *shelf) pieces(device string) (all []part) {
	if s.b == nil {
		return nil
	}
	c := s.b.Cursor()
	for batch := uint64(merged(s.b, device)) + 1; batch < markBatch; batch++ {
		k, v := c.Seek(pieceKey(uint32(batch), device, 0))
		at, name, n, ok := parsePieceKey(k)
		for ok && uint64(at) == batch && name == device {
			all = append(all, part{k, v, n})
			k, v = c.Next()
			at, name, n, ok = parsePieceKey(k)
		}
		if k == nil || at == markBatch {
			break
		}
		if uint64(at) > batch { // the loop adds one
			batch = uint64(at) - 1
		}
	}
	return all
}

func (s *shelf) where(key []byte) string {
	device, part, ok := parseKey(key)
	if s.level == pieces && len(key) > 4 {
		device, part, ok = parseKey(key[4:])
	}
	if !ok {
		return fmt.Sprintf("%s/%s, key %x", s.level, s.name, key)
	}
	return fmt.Sprintf("%s/%s, %s, part %d (key %x)", s.level, s.name, device, part, key)
}

// put writes a value; more is how many samples or rows that adds.
func (s *shelf) put(key, value []byte, more int) error {
	if err := s.create(); err != nil {
		return err
	}
	change := len(key) + len(value)
	if old := s.b.Get(key); old != nil {
		change -= len(key) + len(old)
	}
	if err := s.b.Put(key, value); err != nil {
		return err
	}
	return s.count(more, change)
}

func (s *shelf) delete(key []byte, less int) error {
	change := -len(key) - len(s.b.Get(key))
	if err := s.b.Delete(key); err != nil {
		return err
	}
	return s.count(-less, change)
}

func (s *shelf) count(samples, bytes int) error {
	n := int64(s.b.Sequence()) + int64(samples)
	if err := s.b.SetSequence(uint64(max(n, 0))); err != nil {
		return err
	}
	return addBytes(s.tx, s.level, bytes)
}

// drop removes the whole bucket and says how many samples or rows it had. Only
// its pages are freed: nothing in it is rewritten.
func (s *shelf) drop() (samples uint64, err error) {
	bytes := 0
	c := s.b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		bytes += len(k) + len(v)
	}
	samples = s.b.Sequence()
	if err := s.tx.Bucket(buckets[s.level]).DeleteBucket(s.name); err != nil {
		return 0, err
	}
	s.b = nil
	return samples, addBytes(s.tx, s.level, -bytes)
}

// empty removes the bucket if nothing is left in it.
func (s *shelf) dropIfEmpty() error {
	if s.b == nil {
		return nil
	}
	if k, _ := s.b.Cursor().First(); k != nil {
		return nil
	}
	_, err := s.drop()
	return err
}

var (
	keyBytes   = []byte("bytes")   // of keys and values, of each level
	keyTrimmed = []byte("trimmed") // the last day of which something was removed, of each level
)

// numbers reads what is counted of each level, none if it was never written.
func numbers(tx *bolt.Tx, key []byte, none int64) (all [levels]int64) {
	var v []byte
	if b := tx.Bucket(bucketMeta); b != nil {
		v = b.Get(key)
	}
	for i := range all {
		all[i] = none
		if len(v) == 8*levels {
			all[i] = int64(binary.BigEndian.Uint64(v[8*i:]))
		}
	}
	return all
}

func putNumbers(tx *bolt.Tx, key []byte, all [levels]int64) error {
	v := make([]byte, 0, 8*levels)
	for _, n := range all {
		v = binary.BigEndian.AppendUint64(v, uint64(n))
	}
	return tx.Bucket(bucketMeta).Put(key, v)
}

func addBytes(tx *bolt.Tx, l Level, bytes int) error {
	all := numbers(tx, keyBytes, 0)
	all[l] += int64(bytes)
	return putNumbers(tx, keyBytes, all)
}

// never is before all days.
const never = math.MinInt64

// trimmed is the last day of which something was ever removed of each level.
func trimmed(tx *bolt.Tx) [levels]int64 { return numbers(tx, keyTrimmed, never) }

func setTrimmed(tx *bolt.Tx, l Level, d day) error {
	all := trimmed(tx)
	if int64(d) <= all[l] {
		return nil
	}
	all[l] = int64(d)
	return putNumbers(tx, keyTrimmed, all)
}
