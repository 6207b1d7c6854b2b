package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// What can be done with a store that nobody has open.

// Hold keeps everybody else from opening the store in dir, which is made if it
// is not there. ErrLocked: somebody has it open.
func Hold(dir string) (io.Closer, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	return lock(dir)
}

// closedStore runs f with the database of dir while nobody else can open it.
func closedStore(dir string, f func(*file) error) error {
	db := &file{path: filepath.Join(dir, "gateway.db"), options: boltOptions(), log: slog.New(slog.DiscardHandler)}
	if _, err := os.Stat(db.path); err != nil {
		return err
	}
	held, err := lock(dir)
	if err != nil {
		return err
	}
	return errors.Join(f(db), held.Close())
}

// Inspect looks whether the database in dir has a sound structure, and changes
// nothing: Open would set a damaged one aside and begin another.
func Inspect(dir string) error {
	return closedStore(dir, func(f *file) error {
		return f.readOnly(func(db *bolt.DB) error { return sound(db) })
	})
}

func (f *file) readOnly(fn func(*bolt.DB) error) (err error) {
	defer guard(&err)()
	options := f.options
	options.ReadOnly = true
	db, err := openBolt(f.path, options)
	if err != nil {
		return fmt.Errorf("%s cannot be read: %w", f.path, err)
	}
	return errors.Join(fn(db), db.Close())
}

// sound looks at the structure alone.
func sound(db *bolt.DB) error {
	w := walk{}
	err := db.View(func(tx *bolt.Tx) error {
		w.pages(tx)
		return nil
	})
	return errors.Join(append(w.findings, err)...)
}

// Compact writes the database in dir anew without the pages that are free, and
// says how large it was and is. It takes the place of the old one when it is
// whole, checked and synced, and smaller.
func Compact(dir string) (before, after int64, err error) {
	return compact(dir, func(string, *bolt.DB) {})
}

// compact tells did what it has just done to the disk.
func compact(dir string, did func(what string, db *bolt.DB)) (before, after int64, err error) {
	err = closedStore(dir, func(f *file) error {
		tmp := f.path + compacting
		if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		before = f.size()
		err := f.readOnly(func(db *bolt.DB) error {
			if err := sound(db); err != nil {
				return fmt.Errorf("it is damaged and stays as it is: %w", err)
			}
			return compactInto(tmp, db, f.options, did)
		})
		if err == nil && (&file{path: tmp}).size() >= before {
			after = before // nothing to gain
			return os.Remove(tmp)
		}
		if err == nil {
			err = os.Rename(tmp, f.path)
		}
		if err != nil {
			_ = os.Remove(tmp)
			return fmt.Errorf("compact %s: %w", f.path, err)
		}
		did("rename", nil)
		after = f.size()
		err = syncDir(f.path)
		did("syncdir", nil)
		return err
	})
	return before, after, err
}

// compacting is how the name of a database ends that is not whole.
const compacting = ".compact"

func compactInto(path string, from *bolt.DB, options bolt.Options, did func(string, *bolt.DB)) error {
	options.NoSync = true // once, at the end
	db, err := openBolt(path, options)
	if err != nil {
		return err
	}
	did("create", db)
	db.AllocSize = options.PageSize // nothing is kept free to grow into
	if err = bolt.Compact(db, from, 1<<20); err == nil {
		err = sound(db)
	}
	if err == nil {
		err = db.Sync()
		did("sync", db)
	}
	return errors.Join(err, db.Close())
}
