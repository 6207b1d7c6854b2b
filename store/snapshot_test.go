package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
	bolt "go.etcd.io/bbolt"
)

// snapshot writes a copy of s into a directory of its own, and returns what of the
// log is in it.
func snapshot(t *testing.T, s *store.Store) (dir string, pages [][]byte) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "gateway.db"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var said, wrote int64
	err = s.Snapshot(t.Context(), func(c *store.Copy) (err error) {
		said = c.Size()
		if wrote, err = c.WriteTo(f); err == nil {
			err = c.Log(func(page []byte) error { pages = append(pages, page); return nil })
		}
		return err
	})
	if err := errors.Join(err, f.Close()); err != nil || said != wrote {
		t.Fatalf("%d bytes of %d were written: %v", wrote, said, err)
	}
	return dir, pages
}

// paged are pages as Renew wants them.
func paged(pages [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, p := range pages {
			if !yield(p, nil) {
				return
			}
		}
	}
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
				dir, pages := snapshot(t, s)
				if _, err := store.Renew(dir, paged(pages)); err != nil {
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

// What a reader had not read when a copy was made is in it: under a new epoch the
// stream goes on where it was, with the same frames in the same places.
func TestACopyHasWhatReadersHaveNotRead(t *testing.T) {
	for name, in := range map[string]store.LogIn{"files": store.Files, "database": store.InBolt} {
		t.Run(name, func(t *testing.T) {
			dir, readers := t.TempDir(), []string{"mqtt", "homie"}
			disk := segmenttest.Reborn(nil)
			begin := func() *store.Store {
				s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0, LogIn: in}, disk, cutSegment, cutSeal)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := begin()
			var tails []*store.Tail
			for _, reader := range readers {
				tail, err := s.Tail(reader)
				if err != nil {
					t.Fatal(err)
				}
				tails = append(tails, tail)
			}
			for seq := uint64(1); seq <= 170; seq++ {
				sayNow(t, s, "a", seq)
				for _, tail := range tails {
					tail.Advance(min(100, store.Position(seq)))
				}
			}
			end(t, s) // which writes cursors down
			s = begin()
			for seq := uint64(171); seq <= 300; seq++ {
				sayNow(t, s, "a", seq)
			}
			copied, pages := snapshot(t, s)
			end(t, s)

			made, err := store.Renew(copied, paged(pages))
			if err != nil || (in == store.Files) != (len(made) > 0) {
				t.Fatalf("%d pages became %v: %v", len(pages), made, err)
			}
			for again := range 2 {
				c := open(t, store.Options{Dir: copied, Commit: 0})
				sayNow(t, c, "a", uint64(301+again))
				for _, reader := range readers {
					readsOn(t, c, reader, 100, store.Position(301+again))
				}
				end(t, c)
			}
		})
	}
}

// readsOn lets a reader read from where it is to where the log ends: frame n is at n.
func readsOn(t *testing.T, s *store.Store, reader string, after, to store.Position) {
	t.Helper()
	tail, err := s.Tail(reader)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	for after < to {
		entries, skipped, err := tail.Next(t.Context(), 50)
		if err != nil || skipped > 0 {
			t.Fatalf("%s skips %d behind %d: %v", reader, skipped, after, err)
		}
		for _, e := range entries {
			if after++; e.Pos != after || e.Seq != uint64(after) {
				t.Fatalf("%s gets frame %d at %d, want %d", reader, e.Seq, e.Pos, after)
			}
		}
	}
}

// A copy whose log is damaged, or out of order, becomes no store.
func TestADamagedCopyIsRefused(t *testing.T) {
	s, err := store.OpenOn(store.Options{Dir: t.TempDir(), Commit: 0}, segmenttest.Reborn(nil), cutSegment, cutSeal)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tail("mqtt"); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(50) {
		sayNow(t, s, "a", seq+1)
	}
	dir, pages := snapshot(t, s)
	end(t, s)
	flipped := bytes.Clone(pages[0])
	flipped[len(flipped)/2] ^= 1
	numbered := func(n uint64) []byte {
		record := append(binary.BigEndian.AppendUint64(nil, n), 1, 0)
		return append(binary.LittleEndian.AppendUint32(nil, crc32.Checksum(record, crc32.MakeTable(crc32.Castagnoli))), record...)
	}
	for what, pages := range map[string][][]byte{
		"a bit": {flipped}, "an end": {pages[0][:len(pages[0])-1]}, "twice": {pages[0], pages[0]},
		"no number": {numbered(0)}, "a number that would fill the disk": {numbered(1), numbered(1 << 20)},
	} {
		if _, err := store.Renew(dir, paged(pages)); err == nil {
			t.Errorf("%s: it was taken", what)
		}
	}
}

func TestSnapshotThatNobodyWants(t *testing.T) {
	s := open(t, store.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Snapshot(ctx, func(c *store.Copy) error {
		cancel()
		_, err := c.WriteTo(io.Discard)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	full := errors.New("the stick is full")
	if err := s.Snapshot(t.Context(), func(*store.Copy) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	end(t, s)
	if err := s.Snapshot(t.Context(), func(*store.Copy) error { return nil }); !errors.Is(err, store.ErrClosed) && err == nil {
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
