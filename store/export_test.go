package store

import (
	"cmp"
	"errors"
	"os"
	"reflect"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/hearthgate/hearthgate/store/segment"
	bolt "go.etcd.io/bbolt"
)

// What the tests in package store_test may touch besides the exported.

// OpenFaulty is Open of a store that SetFault can make fail.
func OpenFaulty(o Options) (*Store, error) {
	s := newStore(o)
	s.fs = &faultyFS{FS: s.fs}
	return s.open()
}

// OpenUnsealed is Open of a store that never gets anything into its database:
// each start has to replay all of the log's files.
func OpenUnsealed(o Options) (*Store, error) {
	s := newStore(o)
	if err := s.openStopped(); err != nil {
		return nil, err
	}
	s.file.fault = func() error { return syscall.ENOSPC }
	s.start()
	return s, nil
}

// OpenHasty is Open of a store that seals in small transactions, and no more than one
// when it is closed.
func OpenHasty(o Options) (*Store, error) {
	s := newStore(o)
	s.sealBytes, s.sealAtOnce, s.sealsAtClose = 1<<30, 4<<10, -1
	return s.open()
}

// OpenOn is Open with the log's files on fs, small ones that are sealed often.
func OpenOn(o Options, fs segment.FS, segmentSize, sealBytes int64) (*Store, error) {
	s := newStore(o)
	s.fs, s.segmentSize, s.sealBytes = fs, segmentSize, sealBytes
	return s.open()
}

// OpenSmall is Open with a log that is full soon.
func OpenSmall(o Options) (*Store, error) {
	s := newStore(o)
	s.segmentSize, s.sealBytes, s.mostUnsealed = 64<<10, 64<<10, 128<<10
	return s.open()
}

// OpenWatched is OpenOn that calls write before each write to the database and
// durable after each transaction, from the start. The database has room bytes, or
// with 0 as many as always; write and durable may be nil.
func OpenWatched(o Options, fs segment.FS, segmentSize, sealBytes int64, room int, write func(b []byte, off int64) error, durable func()) (*Store, error) {
	s := newStore(o)
	s.fs, s.segmentSize, s.sealBytes = fs, segmentSize, sealBytes
	s.file.options.MaxSize = cmp.Or(room, s.file.options.MaxSize)
	s.file.durable = durable
	if write != nil {
		s.file.opened = func(db *bolt.DB) { onWrite(db, write) }
	}
	return s.open()
}

// faultyFS is a file system on which writes fail.
type faultyFS struct {
	segment.FS
	mu    sync.Mutex
	fault func() error
}

func (f *faultyFS) Open(name string, how segment.Mode) (segment.File, error) {
	file, err := f.FS.Open(name, how)
	return faultyFile{file, f}, err
}

type faultyFile struct {
	segment.File
	fs *faultyFS
}

func (f faultyFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	fault := f.fs.fault
	f.fs.mu.Unlock()
	if fault != nil {
		if err := fault(); err != nil {
			return 0, err
		}
	}
	return f.File.WriteAt(b, off)
}

// SetFault makes everything that writes fail with what f returns.
func (s *Store) SetFault(f func() error) {
	if fs, ok := s.fs.(*faultyFS); ok {
		fs.mu.Lock()
		fs.fault = f
		fs.mu.Unlock()
	}
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	s.file.fault = f
}

// SetDatabaseFault makes transactions of the database fail with what f returns.
func (s *Store) SetDatabaseFault(f func() error) {
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	s.file.fault = f
}

// OnWrite calls f before each write to the file, until the file is opened anew.
// An error of f is the write's.
func (s *Store) OnWrite(f func(b []byte, off int64) error) { onWrite(s.file.db, f) }

