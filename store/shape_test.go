package store_test

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	bolt "go.etcd.io/bbolt"
)

// shapes are the bytes of a database that say where the keys and values of its small
// buckets are, which the library takes as they come.
func shapes(t *testing.T, path string) (at []int) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var root int
	if err := db.View(func(tx *bolt.Tx) error { root = int(tx.Cursor().Bucket().Root()); return nil }); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	number := func(at, size int) int {
		return int(binary.LittleEndian.Uint64(append(slices.Clone(content[at:at+size]), make([]byte, 8)...)))
	}
	page := root * db.Info().PageSize
	for i := range number(page+10, 2) {
		element := page + 16 + 16*i
		value := element + number(element+4, 4) + number(element+8, 4)
		if number(value, 8) != 0 { // it has pages of its own
			continue
		}
		for n := range 16 + 16*number(value+16+10, 2) {
			at = append(at, value+16+n)
		}
	}
	return at
}

// A wrong place in a small bucket would make a pointer to anywhere in the heap, over
// which the runtime ends the process. The store starts instead, and has the rest.
func TestABitFlipsInTheShapeOfASmallBucket(t *testing.T) {
	dir := t.TempDir()
	gateway := fill(t, dir)
	path := filepath.Join(dir, "gateway.db")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	places := shapes(t, path)
	flips := 300
	if underRace {
		flips = 40
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range flips {
		at, bit := places[r.IntN(len(places))], byte(1<<r.IntN(8))
		spoiled := bytes.Clone(content)
		spoiled[at] ^= bit
		dir := filepath.Join(memoryDir(t), "home")
		if err := os.CopyFS(dir, os.DirFS(filepath.Dir(path))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "gateway.db"), spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s, err := store.Open(store.Options{Dir: dir, Commit: 0, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatalf("bit %#x of byte %d: the start is refused: %v", bit, at, err)
		}
		runtime.GC() // which finds wrong pointers
		if s.Health().Damaged == 0 && s.GatewayID() != gateway {
			t.Errorf("bit %#x of byte %d: the gateway is another, and nothing was said", bit, at)
		}
		if n := s.Hello("a", []protocol.Boot{{7}})[0]; s.Health().Damaged == 0 && n != 2000 {
			t.Errorf("bit %#x of byte %d: settled %d, and nothing was said", bit, at, n)
		}
		sound(t, s)
		if err := s.Close(); err != nil {
			t.Errorf("bit %#x of byte %d: %v", bit, at, err)
		}
	}
}
