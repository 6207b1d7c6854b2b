package store_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// A history of what was asked of a store, one step after the other, and how many
// steps were acknowledged by which operation of the disk. A cut must leave the
// store as it was after some number of steps, at least those acknowledged.
type script struct {
	mu    sync.Mutex
	steps []step
	acked []int // by operation of the disk: steps acknowledged before it
}

// step is an entry, or a change to the table when key is set.
type step struct {
	device string
	seq    uint64
	key    string
	value  string // "" = deleted
}

const cutDevices = 3

func (st step) entry() *store.Entry {
	at := int64(1795219200000 + st.seq*1000)
	e := &store.Entry{Kind: store.Telemetry, Device: st.device, Boot: protocol.Boot{7}, Seq: st.seq, Received: at}
	for i := range 1 + st.seq%4 {
		e.Records = append(e.Records, protocol.Record{Name: fmt.Sprint("r", i), Value: protocol.Int(int64(st.seq)), Time: at * 1e6, Absolute: true})
	}
	if st.seq%11 == 0 { // larger than a page now and then
		e.Records = append(e.Records, protocol.Record{Name: "text", Value: protocol.Text(strings.Repeat("x", 6000)), Time: at * 1e6, Absolute: true})
	}
	return e
}

// next makes the n-th step.
func next(n int) step {
	if n%5 == 4 {
		st := step{key: fmt.Sprint("k", n%7), value: fmt.Sprint(n)}
		if n%3 == 0 {
			st.value = ""
		}
		return st
	}
	return step{device: fmt.Sprint("d", n%cutDevices), seq: uint64(n + 1)}
}

// Segments of the matrix, so small that they are sealed and used again often.
const (
	cutSegment = 24 << 10
	cutSeal    = 20 << 10
)

// record runs a store and notes every write, of the database and of the log's
// files, in one journal, and when what was acknowledged.
func record(t *testing.T, logIn store.LogIn, commits int) (*segmenttest.Disk, *script) {
	disk := segmenttest.New(nil)
	sc := &script{}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "gateway.db")
		end(t, open(t, store.Options{Dir: dir, LogIn: logIn}))
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		disk.Put("gateway.db", content)
		var failing atomic.Int32 // writes or syncs of the log's files that will
		disk.Fault = func(what, _ string) error {
			if (what == "write" || what == "sync") && failing.Load() > 0 && failing.Add(-1) == 0 {
				return syscall.EIO
			}
			return nil
		}
		s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0, LogIn: logIn}, disk, cutSegment, cutSeal)
		if err != nil {
			t.Fatal(err)
		}
		follow(s, disk, path, int64(len(content)))
		told := func(error) { sc.ack(disk.Len()) }
		table, err := store.OpenTable[string](s, "words")
		if err != nil {
			t.Fatal(err)
		}
		tail, err := s.Tail("reader")
		if err != nil {
			t.Fatal(err)
		}
		for c := range commits {
			for range 1 + c%4 {
				st := next(len(sc.steps))
				sc.steps = append(sc.steps, st)
				if len(sc.steps)%50 == 0 {
					failing.Store(int32(1 + c%2))
				}
				if err := sc.ask(s, table, st, told); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			tail.Advance(s.Head())
			time.Sleep(7 * time.Second) // so that cursors and checkpoints are written, too
		}
		end(t, s)
		sc.upTo(disk.Len())
	})
	return disk, sc
}

// follow notes what is written to the database at path, which has size bytes now.
func follow(s *store.Store, disk *segmenttest.Disk, path string, size int64) {
	followWrites(s, disk, path, size)
	s.OnDurable(func() { disk.Sync("gateway.db") })
}

func followWrites(s *store.Store, disk *segmenttest.Disk, path string, size int64) {
	// Of bbolt's syncs there is no hook, but its order is known: pages, sync,
	// meta page, sync; and a file that grows is synced before.
	s.OnWrite(func(b []byte, off int64) error {
		if info, err := os.Stat(path); err == nil && info.Size() != size {
			size = info.Size()
			disk.Resize("gateway.db", size)
			disk.Sync("gateway.db")
		}
		if off < 2*4096 {
			disk.Sync("gateway.db")
		}
		disk.Write("gateway.db", b, off)
		return nil
	})
}

