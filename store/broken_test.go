package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
	bolt "go.etcd.io/bbolt"
)

// lag makes a reader called slow that has n large frames to read, more than are
// in memory.
func lag(t *testing.T, s *store.Store, n int) *store.Tail {
	t.Helper()
	tail, err := s.Tail("slow")
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(n) {
		sayMuch(t, s, seq+1)
	}
	return tail
}

func sayMuch(t *testing.T, s *store.Store, seq uint64) {
	t.Helper()
	e := step{device: "a", seq: seq}.entry()
	e.Records = append(e.Records, protocol.Record{Name: "much", Value: protocol.Text(strings.Repeat("x", 60_000)), Time: e.Records[0].Time, Absolute: true})
	done := make(chan error, 1)
	if _, err := s.Append(e, store.Now, waiter(func(err error) { done <- err })); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// takeAll reads all there is and wants it without a gap.
func takeAll(t *testing.T, tail *store.Tail, from, to int) {
	t.Helper()
	for from <= to {
		entries, skipped, err := tail.Next(t.Context(), 10)
		if err != nil || skipped > 0 || int(entries[0].Seq) != from {
			t.Fatalf("%d entries from %d on, %d skipped, %v", len(entries), from, skipped, err)
		}
		from += len(entries)
	}
}

// While the disk keeps the first record of a new segment waiting, a reader far
// behind goes on where it is.
func TestAReaderFarBehindWhileASegmentBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := segmenttest.New(nil)
		hang, begun := false, false
		writes := 0
		disk.Fault = func(what, _ string) error {
			switch {
			case !hang:
			case what == "open direct":
				begun = true
			case what == "write" && begun:
				if writes++; writes == 2 { // behind the header
					time.Sleep(5 * time.Second)
				}
			}
			return nil
		}
		s, err := store.OpenOn(store.Options{Dir: t.TempDir(), Commit: 0}, disk, 8<<20, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		tail := lag(t, s, 120)
		hang = true
		for seq := uint64(121); !begun || writes < 2; seq++ {
			e := step{device: "b", seq: seq}.entry()
			e.Records[0].Value = protocol.Text(strings.Repeat("x", 60_000))
			if _, err := s.Append(e, store.Now, nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		takeAll(t, tail, 1, 40) // the later ones are in memory
		time.Sleep(time.Minute)
		end(t, s)
	})
}

// The log is in the database, which fails and is opened anew again and again, at
// times in vain: sealing and commits go on, and a reader far behind misses nothing.
func TestTheLogInADatabaseThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := store.OpenOn(store.Options{Dir: memoryDir(t), Commit: 0, LogIn: store.InBolt}, segmenttest.New(nil), 64<<10, 8<<10)
		if err != nil {
			t.Fatal(err)
		}
		tail := lag(t, s, 100)
		s.SetDatabaseFault(func() error { return syscall.EIO })
		store.Hide(s, true)
		if _, err := s.Append(step{device: "a", seq: 101}.entry(), store.Now, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // it could not be opened anew
		go func() {
			time.Sleep(5 * time.Second)
			s.SetDatabaseFault(nil)
			store.Hide(s, false)
		}()
		takeAll(t, tail, 1, 101)
		r := rand.New(rand.NewPCG(7, 7))
		s.SetDatabaseFault(func() error {
			if r.IntN(3) == 0 {
				return syscall.EIO
			}
			return nil
		})
		for seq := uint64(102); seq <= 200; seq++ {
			if _, err := s.Append(step{device: "a", seq: seq}.entry(), store.Now, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
		}
		s.SetDatabaseFault(nil)
		time.Sleep(10 * time.Second)
		takeAll(t, tail, 102, 200)
		end(t, s)
	})
}

