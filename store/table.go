package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"
)

// Table is a small durable map of what another package keeps, one CBOR value a
// key, all in memory as well. Values are copied in and out by their encoding.
type Table[T any] struct{ t *table }

// table is what Tables of one name share.
type table struct {
	s    *Store
	name string

	mu   sync.RWMutex // held before Store.mu
	rows map[string][]byte
}

// tableMode is deterministic (RFC 8949 §4.2.1), with times to the nanosecond.
var tableMode = func() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.Time = cbor.TimeRFC3339Nano
	m, err := o.EncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return m
}()

// OpenTable opens the table called name.
func OpenTable[T any](s *Store, name string) (*Table[T], error) {
	if name == "" {
		return nil, fmt.Errorf("a table needs a name")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Table[T]{s.table(name)}, nil
}

// table is the one called name. The caller holds mu.
func (s *Store) table(name string) *table {
	t := s.tables[name]
	if t == nil {
		t = &table{s: s, name: name, rows: map[string][]byte{}}
		s.tables[name] = t
	}
	return t
}

// loadTables reads all rows at the start, so that damage shows itself then.
func (s *Store) loadTables(tx *bolt.Tx) error {
	return tx.ForEach(func(bucket []byte, b *bolt.Bucket) error {
		name, ok := strings.CutPrefix(string(bucket), tablePrefix)
		if !ok {
			return nil
		}
		t := s.table(name)
		return b.ForEach(func(k, v []byte) error {
			row, err := unsealRow(v)
			if err != nil {
				s.file.damage("key "+string(k)+" of table "+name, err)
				return nil
			}
			t.rows[string(k)] = row
			return nil
		})
	})
}

// sealRow puts a checksum in front of a value.
func sealRow(v []byte) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(v)), crc32.Checksum(v, castagnoli))
	return append(b, v...)
}

// unsealRow checks and copies.
func unsealRow(v []byte) ([]byte, error) {
	if len(v) < 4 || binary.LittleEndian.Uint32(v) != crc32.Checksum(v[4:], castagnoli) {
		return nil, errDamaged
	}
	return append([]byte(nil), v[4:]...), nil
}

// putTable writes one change.
func putTable(tx *bolt.Tx, table, key string, row []byte) error {
	b, err := tx.CreateBucketIfNotExists([]byte(tablePrefix + table))
	if err != nil {
		return err
	}
	if row == nil {
		return b.Delete([]byte(key))
	}
	return b.Put([]byte(key), sealRow(row))
}

// Each calls f for every key in order, of the moment of the call.
func (t *Table[T]) Each(f func(key string, v T) error) error {
	t.t.mu.RLock()
	rows := maps.Clone(t.t.rows)
	t.t.mu.RUnlock()
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		v, err := t.decode(key, rows[key])
		if err != nil {
			return err
		}
		if err := f(key, v); err != nil {
			return err
		}
	}
	return nil
}

// Get is the value of a key.
func (t *Table[T]) Get(key string) (v T, ok bool, err error) {
	t.t.mu.RLock()
	row, ok := t.t.rows[key]
	t.t.mu.RUnlock()
	if !ok {
		return v, false, nil
	}
	v, err = t.decode(key, row)
	return v, err == nil, err
}

func (t *Table[T]) decode(key string, row []byte) (v T, err error) {
	if err := cbor.Unmarshal(row, &v); err != nil {
		return v, fmt.Errorf("table %s, key %s: %w", t.t.name, key, err)
	}
	return v, nil
}

// Put sets a key. It is visible at once; done (may be nil) is called when it is
// durable, or with the reason why it never will be. Order with Append is kept.
//
// While the store works in memory only, a change that somebody waits for (done)
// is refused with ErrInMemory; one that nobody waits for is visible, and written
// when the disk works again.
func (t *Table[T]) Put(key string, v T, u Urgency, done func(error)) error {
	row, err := tableMode.Marshal(v)
	if err != nil {
		return fmt.Errorf("table %s, key %s: %w", t.t.name, key, err)
	}
	return t.t.change(key, row, u, done)
}

// Delete removes a key; as Put.
func (t *Table[T]) Delete(key string, u Urgency, done func(error)) error {
	return t.t.change(key, nil, u, done)
}

// PutSync is Put that waits for the sync. DeleteSync likewise. Never call them
// from a Waiter: it runs on the goroutine that they wait for.
func (t *Table[T]) PutSync(key string, v T) error {
	return wait(func(done func(error)) error { return t.Put(key, v, Now, done) })
}

// DeleteSync is Delete that waits for the sync.
func (t *Table[T]) DeleteSync(key string) error {
	return wait(func(done func(error)) error { return t.Delete(key, Now, done) })
}

func wait(start func(done func(error)) error) error {
	result := make(chan error, 1)
	if err := start(func(err error) { result <- err }); err != nil {
		return err
	}
	return <-result
}

// change sets a row, in memory now and on disk with the next commit; nil
// deletes it.
func (t *table) change(key string, row []byte, u Urgency, done func(error)) error {
	if key == "" {
		return fmt.Errorf("table %s: a key must not be empty", t.name)
	}
	s := t.s
	size := int64(len(key) + len(row) + 32)
	t.mu.Lock()
	defer t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(size); err != nil {
		return err
	}
	if done != nil && s.Era().InMemory() {
		return ErrInMemory
	}
	if row == nil {
		delete(t.rows, key)
	} else {
		t.rows[key] = row
	}
	s.queue.items = append(s.queue.items, item{table: t, key: key, value: row, tell: done, size: size})
	s.queue.bytes += size
	s.hasten(nil, u)
	return nil
}
