package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
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
		var hang, begun atomic.Bool
		var writes atomic.Int32
		disk.Fault = func(what, _ string) error { // by the store's goroutines
			switch {
			case !hang.Load():
			case what == "open direct":
				begun.Store(true)
			case what == "write" && begun.Load():
				if writes.Add(1) == 2 { // behind the header
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
		hang.Store(true)
		for seq := uint64(121); writes.Load() < 2; seq++ {
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
		var tries atomic.Uint64
		s.SetDatabaseFault(func() error { // by the store's goroutines
			if rand.New(rand.NewPCG(7, tries.Add(1))).IntN(3) == 0 {
				return syscall.EIO
			}
			return nil
		})
		r := rand.New(rand.NewPCG(7, 0))
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

// A database that does not answer keeps nobody from stopping: everything that was
// acknowledged is in the log, and the next start has it.
func TestCloseWhileTheDatabaseIsMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, disk := memoryDir(t), segmenttest.Reborn(nil)
		s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0}, disk, 1<<20, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		mute := make(chan struct{})
		s.SetDatabaseFault(func() error { <-mute; return nil })
		for seq := range uint64(20) {
			sayNow(t, s, "a", seq+1)
		}
		image, at := disk.Content(), copyOf(t, dir)
		began := time.Now()
		if err := s.Close(); err == nil || time.Since(began) > time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		close(mute)
		if s, err = store.OpenOn(store.Options{Dir: at, Commit: 0}, segmenttest.Reborn(image), 1<<20, 1<<20); err != nil {
			t.Fatal(err)
		}
		if got := s.Hello("a", []protocol.Boot{{1}})[0]; got != 20 {
			t.Errorf("settled %d", got)
		}
		end(t, s)
	})
}

// One bit flips anywhere, or a file of the log ends anywhere: the start succeeds, nothing is read that was never
// said, and what is missing was reported.
func TestABitFlipsAnywhere(t *testing.T) {
	image, sc := killed(t, 250)
	said := map[step]bool{}
	for _, st := range sc.steps {
		said[st] = true
	}
	var names []string
	for name := range image {
		names = append(names, name)
	}
	slices.Sort(names)
	whole := 0
	dir := memoryDir(t)
	r := rand.New(rand.NewPCG(11, 12))
	flips := 600
	if underRace {
		flips = 60
	}
	for flip := range flips {
		name := names[r.IntN(len(names))]
		if flip%2 == 0 {
			name = "gateway.db"
		}
		spoiled := maps.Clone(image)
		b := slices.Clone(image[name])
		at := r.IntN(len(b))
		b[at] ^= 1 << r.IntN(8)
		if flip%50 == 49 && name != "gateway.db" {
			b = b[:at]
		}
		spoiled[name] = b
		n, reported := readSpoiled(t, fmt.Sprintf("bit at byte %d of %s", at, name), filepath.Join(dir, fmt.Sprint(flip)), spoiled, said)
		if flip == 0 || n > whole {
			whole = n
		}
		if n < whole && !reported {
			t.Errorf("bit at byte %d of %s, or its end there: %d entries of %d, and nothing was said", at, name, n, whole)
		}
	}
	entries := 0
	for _, st := range sc.steps {
		if st.key == "" && st.device != forgotten {
			entries++
		}
	}
	if whole != entries {
		t.Errorf("%d entries of %d were read at most", whole, entries)
	}
}

// What stands in meta says what all the rest means. One bit of it flips, in the name of a
// row or in what it says: nothing is lost for that.
func TestABitFlipsInMeta(t *testing.T) {
	image, sc := killed(t, 250)
	said := map[step]bool{}
	for _, st := range sc.steps {
		said[st] = true
	}
	database := image["gateway.db"]
	dir := memoryDir(t)
	whole, _ := readSpoiled(t, "nothing", filepath.Join(dir, "whole"), image, said)
	flips := 0
	for _, row := range []struct {
		key    string
		length int
	}{{"copy", 4}, {"format", 1}, {"gateway", 8}, {"epoch", 16}, {"log", 8}, {"place", 1}, {"sealed", 16}} {
		at := bytes.LastIndex(database, []byte(row.key))
		for from := at; at < from+len(row.key)+row.length; at++ {
			for bit := range 8 {
				if row.key != "place" && (at+bit)%4 > 0 || underRace && (at+bit)%8 > 0 {
					continue
				}
				flips++
				spoiled := maps.Clone(image)
				b := slices.Clone(database)
				b[at] ^= 1 << bit
				spoiled["gateway.db"] = b
				what := fmt.Sprintf("bit %d at byte %d of %s", bit, at-from, row.key)
				n, reported := readSpoiled(t, what, filepath.Join(dir, fmt.Sprint(flips)), spoiled, said)
				if n != whole || !reported {
					t.Errorf("%s: %d entries of %d, reported %v", what, n, whole, reported)
				}
			}
		}
	}
}

// readSpoiled reads all of history from a store that may be damaged.
func readSpoiled(t *testing.T, what, dir string, files segmenttest.Image, said map[step]bool) (n int, reported bool) {
	t.Helper()
	files = maps.Clone(files)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "gateway.db"), files["gateway.db"], 0o600); err != nil {
		t.Fatal(err)
	}
	delete(files, "gateway.db")
	var log bytes.Buffer
	o := store.Options{Dir: dir, Commit: 0, Log: slog.New(slog.NewTextHandler(&log, nil))}
	s, err := store.OpenOn(o, segmenttest.Reborn(files), cutSegment, cutSeal)
	if err != nil {
		t.Fatalf("%s: the start is refused: %v", what, err)
	}
	seen := map[step]bool{}
	err = s.Export(t.Context(), "", time.Time{}, time.Now().AddDate(50, 0, 0), func(e *store.Entry, r *protocol.Record) error {
		st := step{device: e.Device, seq: e.Seq}
		if want := st.entry(); !said[st] || !slices.Contains(want.Records, *r) {
			t.Errorf("%s: nobody said %+v", what, e)
		}
		if st.device != forgotten {
			seen[st] = true
		}
		return nil
	})
	sound(t, s)
	reported = err != nil || s.Check() != nil || s.Health().Damaged > 0 || strings.Contains(log.String(), "cut off")
	_ = s.Close()
	return len(seen), reported
}
