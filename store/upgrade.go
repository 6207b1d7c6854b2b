package store

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// upgrade brings a file of an older version up to this one, of which a copy is
// kept. It also makes durable what a killed process may have left in the
// system's memory alone: what is read here decides what may be overwritten.
func (s *Store) upgrade() error {
	var format []byte
	err := s.file.view(func(tx *bolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			format = append(format, meta.Get(keyFormat)...)
		}
		return nil
	})
	if err != nil || len(format) != 1 || format[0] >= fileFormat {
		return errors.Join(err, s.file.sync())
	}
	if s.logIn == InBolt { // which the older version knows as well
		return s.file.sync()
	}
	if err := s.file.copyTo(s.file.path + fmt.Sprintf(".format-%d", format[0])); err != nil {
		s.log.Error("no copy of the store could be kept, so it stays in the older format and wears the disk more; make room and start again", "error", err)
		s.logIn = InBolt
		return nil
	}
	return s.file.update(func(tx *bolt.Tx) error {
		return errors.Join(tx.Bucket(bucketMeta).Put(keyFormat, []byte{fileFormat}), putLogEpoch(tx, newLogEpoch()), putSealed(tx, 0, 0))
	})
}

// sync makes the file durable as it is.
func (f *file) sync() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.db.Sync()
}

// copyTo writes a copy of the file, which gets its name when it is whole.
func (f *file) copyTo(path string) error {
	tmp := path + ".new"
	err := f.view(func(tx *bolt.Tx) error { return tx.CopyFile(tmp, 0o600) })
	if err == nil {
		err = syncFile(tmp)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(path)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
