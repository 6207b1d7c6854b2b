package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The buckets of the file; FORMAT.md tells what is in them.
var (
	bucketMeta    = []byte("meta")
	bucketDevices = []byte("devices")
	bucketCursors = []byte("cursors")

	ourBuckets = [][]byte{bucketMeta, bucketRecords, bucketWords, bucketDevices, bucketCursors}
)

const tablePrefix = "table/"

// errUnavailable: the file is closed because it failed, and will be tried again.
var errUnavailable = errors.New("the file cannot be read at the moment")

// file is gateway.db. It can be closed and opened again while the store is in
// use, which is the answer to an I/O error.
type file struct {
	path    string
	options bolt.Options
	log     *slog.Logger
	damaged atomic.Uint64
	written atomic.Uint64 // bytes, since the start
	syncs   atomic.Uint64 // likewise

	reopening sync.Mutex
	writing   sync.Mutex // held for a transaction that writes; before mu
	lent      int        // bytes above the budget, while somebody reads; guarded by writing

	mu sync.RWMutex // held for reading while db is in use, for writing to replace it
	db *bolt.DB     // nil: could not be opened again

	// Tests make commits fail by it: called at the end of each transaction that
	// writes, its error is the transaction's. Guarded by mu.
	fault func() error

	// Likewise, called when a transaction is durable, and with a file that was opened.
	durable func()
	opened  func(*bolt.DB)
}

func boltOptions() bolt.Options {
	return bolt.Options{
		PageSize:     4096, // not the system's: 16 KiB would multiply the wear
		FreelistType: bolt.FreelistMapType,
		MaxSize:      maxFileSize,
		Timeout:      lockWait,
	}
}

// open opens the file. Whatever is wrong inside it comes back as an error.
func (f *file) open() (err error) {
	defer guard(&err)()
	db, err := openBolt(f.path, f.options)
	if errors.Is(err, berrors.ErrTimeout) { // a tool that does not know our lock file
		return fmt.Errorf("%w: %s is open elsewhere", ErrLocked, f.path)
	}
	if err != nil {
		return err
	}
	s, err := shapeOf(db, f.path)
	if err == nil {
		err = s.err()
	}
	if err == nil {
		err = db.View(freeList)
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	// Small files grow in small steps, so that the limit is not passed at once.
	db.AllocSize = min(db.AllocSize, max(1<<20, f.options.MaxSize/64))
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db = db; f.opened != nil {
		f.opened(db)
	}
	return nil
}

// openBolt opens a file such that, when the library panics over its content, the
// lock does not stay behind. (Closing alone is not enough: the mapping is left.)
func openBolt(path string, options bolt.Options) (db *bolt.DB, err error) {
	var opened *os.File
	through := options.OpenFile
	if through == nil { // as always but in tests
		through = os.OpenFile
	}
	options.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		opened, err = through(name, flag, mode)
		return opened, err
	}
	defer func() {
		if db == nil && opened != nil {
			unlock(opened)
			_ = opened.Close()
		}
	}()
	return bolt.Open(path, 0o600, &options)
}

// close waits for the transactions in use.
func (f *file) close() (err error) {
	defer guard(&err)()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db == nil {
		return nil
	}
	db := f.db
	f.db = nil
	return db.Close()
}

// reopen closes the file and opens it again. Who reads meanwhile is told that it
// is not there.
func (f *file) reopen() error {
	f.reopening.Lock()
	defer f.reopening.Unlock()
	if err := f.close(); err != nil {
		f.log.Warn("close the file after an error", "error", err)
	}
	return f.open()
}

// update runs fn in a transaction that is synced when update returns nil.
func (f *file) update(fn func(*bolt.Tx) error) error { return f.updateBeyond(0, fn) }

// updateBeyond is update with a file that may grow by extra bytes above its
// budget.
func (f *file) updateBeyond(extra int, fn func(*bolt.Tx) error) (err error) {
	defer guard(&err)()
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return errUnavailable
	}
	if f.lent > 0 && f.db.Stats().OpenTxN == 0 {
		f.lent = 0
	}
	f.db.MaxSize = f.options.MaxSize + max(extra, f.lent)
	err = f.db.Update(func(tx *bolt.Tx) error {
		f.count(tx)
		if err := fn(tx); err != nil {
			return err
		}
		if f.fault != nil {
			return f.fault()
		}
		return nil
	})
	if err == nil && f.durable != nil {
		f.durable()
	}
	return err
}

