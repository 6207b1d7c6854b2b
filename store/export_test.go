package store

import (
	"reflect"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// What the tests in package store_test may touch besides the exported.

// SetFault makes every transaction that writes fail with what f returns.
func (s *Store) SetFault(f func() error) {
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	s.file.fault = f
}

// OnWrite calls f before each write to the file, until the file is opened anew.
// An error of f is the write's.
func (s *Store) OnWrite(f func(b []byte, off int64) error) {
	ops := reflect.ValueOf(s.file.db).Elem().FieldByName("ops").FieldByName("writeAt")
	hook := (*func([]byte, int64) (int, error))(unsafe.Pointer(ops.UnsafeAddr()))
	write := *hook
	*hook = func(b []byte, off int64) (int, error) {
		if err := f(b, off); err != nil {
			return 0, err
		}
		return write(b, off)
	}
}

// OpenWithBudget is Open with other limits than the constants.
func OpenWithBudget(o Options, maxSize int, unread uint64) (*Store, error) {
	s := newStore(o)
	s.file.options.MaxSize, s.unread = maxSize, unread
	return s.open()
}

// Update changes the file behind the store's back.
func Update(s *Store, bucket string, f func(b *bolt.Bucket) error) error {
	return s.file.update(func(tx *bolt.Tx) error { return f(tx.Bucket([]byte(bucket))) })
}