// ack notes that one more step is acknowledged after n operations.
func (sc *script) ack(n int) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.upTo(n)
	sc.acked[n]++
}

func (sc *script) upTo(n int) {
	for len(sc.acked) <= n {
		sc.acked = append(sc.acked, last(sc.acked))
	}
}

func last(n []int) int {
	if len(n) == 0 {
		return 0
	}
	return n[len(n)-1]
}

func (sc *script) ask(s *store.Store, table *store.Table[string], st step, told func(error)) error {
	switch {
	case st.key == "":
		_, err := s.Append(st.entry(), store.Measured, waiter(told))
		return err
	case st.value == "":
		return table.Delete(st.key, store.Measured, told)
	}
	return table.Put(st.key, st.value, store.Measured, told)
}

type waiter func(error)

func (w waiter) Committed(_ *store.Entry, err error) { w(err) }

// after is what the store must hold after n steps.
func (sc *script) after(n int) (entries []step, table map[string]string) {
	table = map[string]string{}
	for _, st := range sc.steps[:n] {
		switch {
		case st.key == "":
			entries = append(entries, st)
		case st.value == "":
			delete(table, st.key)
		default:
			table[st.key] = st.value
		}
	}
	return entries, table
}

// verify opens what a cut left and compares it with the script.
func (sc *script) verify(dir string, logIn store.LogIn, image segmenttest.Image, acked int, goOn bool) error {
	files := segmenttest.Image{}
	for name, b := range image {
		if name == "gateway.db" {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				return err
			}
			continue
		}
		files[name] = b
	}
	s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0, LogIn: logIn}, segmenttest.Reborn(files), cutSegment, cutSeal)
	if err != nil {
		return fmt.Errorf("the start is refused: %w", err)
	}
	defer s.Close()
	var got []step
	half := error(nil)
	err = s.Export(context.Background(), "", time.Time{}, time.Now().AddDate(50, 0, 0), func(e *store.Entry, r *protocol.Record) error {
		if r.Name == "r0" {
			st := step{device: e.Device, seq: e.Seq}
			got = append(got, st)
			if want := st.entry(); !slices.Equal(e.Records, want.Records) || e.Boot != want.Boot || e.Received != want.Received {
				half = fmt.Errorf("entry %+v is not what was said", e)
			}
		}
		return nil
	})
	if err := errors.Join(err, half, s.Check()); err != nil {
		return err
	}
	if h := s.Health(); h.Damaged > 0 {
		return fmt.Errorf("%d values are damaged", h.Damaged)
	}
	slices.SortFunc(got, func(a, b step) int { return cmp.Compare(a.seq, b.seq) }) // export goes device by device
	table := map[string]string{}
	words, err := store.OpenTable[string](s, "words")
	if err != nil {
		return err
	}
	if err := words.Each(func(k, v string) error { table[k] = v; return nil }); err != nil {
		return err
	}
	for n := acked; n <= len(sc.steps); n++ {
		entries, rows := sc.after(n)
		if slices.Equal(entries, got) && maps.Equal(rows, table) {
			return errors.Join(sc.verifyState(s, entries), sc.goOn(s, n, goOn))
		}
	}
	return fmt.Errorf("after %d acknowledged steps of %d there are %d entries and %v", acked, len(sc.steps), len(got), table)
}

// verifyState compares what follows from the log.
func (sc *script) verifyState(s *store.Store, entries []step) error {
	newest := map[string]uint64{}
	for _, st := range entries {
		newest[st.device] = st.seq
	}
	for d, seq := range newest {
		if got := s.Hello(d, []protocol.Boot{{7}})[0]; got != seq {
			return fmt.Errorf("%s: settled %d, want %d", d, got, seq)
		}
		if v, ok := s.NewestOf(d, "r0"); !ok || v.Value != protocol.Int(int64(seq)) {
			return fmt.Errorf("%s: newest %+v, want %d", d, v, seq)
		}
	}
	return nil
}

