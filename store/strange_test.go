package store_test

import (
	"bytes"
	"log/slog"
	"maps"
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

// What the store finds that is not of its making: a disk with a bad place, files of
// another home, a database of another day.

// A file of the log cannot be read any more, while others can be written: sealing,
// history and a reader far behind go on behind it, and it was reported.
func TestAFileOfTheLogGoesBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := segmenttest.Reborn(nil)
		var bad atomic.Bool
		disk.Fault = func(what, name string) error {
			if what == "read" && name == "log-0001.seg" && bad.Load() {
				return syscall.EIO
			}
			return nil
		}
		s, err := store.OpenOn(store.Options{Dir: memoryDir(t), Commit: 0}, disk, 1<<20, 4<<20)
		if err != nil {
			t.Fatal(err)
		}
		tail := lag(t, s, 40) // in three files
		bad.Store(true)
		for seq := range uint64(60) {
			sayMuch(t, s, 41+seq)
		}
		time.Sleep(10 * time.Second)
		sayMuch(t, s, 101)
		time.Sleep(10 * time.Second)
		if h := s.Health(); h.SealErr != "" || h.Damaged == 0 || h.InMemory {
			t.Errorf("health %+v", h)
		}
		var got []uint64
		missed := uint64(0)
		for len(got) == 0 || slices.Max(got) < 101 {
			entries, skipped, err := tail.Next(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			missed += skipped
			for _, e := range entries {
				got = append(got, e.Seq)
			}
		}
		if missed == 0 || missed > 20 || len(got)+int(missed) != 101 {
			t.Errorf("a reader got %d of 101 entries and skipped %d", len(got), missed)
		}
		values, err := s.History(t.Context(), "a", "r0", time.Time{}, time.Now().AddDate(50, 0, 0), 0)
		if err != nil || len(values) < 80 {
			t.Errorf("history has %d of 101, %v", len(values), err)
		}
		end(t, s)
	})
}

