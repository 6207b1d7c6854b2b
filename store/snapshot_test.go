package store_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	bolt "go.etcd.io/bbolt"
)

// snapshot writes a copy of s into a directory of its own.
func snapshot(t *testing.T, s *store.Store) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "gateway.db"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var said, wrote int64
	err = s.Snapshot(t.Context(), func(size int64, db io.WriterTo) error {
		said = size
		wrote, err = db.WriteTo(f)
		return err
	})
	if err := errors.Join(err, f.Close()); err != nil || said != wrote {
		t.Fatalf("%d bytes of %d were written: %v", wrote, said, err)
	}
	return dir
}

// A copy is made while a device goes on: all that was acknowledged before is in
// it, none of it twice, and under a new epoch it goes on as a store of its own.
func TestSnapshotHasWhatWasAcknowledged(t *testing.T) {
	for name, in := range map[string]store.LogIn{"files": store.Files, "database": store.InBolt} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(store.Options{Dir: t.TempDir(), Commit: 0, LogIn: in})
			if err != nil {
				t.Fatal(err)
			}
			defer end(t, s)
			tokens, err := store.OpenTable[string](s, "tokens")
			if err != nil {
				t.Fatal(err)
			}
			seq := uint64(0)
			say := func(n int) {
				done := make(chan error, n)
				for range n {
					seq++
					if _, err := s.Append(step{device: "a", seq: seq}.entry(), store.Now, waiter(func(err error) { done <- err })); err != nil {
						t.Fatal(err)
					}
				}
				for range n {
					if err := <-done; err != nil {
						t.Fatal(err)
					}
				}
			}
			for round := range 3 { // the third follows the second with nothing in between
				if round < 2 {
					say(300)
					put := make(chan error, 1)
					if err := tokens.Put("device", string(rune('a'+round)), store.Now, func(err error) { put <- err }); err != nil {
						t.Fatal(err)
					}
					if err := <-put; err != nil {
						t.Fatal(err)
					}
				}
				acked := seq
				dir := snapshot(t, s)
				if err := store.Renew(dir); err != nil {
					t.Fatal(err)
				}
				c := open(t, store.Options{Dir: dir})
				if n := frames(t, c); n != acked {
					t.Errorf("%d entries of %d", n, acked)
				}
				copied, err := store.OpenTable[string](c, "tokens")
				if err != nil {
					t.Fatal(err)
				}
				if v, ok, err := copied.Get("device"); err != nil || !ok || v != string(rune('a'+min(round, 1))) {
					t.Errorf("the token is %q", v)
				}
				if c.GatewayID() != s.GatewayID() || c.Epoch() == s.Epoch() {
					t.Errorf("gateway %s, epoch %s; want %s and another than %s", c.GatewayID(), c.Epoch(), s.GatewayID(), s.Epoch())
				}
				end(t, c)
			}
		})
	}
}

func TestSnapshotThatNobodyWants(t *testing.T) {
	s := open(t, store.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Snapshot(ctx, func(_ int64, db io.WriterTo) error {
		cancel()
		_, err := db.WriteTo(io.Discard)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	full := errors.New("the stick is full")
	if err := s.Snapshot(t.Context(), func(int64, io.WriterTo) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	end(t, s)
	if err := s.Snapshot(t.Context(), func(int64, io.WriterTo) error { return nil }); !errors.Is(err, store.ErrClosed) && err == nil {
		t.Error("a closed store made a copy")
	}
}

// Retention leaves free pages behind; compacting gives them back, and nothing else.
func TestCompact(t *testing.T) {
	dir := t.TempDir()
	id := fill(t, dir)
	path := filepath.Join(dir, "gateway.db")
	makeHoles(t, path)
	before, after, err := store.Compact(dir)
	if err != nil || after >= before {
		t.Fatalf("from %d to %d bytes: %v", before, after, err)
	}
	s := open(t, store.Options{Dir: dir})
	if n := frames(t, s); n != 2000 || s.GatewayID() != id {
		t.Errorf("%d entries of gateway %s are left, want 2000 of %s", n, s.GatewayID(), id)
	}
	if _, _, err := store.Compact(dir); !errors.Is(err, store.ErrLocked) {
		t.Errorf("while it is open: %v", err)
	}
	end(t, s)

	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 8192; i < len(b); i += 4096 { // page headers
		b[i+8] ^= 0xff
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Inspect(dir); err == nil {
		t.Error("nothing was found wrong with a broken database")
	}
	if _, _, err := store.Compact(dir); err == nil {
		t.Error("a broken database was compacted")
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(b) {
		t.Errorf("the broken database was changed: %v", err)
	}
}

// makeHoles lets a database grow and shrink again.
func makeHoles(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("hole"))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), make([]byte, 1<<20))
	})
	err = errors.Join(err, db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("hole")) }), db.Close())
	if err != nil {
		t.Fatal(err)
	}
}

// frames counts the frames that are kept, each of them once.
func frames(t *testing.T, s *store.Store) (n uint64) {
	t.Helper()
	last := uint64(0)
	err := s.Export(t.Context(), "a", time.Time{}, time.Unix(1<<32, 0), func(e *store.Entry, _ *protocol.Record) error {
		if e.Seq < last {
			t.Errorf("frame %d comes behind %d", e.Seq, last)
		}
		if e.Seq > last {
			n++
		}
		last = e.Seq
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