// lend lets the file grow above its budget until nobody reads, if there are pages that
// are free but for who reads; lent says whether there are. What it grew it does not
// shrink again.
func (f *file) lend(extra int) (lent bool, err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return false, errUnavailable
	}
	st := f.db.Stats()
	if st.OpenTxN == 0 || st.PendingPageN == 0 {
		return false, nil
	}
	if f.lent > 0 {
		return true, fmt.Errorf("%w: what is free is held by who reads", berrors.ErrMaxSizeReached)
	}
	f.lent = extra
	return true, nil
}

// view runs fn in a transaction that only reads. fn must be short and must not
// wait: pages that a reader may see cannot be used again.
func (f *file) view(fn func(*bolt.Tx) error) (err error) {
	defer guard(&err)()
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return errUnavailable
	}
	return f.db.View(fn)
}

// exclusive runs fn, which only reads, while nobody writes.
func (f *file) exclusive(fn func(*bolt.Tx) error) (err error) {
	defer guard(&err)()
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.db == nil {
		return errUnavailable
	}
	tx, err := f.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return fn(tx)
}

// size is that of the file in bytes.
func (f *file) size() int64 {
	if info, err := os.Stat(f.path); err == nil {
		return info.Size()
	}
	return 0
}

// damage counts and reports something in the file that cannot be read.
func (f *file) damage(what string, err error) {
	const most = 100 // of reports; the count goes on
	if f.damaged.Add(1) > most {
		return
	}
	f.log.Error("part of the store is damaged and was left out", "what", what, "error", err, "file", f.path)
}

// guard turns a panic of the library, and a fault in its mapping of a damaged
// file, into an error: defer guard(&err)().
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %v", errCorrupt, p)
		}
	}
}

var errCorrupt = errors.New("the file is damaged")

// corrupt reports whether an error of open says that the file's content, not
// the disk or its permissions, is the trouble.
func corrupt(err error) bool {
	for _, target := range []error{errCorrupt, berrors.ErrInvalid, berrors.ErrChecksum, berrors.ErrVersionMismatch} {
		if errors.Is(err, target) {
			return true
		}
	}
	return strings.Contains(err.Error(), "file size too small")
}

// noSpace reports whether a commit failed for want of space: then the file is
// sound and can be tried again as it is. The library does not wrap all errors.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || overBudget(err) ||
		strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

func overBudget(err error) bool {
	return errors.Is(err, berrors.ErrMaxSizeReached) || strings.Contains(err.Error(), berrors.ErrMaxSizeReached.Error())
}

// create makes a new file with what init puts into it. A power cut during it
// leaves the old state: the file gets its name when it is whole and synced.
func (f *file) create(init func(*bolt.Tx) error) error {
	if err := f.prepare(init); err != nil {
		return err
	}
	return f.begin()
}

// replace is create where there is a file, which is set aside. What more does to the new
// one is done before it takes its name, too, in as many transactions as it likes.
func (f *file) replace(init func(*bolt.Tx) error, more func(next *file), now time.Time) (aside string, err error) {
	if err := f.prepare(init); err != nil {
		return "", err
	}
	next := &file{path: f.path + coming, options: f.options, log: f.log, durable: f.durable}
	if err := next.open(); err != nil {
		return "", err
	}
	more(next)
	if err := next.close(); err != nil {
		return "", err
	}
	aside = f.path + ".corrupt-" + now.UTC().Format("20060102T150405.000")
	if os.Link(f.path, aside) != nil { // not every file system can: then there is none for a moment
		err = os.Rename(f.path, aside)
	}
	if err != nil {
		return "", err
	}
	return aside, f.begin()
}

// coming is how the name of a new file ends until it takes its place.
const coming = ".new"

func (f *file) prepare(init func(*bolt.Tx) error) error {
	tmp := f.path + coming
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := openBolt(tmp, f.options)
	if err != nil {
		return err
	}
	err = db.Update(init)
	if err == nil {
		err = db.Sync()
	}
	return errors.Join(err, db.Close())
}

func (f *file) begin() error {
	if err := os.Rename(f.path+coming, f.path); err != nil {
		return err
	}
	return syncDir(f.path)
}
