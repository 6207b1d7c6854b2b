package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/hearthgate/hearthgate/store/history"
	bolt "go.etcd.io/bbolt"
)

// rescued is what could be read of a file that was set aside: who belongs to the
// home must outlive a bad spot in its history. Every value carries its checksum,
// so what is copied here is checked when it is loaded.
type rescued struct {
	gateway string
	log     uint64 // epoch of the log's files
	buckets map[string]map[string][]byte
	values  int

	// How far the log was sealed. Without damage in what goes with it that holds
	// for the new file, too; else all of the log that is there is replayed.
	pos    Position
	record uint64
	place  []byte
	whole  bool
}

// rescue reads all it can of the file at path besides the history, and of the log
// in it what is nowhere else. The file is changed by that, see shape.go.
func rescue(path string) (r rescued) {
	r.buckets = map[string]map[string][]byte{}
	if err := guarded(func() error { return mendShape(path) }); err != nil {
		return r
	}
	_ = guarded(func() error {
		db, err := openBolt(path, bolt.Options{ReadOnly: true, Timeout: lockWait})
		if err != nil {
			return err
		}
		defer db.Close()
		r.whole = r.meta(db) == nil
		for _, name := range bucketNames(db) {
			r.bucket(db, name)
		}
		return nil
	})
	for _, name := range []string{string(bucketDevices), string(bucketWords), string(bucketCursors)} {
		r.whole = r.whole && r.buckets[name] != nil
	}
	return r
}

func (r *rescued) meta(db *bolt.DB) error {
	return guarded(func() error {
		return db.View(func(tx *bolt.Tx) (err error) {
			meta := tx.Bucket(bucketMeta)
			r.gateway = string(meta.Get(keyGateway))
			r.log = keyNumber(meta.Get(keyLog))
			r.place = append(r.place, meta.Get(keyPlace)...)
			if v := meta.Get(keyFormat); len(v) != 1 || v[0] != fileFormat {
				return errCorrupt
			}
			r.pos, r.record, err = getSealed(tx)
			return err
		})
	})
}

func bucketNames(db *bolt.DB) (names []string) {
	_ = guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			return tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
				names = append(names, string(name))
				return nil
			})
		})
	})
	return names
}

// bucket copies what it can reach of one bucket.
func (r *rescued) bucket(db *bolt.DB, name string) {
	switch name {
	case string(bucketDevices), string(bucketWords), string(bucketCursors), string(bucketRecords):
	default:
		if !strings.HasPrefix(name, tablePrefix) {
			return
		}
	}
	rows := map[string][]byte{}
	r.buckets[name] = rows
	err := guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
				if name == string(bucketRecords) && keyNumber(k) <= r.record {
					return nil
				}
				rows[string(k)] = append([]byte(nil), v...)
				r.values++
				return nil
			})
		})
	})
	r.whole = r.whole && err == nil
}

// put writes it into a new file.
func (r *rescued) put(tx *bolt.Tx) error {
	if isGatewayID(r.gateway) {
		if err := tx.Bucket(bucketMeta).Put(keyGateway, []byte(r.gateway)); err != nil {
			return err
		}
	}
	if len(r.place) == 1 && len(r.buckets[string(bucketRecords)]) > 0 {
		if err := putPlace(tx, LogIn(r.place[0])); err != nil {
			return err
		}
	}
	if r.whole {
		if err := putSealed(tx, r.pos, r.record); err != nil {
			return err
		}
	}
	for name, rows := range r.buckets {
		b, err := tx.CreateBucketIfNotExists([]byte(name))
		if err != nil {
			return err
		}
		for k, v := range rows {
			if k == "" {
				continue
			}
			if err := b.Put([]byte(k), v); err != nil {
				return err
			}
		}
	}
	return putCopy(tx)
}

// guarded runs f so that damage comes back as an error.
func guarded(f func() error) (err error) {
	defer guard(&err)()
	return f()
}

// salvage takes what can be read of the history of the file that is to be set aside.
func (s *Store) salvage(next *file) {
	err := guarded(func() error {
		db, err := openBolt(s.file.path, bolt.Options{ReadOnly: true, Timeout: lockWait})
		if err != nil {
			return err
		}
		defer db.Close()
		return db.View(func(from *bolt.Tx) error {
			if from.Bucket(bucketMeta) == nil {
				return errCorrupt
			}
			return history.Salvage(from, next.update, s.file.damage)
		})
	})
	if err != nil {
		s.log.Error("the history of the damaged store could not be read", "error", err)
	}
}

// condemned is the name of a file that says that the database has a bad place in
// its structure: the next start sets it aside.
const condemned = "gateway.db.condemned"

// condemn is called when sealing meets one, or a commit to the log in the database.
func (s *Store) condemn(why error) {
	path := filepath.Join(s.dir, condemned)
	if _, err := os.Stat(path); err == nil {
		return
	}
	s.log.Error("THE DATABASE IS DAMAGED and takes nothing more; with the log in files commits go on. The next start sets it aside and keeps what can be read of it", "error", why)
	if err := s.note(why); err != nil {
		s.log.Error("that could not be noted", "error", err)
	}
}

// note says durably that the database is to be set aside at a start, and why.
func (s *Store) note(why error) error {
	path := filepath.Join(s.dir, condemned)
	if err := os.WriteFile(path, []byte(why.Error()+"\n"), 0o600); err != nil {
		return err
	}
	return errors.Join(syncFile(path), syncDir(path))
}