// A sealing that fails at its very end may be on disk all the same: nothing is in
// history twice.
func TestASealingThatOnlySeemedToFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, store.Options{Dir: dir, Commit: 0})
		f, err := os.OpenFile(filepath.Join(dir, "gateway.db"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		failed := false
		s.OnWrite(func(b []byte, off int64) error {
			if off >= 2*4096 || failed { // only the meta page
				return nil
			}
			failed = true
			_, err := f.WriteAt(b, off)
			return errors.Join(err, syscall.EIO)
		})
		for seq := range uint64(20) {
			sayNow(t, s, "a", seq+1)
		}
		time.Sleep(2 * time.Hour)
		frames := 0
		err = s.Export(t.Context(), "", time.Time{}, time.Now().AddDate(50, 0, 0), func(*store.Entry, *protocol.Record) error { frames++; return nil })
		if err != nil || frames != 20 || !failed {
			t.Errorf("%d records of 20, %v; failed %v", frames, err, failed)
		}
		end(t, s)
	})
}

// A word that cannot be read any more does not get another meaning.
func TestALostWordIsNotReused(t *testing.T) {
	for name, lose := range map[string]func(b *bolt.Bucket) error{
		"the last one": func(b *bolt.Bucket) error {
			k, v := b.Cursor().Last()
			v = append([]byte(nil), v...)
			v[len(v)-1] ^= 1
			return b.Put(append([]byte(nil), k...), v)
		},
		"all": func(b *bolt.Bucket) error {
			var keys [][]byte
			err := b.ForEach(func(k, _ []byte) error { keys = append(keys, append([]byte(nil), k...)); return nil })
			for _, k := range keys {
				err = errors.Join(err, b.Put(k, []byte("nothing")))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, store.Options{Dir: dir, Commit: 0})
			if _, err := s.Tail("slow"); err != nil {
				t.Fatal(err)
			}
			for i := range 5 {
				sayNow(t, s, fmt.Sprint("old", i), 1)
			}
			end(t, s)
			s = open(t, store.Options{Dir: dir, Commit: 0})
			if err := store.Update(s, "words", lose); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
			for round := range 3 {
				s = open(t, store.Options{Dir: dir, Commit: 0})
				for i := range 5 {
					sayNow(t, s, fmt.Sprint("new", round, i), 1)
				}
				_ = s.Close()
			}
			s = open(t, store.Options{Dir: dir, Commit: 0})
			tail, err := s.Tail("slow")
			if err != nil {
				t.Fatal(err)
			}
			fresh := 0
			for fresh < 15 {
				entries, _, err := tail.Next(t.Context(), 100)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					if old := strings.HasPrefix(e.Device, "old"); old != (e.Pos <= 5) {
						t.Errorf("entry %d is of %s", e.Pos, e.Device)
					}
					if e.Pos > 5 {
						fresh++
					}
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The cursor of a new reader is on disk with the first entry behind it: after a
// power cut the reader is there and has it to read.
func TestANewReaderOutlivesAPowerCut(t *testing.T) {
	disk := segmenttest.New(nil)
	dir := t.TempDir()
	s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0}, disk, 64<<10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tail("first"); err != nil {
		t.Fatal(err)
	}
	sayNow(t, s, "a", 1)
	if _, err := s.Tail("second"); err != nil {
		t.Fatal(err)
	}
	sayNow(t, s, "a", 2)
	image, at := disk.Content(), copyOf(t, dir)
	end(t, s)
	s, err = store.OpenOn(store.Options{Dir: at, Commit: 0}, segmenttest.Reborn(image), 64<<10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint64{"first": 2, "second": 1} {
		if n, skipped := read(t, s, name); n != want || skipped > 0 {
			t.Errorf("%s has %d to read, %d skipped; want %d", name, n, skipped, want)
		}
	}
	end(t, s)
}

// Who asks for history while the store is closed over a disk that fails gets an
// answer.
func TestHistoryWhileAFailingStoreIsClosed(t *testing.T) {
	s, err := store.OpenUnsealed(store.Options{Dir: t.TempDir(), Commit: 0})
	if err != nil {
		t.Fatal(err)
	}
	sayNow(t, s, "a", 1)
	_ = s.Close()
	if _, err := s.History(t.Context(), "a", "temperature", time.Time{}, time.Now().AddDate(50, 0, 0), 0); err == nil {
		t.Error("there is history in a store that is closed")
	}
}