func onWrite(db *bolt.DB, f func(b []byte, off int64) error) {
	ops := reflect.ValueOf(db).Elem().FieldByName("ops").FieldByName("writeAt")
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
func OpenWithBudget(o Options, maxSize int, log int64) (*Store, error) {
	s := newStore(o)
	s.file.options.MaxSize, s.logBudget = maxSize, log
	s.segmentSize, s.sealBytes, s.mostUnsealed = min(256<<10, log/8), min(512<<10, log/4), min(2<<20, log/2)
	return s.open()
}

// Read begins to read the database, and keeps at it until it is told to stop.
func Read(s *Store) (stop func()) {
	begun, told, ended := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		_ = s.file.view(func(*bolt.Tx) error {
			close(begun)
			<-told
			return nil
		})
	}()
	<-begun
	return func() { close(told); <-ended }
}

// Update changes the file behind the store's back.
func Update(s *Store, bucket string, f func(b *bolt.Bucket) error) error {
	return s.file.update(func(tx *bolt.Tx) error { return f(tx.Bucket([]byte(bucket))) })
}

// CompactWatched is Compact that tells did what it has just done, and write of
// each write to the new database.
func CompactWatched(dir string, did func(what string), write func(b []byte, off int64) error) (before, after int64, err error) {
	return compact(dir, func(what string, db *bolt.DB) {
		did(what)
		if what == "create" {
			onWrite(db, write)
		}
	})
}

// KeepAll merges and removes what is due at a time, in a store that nobody has open.
func KeepAll(o Options, now time.Time, counters func(device, name string) (counter, known bool)) error {
	s := newStore(o)
	s.Describe(counters)
	if err := s.openStopped(); err != nil {
		return err
	}
	for s.keepHistory(now) == keepPause {
	}
	return errors.Join(s.journal.Close(), s.file.close(), s.held.Close())
}

// Hide makes it impossible to open the database anew.
func Hide(s *Store, hidden bool) {
	s.file.reopening.Lock()
	defer s.file.reopening.Unlock()
	s.file.options.OpenFile = nil
	if hidden {
		s.file.options.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return nil, syscall.EIO }
	}
}

// OpenSlow is OpenSmall whose database takes in little at a time, each after wait.
func OpenSlow(o Options, wait func()) (*Store, error) {
	s := newStore(o)
	s.segmentSize, s.sealBytes, s.mostUnsealed, s.sealAtOnce = 64<<10, 1<<20, 1<<20, 64<<10
	s.file.fault = func() error { wait(); return nil }
	return s.open()
}

// LogBegins is the position of the first entry that the log still has, 0 if it is
// empty.
func (s *Store) LogBegins() Position {
	_, _, at, err := s.find(0)
	if err != nil {
		panic(err)
	}
	return at
}

// Unsealed is how many entries are in the log alone.
func (s *Store) Unsealed() Position {
	s.tails.RLock()
	defer s.tails.RUnlock()
	return s.tails.durable - s.tails.sealed
}

// OpenFull is Open on a disk that has no room for another database.
func OpenFull(o Options) (*Store, error) {
	s := newStore(o)
	s.file.options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		if flag&os.O_CREATE != 0 && name != s.file.path {
			return nil, syscall.ENOSPC
		}
		return os.OpenFile(name, flag, mode)
	}
	return s.open()
}

// Reopen opens the database anew, as after an error.
func Reopen(s *Store) error { return s.file.reopen() }

// Replacing reports whether somebody waits to do that until nobody reads.
func Replacing(s *Store) bool {
	if !s.file.mu.TryRLock() {
		return true
	}
	s.file.mu.RUnlock()
	return false
}

// Nights does what a store does at some times, and says how many transactions each took.
func Nights(o Options, at ...time.Time) (took []int, err error) {
	s := newStore(o)
	n := 0
	s.file.durable = func() { n++ }
	if err := s.openStopped(); err != nil {
		return nil, err
	}
	for _, now := range at {
		n = 0
		for s.keepHistory(now) == keepPause {
		}
		took = append(took, n)
	}
	return took, errors.Join(s.journal.Close(), s.file.close(), s.held.Close())
}

// Release tells the log how far nobody needs it any more, and how far it is sealed. It
// says how many bytes are not.
func Release(s *Store, passed, sealed uint64) (unsealed int64) {
	s.journal.Release(passed, sealed)
	return s.journal.Stats().Unsealed
}
