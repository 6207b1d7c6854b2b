package store

import (
	"strings"

	bolt "go.etcd.io/bbolt"
)

// rescued is what could be read of a file that was set aside: who belongs to the
// home must outlive a bad spot in the log. Every value carries its checksum, so
// what is copied here is checked when it is loaded.
type rescued struct {
	gateway string
	buckets map[string]map[string][]byte
	values  int
}

// rescue reads all it can of the file at path besides the history, which a backup
// has, and the cursors: where readers were means nothing in a new log.
func rescue(path string) (r rescued) {
	r.buckets = map[string]map[string][]byte{}
	_ = guarded(func() error {
		db, err := openBolt(path, bolt.Options{ReadOnly: true, Timeout: lockWait})
		if err != nil {
			return err
		}
		defer db.Close()
		for _, name := range bucketNames(db) {
			r.bucket(db, name)
		}
		return nil
	})
	return r
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
	_ = guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(name))
			if name == string(bucketMeta) {
				r.gateway = string(b.Get(keyGateway))
				return nil
			}
			if name != string(bucketDevices) && name != string(bucketWords) && !strings.HasPrefix(name, tablePrefix) {
				return nil
			}
			rows := map[string][]byte{}
			r.buckets[name] = rows
			return b.ForEach(func(k, v []byte) error {
				rows[string(k)] = append([]byte(nil), v...)
				r.values++
				return nil
			})
		})
	})
}

// put writes it into a new file.
func (r *rescued) put(tx *bolt.Tx) error {
	if isGatewayID(r.gateway) {
		if err := tx.Bucket(bucketMeta).Put(keyGateway, []byte(r.gateway)); err != nil {
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
	return nil
}

// guarded runs f so that damage comes back as an error.
func guarded(f func() error) (err error) {
	defer guard(&err)()
	return f()
}