// A file of another home's log lies in the directory, the newest of all: nothing of
// it is told here, nothing of it is lost, even when the database has to be begun
// anew.
func TestAFileOfAnotherHome(t *testing.T) {
	strange := segmenttest.Reborn(nil)
	s, err := store.OpenOn(store.Options{Dir: t.TempDir(), Commit: 0}, strange, cutSegment, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(200) {
		sayNow(t, s, "stranger", seq+1)
	}
	foreign := strange.Content()["log-0001.seg"]
	newest := strange.Content()["log-0003.seg"]
	end(t, s)

	dir, disk := t.TempDir(), segmenttest.Reborn(nil)
	if s, err = store.OpenOn(store.Options{Dir: dir, Commit: 0}, disk, cutSegment, 1<<20); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(60) {
		sayNow(t, s, "a", seq+1)
	}
	image := disk.Content()
	database, err := os.ReadFile(filepath.Join(dir, "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	end(t, s)
	for name, c := range map[string]struct {
		database  []byte
		condemned string
		foreign   map[string][]byte
	}{
		"a sound database":        {database, "", map[string][]byte{"log-0050.seg": foreign, "log-0099.seg": newest}},
		"one with a bad place":    {database, "a bad place", map[string][]byte{"log-0050.seg": foreign, "log-0099.seg": newest}},
		"one that cannot be read": {make([]byte, 40_000), "", map[string][]byte{"log-0099.seg": newest}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "gateway.db"), c.database, 0o600); err != nil {
				t.Fatal(err)
			}
			if c.condemned != "" {
				if err := os.WriteFile(filepath.Join(dir, "gateway.db.condemned"), []byte(c.condemned), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			image := maps.Clone(image)
			maps.Copy(image, c.foreign)
			disk := segmenttest.Reborn(image)
			s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0}, disk, cutSegment, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Hello("a", []protocol.Boot{{1}})[0]; got != 60 || s.Head() != 60 {
				t.Errorf("settled %d, head %d", got, s.Head())
			}
			if values, err := s.History(t.Context(), "stranger", "temperature", time.Time{}, time.Now().AddDate(50, 0, 0), 0); err != nil || len(values) > 0 {
				t.Errorf("a stranger has %d values here, %v", len(values), err)
			}
			for seq := range uint64(100) {
				sayNow(t, s, "a", seq+61)
			}
			end(t, s)
			kept := 0
			for name, b := range disk.Content() {
				if strings.Contains(name, ".seg.orphan-") && (bytes.Equal(b, foreign) || bytes.Equal(b, newest)) {
					kept++
				}
			}
			if kept != len(c.foreign) {
				t.Errorf("%d of the other home's %d files are there", kept, len(c.foreign))
			}
		})
	}
}

// Somebody copied an old gateway.db over the one that belongs to the log's files:
// what the files still have is there, what is in neither is named, and nothing of
// what comes later is taken for it.
func TestAnOldDatabaseBesideNewerFiles(t *testing.T) {
	for _, sealEvery := range []int64{1 << 20, 8 << 10} {
		dir, disk := t.TempDir(), segmenttest.Reborn(nil)
		o := store.Options{Dir: dir, Commit: 0}
		s, err := store.OpenOn(o, disk, cutSegment, sealEvery)
		if err != nil {
			t.Fatal(err)
		}
		slow, err := s.Tail("slow")
		if err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(50) {
			sayNow(t, s, "a", seq+1)
		}
		slow.Advance(50)
		old := copyOf(t, dir)
		for seq := range uint64(150) {
			sayNow(t, s, "a", seq+51)
		}
		slow.Advance(150)
		end(t, s)

		var log bytes.Buffer
		o = store.Options{Dir: old, Commit: 0, Log: slog.New(slog.NewTextHandler(&log, nil))}
		if s, err = store.OpenOn(o, disk, cutSegment, sealEvery); err != nil {
			t.Fatal(err)
		}
		if got := s.Hello("a", []protocol.Boot{{1}})[0]; got != 200 || s.Head() != 200 {
			t.Errorf("settled %d, head %d", got, s.Head())
		}
		entries, skipped := read(t, s, "slow")
		values, err := s.History(t.Context(), "a", "temperature", time.Time{}, time.Now().AddDate(50, 0, 0), 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(values) != 160 || entries != 50 || skipped > 0 || s.Health().Damaged != 1 || !strings.Contains(log.String(), "records 81 to 120 of the log") {
			t.Errorf("sealed each %d bytes: %d samples of 200, a reader got %d and skipped %d, %d damaged\n%s", sealEvery, len(values), entries, skipped, s.Health().Damaged, log.String())
		}
		for seq := range uint64(50) {
			sayNow(t, s, "a", seq+201)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = store.OpenOn(store.Options{Dir: old, Commit: 0}, disk, cutSegment, sealEvery); err != nil {
			t.Fatal(err)
		}
		if s.Head() != 250 {
			t.Errorf("head %d", s.Head())
		}
		end(t, s)
	}
}

// A bit of the log's epoch flips in the database: the log's files are ours all the
// same, now and at the next start.
func TestABitFlipsInTheLogsEpoch(t *testing.T) {
	dir := t.TempDir()
	s, err := store.OpenUnsealed(store.Options{Dir: dir, Commit: 0})
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(20) {
		sayNow(t, s, "a", seq+1)
	}
	s.SetDatabaseFault(nil)
	err = store.Update(s, "meta", func(b *bolt.Bucket) error {
		epoch := bytes.Clone(b.Get([]byte("log")))
		epoch[3] ^= 4
		return b.Put([]byte("log"), epoch)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.SetDatabaseFault(func() error { return syscall.ENOSPC })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for start := range 2 {
		s = open(t, store.Options{Dir: dir, Commit: 0})
		if got := s.Hello("a", []protocol.Boot{{1}})[0]; got != 20 || s.Head() != 20 {
			t.Errorf("settled %d, head %d", got, s.Head())
		}
		if damaged := s.Health().Damaged; (damaged > 0) != (start == 0) {
			t.Errorf("start %d: %d damaged", start, damaged)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
