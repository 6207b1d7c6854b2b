package store_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hearthgate/hearthgate/store"
	bolt "go.etcd.io/bbolt"
)

// The number of a bucket's first page is wrong, so that it lies nowhere, is another one,
// or has itself below it: who looks at the file says so, and does not end over it.
func TestTheWayToAPageIsWrong(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	content, err := os.ReadFile(filepath.Join(dir, "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(filepath.Join(dir, "gateway.db"), 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var outer uint64
	var head []byte // of the value that is the bucket
	err = db.View(func(tx *bolt.Tx) error {
		all := tx.Bucket([]byte("pieces"))
		name, _ := all.Cursor().First()
		b := all.Bucket(name)
		outer = uint64(tx.Cursor().Bucket().Root())
		head = binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, uint64(b.Root())), b.Sequence())
		return nil
	})
	if cerr := db.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	if bytes.Count(content, head) == 0 {
		t.Fatal("it is nowhere")
	}
	first := binary.NativeEndian.Uint64(head)
	for name, wrong := range map[string]uint64{"far away": first | 1<<40, "behind the end": first | 1<<18, "another": first ^ 1, "above it": outer} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			spoiled := bytes.ReplaceAll(content, head, slices.Concat(binary.NativeEndian.AppendUint64(nil, wrong), head[8:]))
			if err := os.WriteFile(filepath.Join(dir, "gateway.db"), spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := store.Inspect(dir); err == nil {
				t.Error("it seems to be sound")
			}
			s := open(t, store.Options{Dir: dir})
			if err := s.Check(); err == nil {
				t.Error("a check of an open store finds nothing")
			}
			_ = s.Close()
		})
	}
}