// goOn writes one more step, to see that the store still can.
func (sc *script) goOn(s *store.Store, n int, do bool) error {
	if !do {
		return nil
	}
	done := make(chan error, 1)
	st := step{device: "later", seq: uint64(n + 1)}
	if _, err := s.Append(st.entry(), store.Now, waiter(func(err error) { done <- err })); err != nil {
		return err
	}
	return <-done
}

// After a power cut at any moment the store starts, everything acknowledged is
// there, and nothing is there twice, half or out of order.
func TestPowerCut(t *testing.T) {
	commits, each, least := 400, 12, 10_000
	if underRace {
		commits, each, least = 25, 4, 0
	}
	cutPower(t, store.Files, commits, each, least)
}

func TestPowerCutInBolt(t *testing.T) {
	commits, each, least := 60, 6, 2000
	if underRace {
		commits, each, least = 15, 3, 0
	}
	cutPower(t, store.InBolt, commits, each, least)
}

// Power that is cut while the start after a cut reads, seals and goes on.
func TestPowerCutDuringRecovery(t *testing.T) {
	every, each := 800, 5
	if underRace {
		every, each = 6000, 2
	}
	disk, sc := record(t, store.Files, 150)
	dir := memoryDir(t)
	r := rand.New(rand.NewPCG(3, 4))
	count := 0
	var n int
	disk.Cuts(60, rand.New(rand.NewPCG(1, 2)), func(at int, image segmenttest.Image) {
		if n++; n%every != 0 || t.Failed() {
			return
		}
		second, err := recoverOn(dir, image)
		if err != nil {
			t.Fatal(err)
		}
		second.Cuts(each, r, func(again int, image segmenttest.Image) {
			count++
			if err := sc.verify(dir, store.Files, image, sc.acked[at], false); err != nil {
				t.Errorf("cut before operation %d, then before operation %d of the recovery: %v", at, again, err)
			}
		})
	})
	t.Logf("%d images", count)
	if count == 0 {
		t.Error("nothing was cut")
	}
}

// recoverOn starts a store on an image, closes it and returns the journal of that.
func recoverOn(dir string, image segmenttest.Image) (*segmenttest.Disk, error) {
	path := filepath.Join(dir, "gateway.db")
	database := image["gateway.db"]
	if err := os.WriteFile(path, database, 0o600); err != nil {
		return nil, err
	}
	files := maps.Clone(image)
	delete(files, "gateway.db")
	disk := segmenttest.New(files)
	disk.Put("gateway.db", database)
	ready := make(chan struct{})
	s, err := store.OpenHeld(store.Options{Dir: dir, Commit: 0}, disk, cutSegment, cutSeal, ready,
		func() { disk.Sync("gateway.db") })
	if err != nil {
		return nil, err
	}
	followWrites(s, disk, path, int64(len(database)))
	close(ready)
	return disk, s.Close()
}

func cutPower(t *testing.T, logIn store.LogIn, commits, each, least int) {
	disk, sc := record(t, logIn, commits)
	type cut struct {
		at    int
		image segmenttest.Image
	}
	cuts := make(chan cut, 16)
	var count int
	go func() {
		defer close(cuts)
		disk.Cuts(each, rand.New(rand.NewPCG(1, 2)), func(at int, image segmenttest.Image) {
			count++
			cuts <- cut{at, image}
		})
	}()
	var workers sync.WaitGroup
	for range 2 {
		dir := memoryDir(t)
		workers.Go(func() {
			n := 0
			for c := range cuts {
				n++
				if t.Failed() {
					continue
				}
				if err := sc.verify(dir, logIn, c.image, sc.acked[c.at], n%10 == 0); err != nil {
					t.Errorf("cut before operation %d of %d: %v", c.at, disk.Len(), err)
				}
			}
			if aside, _ := filepath.Glob(filepath.Join(dir, "*.corrupt-*")); len(aside) > 0 {
				t.Errorf("set aside: %v", aside)
			}
		})
	}
	workers.Wait()
	if count < least {
		t.Errorf("only %d images", count)
	}
	t.Logf("%d images of %d operations and %d steps", count, disk.Len(), len(sc.steps))
}

// memoryDir is a directory in memory where there is one: the images are many.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "hearthgate-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
