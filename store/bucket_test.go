package store_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/hearthgate/hearthgate/store"
	bolt "go.etcd.io/bbolt"
)

// spoil flips a bit in a record of the log of a store that nobody has open, in the
// n-th that is still there.
func spoil(t *testing.T, dir string, n int) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "gateway.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return spoilIn(tx.Bucket([]byte("records")), n) })
	if cerr := db.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
}

func spoilIn(b *bolt.Bucket, n int) error {
	c := b.Cursor()
	k, v := c.First()
	for range n {
		k, v = c.Next()
	}
	k, v = bytes.Clone(k), bytes.Clone(v)
	v[len(v)-1] ^= 1
	return b.Put(k, v)
}

// A record of the log in the database goes bad, and the log moves to files: a reader
// misses what was in the record, and history nothing of what came behind it.
func TestALogWithADamagedRecordMoves(t *testing.T) {
	const said = 400
	o := store.Options{Dir: t.TempDir(), Commit: 0, LogIn: store.InBolt}
	s, err := store.OpenHasty(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tail("slow"); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(said) {
		sayNow(t, s, "a", seq+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, o.Dir, 150) // one of those that are not sealed
	o.LogIn = store.Files
	if s, err = store.OpenHasty(o); err != nil { // it seals a little at a time
		t.Fatal(err)
	}
	if n := frames(t, s); n != said-1 {
		t.Errorf("history has %d frames", n)
	}
	if entries, skipped := read(t, s, "slow"); entries != said-1 || skipped != 1 {
		t.Errorf("the reader got %d entries, %d were skipped", entries, skipped)
	}
	end(t, s)
}
