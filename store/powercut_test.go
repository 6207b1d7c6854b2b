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
	"strconv"
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

const (
	cutDevices = 3
	forgotten  = "old"      // a device whose samples retention takes at once
	imported   = "imported" // one whose samples are of another store
)

func (st step) entry() *store.Entry {
	at := int64(1795219200000 + st.seq*1000)
	if st.device == forgotten {
		at -= 300 * 86_400_000
	}
	e := &store.Entry{Kind: store.Telemetry, Device: st.device, Boot: protocol.Boot{7}, Seq: st.seq, Received: at}
	if st.device == imported {
		e.Kind = store.Imported
	}
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
	if n%17 == 0 {
		return step{device: forgotten, seq: uint64(n + 1)}
	}
	if n%13 == 6 {
		return step{device: imported, seq: uint64(n + 1)}
	}
	return step{device: fmt.Sprint("d", n%cutDevices), seq: uint64(n + 1)}
}

// Segments of the matrix, so small that they are sealed and used again often.
const (
	cutSegment = 24 << 10
	cutSeal    = 20 << 10
)

// A reader that is this far behind, and then reads on to half of it.
const cutLag = 120

// record runs a store and notes every write, of the database and of the log's
// files, in one journal, and when what was acknowledged. Now and then a day passes,
// in which days are merged and old ones go, and with more than one place it is
// stopped and goes on in the next. At times the disk is broken for so long that the
// store works in memory.
func record(t *testing.T, commits int, places ...store.LogIn) (*segmenttest.Disk, *script) {
	disk := segmenttest.New(nil)
	sc := &script{}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.UnixMilli(1795219200000).Add(-time.Hour)))
		dir := t.TempDir()
		path := filepath.Join(dir, "gateway.db")
		end(t, open(t, store.Options{Dir: dir, LogIn: places[0]}))
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		disk.Put("gateway.db", content)
		write := followWrites(disk, path, int64(len(content)))
		var failing atomic.Int32 // writes or syncs of the log's files that will
		var broken atomic.Bool   // all of them
		disk.Fault = func(what, _ string) error {
			if broken.Load() && (what == "write" || what == "sync") {
				return syscall.EIO
			}
			if (what == "write" || what == "sync") && failing.Load() > 0 && failing.Add(-1) == 0 {
				return syscall.EIO
			}
			return nil
		}
		told := func(error) { sc.ack(disk.Len()) }
		for run, place := range places {
			o := store.Options{Dir: dir, Commit: 0, LogIn: place, Retain: 100 * 24 * time.Hour}
			s, err := store.OpenWatched(o, disk, cutSegment, cutSeal, write, func() { disk.Sync("gateway.db") })
			if err != nil {
				t.Fatal(err)
			}
			table, err := store.OpenTable[string](s, "words")
			if err != nil {
				t.Fatal(err)
			}
			var tails []*store.Tail
			for _, name := range []string{"reader", "slow"} {
				tail, err := s.Tail(name)
				if err != nil {
					t.Fatal(err)
				}
				tails = append(tails, tail)
			}
			for c := range commits / len(places) {
				broken.Store(c%60 == 40 && place == store.Files)
				for range 1 + c%4 {
					st := next(len(sc.steps))
					sc.steps = append(sc.steps, st)
					if len(sc.steps)%50 == 0 && run == 0 {
						failing.Store(int32(1 + c%2))
					}
					if err := sc.ask(s, table, st, told); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if broken.Load() {
					throughMemory(t, s, &broken)
				}
				tails[0].Advance(s.Head())
				if lag := tails[1].Lag(); lag > cutLag {
					tails[1].Advance(s.Head() - cutLag/2)
				}
				time.Sleep(7 * time.Second) // so that cursors are written, too
				if c%70 == 60 {
					time.Sleep(25 * time.Hour)
				}
			}
			end(t, s)
		}
		sc.upTo(disk.Len())
	})
	return disk, sc
}

// throughMemory waits until the store works in memory and, with a sound disk, until
// it does not any more.
func throughMemory(t *testing.T, s *store.Store, broken *atomic.Bool) {
	time.Sleep(15 * time.Second)
	if !s.Era().InMemory() {
		t.Error("the store does not work in memory")
	}
	broken.Store(false)
	time.Sleep(3 * time.Second)
}

// followWrites notes what is written to the database at path, which has size
// bytes now. Of bbolt's syncs there is no hook, but its order is known: pages,
// sync, meta page, sync; and a file that grows is synced before.
func followWrites(disk *segmenttest.Disk, path string, size int64) func(b []byte, off int64) error {
	return func(b []byte, off int64) error {
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
	}
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
	read, err := readSlow(s)
	if err != nil {
		return err
	}
	err = s.Export(context.Background(), "", time.Time{}, time.Now().AddDate(50, 0, 0), func(e *store.Entry, r *protocol.Record) error {
		if r.Name == "r0" && e.Device != forgotten {
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
		kept := slices.DeleteFunc(slices.Clone(entries), func(st step) bool { return st.device == forgotten })
		if slices.Equal(kept, got) && maps.Equal(rows, table) && read.is(entries) {
			return errors.Join(sc.verifyState(s, entries), sc.goOn(s, n, goOn))
		}
	}
	return fmt.Errorf("after %d acknowledged steps of %d there are %d entries, a reader at %d got %d, and %v", acked, len(sc.steps), len(got), read.after, len(read.entries), table)
}

// slowly is what a reader that was behind got.
type slowly struct {
	after   store.Position
	entries []step
}

// readSlow reads with the cursor of the reader that lags, if it is durable.
func readSlow(s *store.Store) (got slowly, err error) {
	i := slices.IndexFunc(s.Cursors(), func(c store.Cursor) bool { return c.Name == "slow" })
	if i < 0 {
		got.after = s.Head()
		return got, nil
	}
	got.after = s.Cursors()[i].Pos
	tail, err := s.Tail("slow")
	if err != nil {
		return got, err
	}
	defer tail.Close()
	for at := got.after; at < s.Head(); {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		entries, skipped, err := tail.Next(ctx, 50)
		cancel()
		if err != nil || skipped > 0 {
			return got, fmt.Errorf("a reader skipped %d entries behind %d: %w", skipped, at, err)
		}
		for _, e := range entries {
			st := step{device: e.Device, seq: e.Seq}
			if want := st.entry(); !slices.Equal(e.Records, want.Records) || e.Pos != at+1 {
				return got, fmt.Errorf("a reader got %+v behind %d, which is not what was said", e, at)
			}
			got.entries = append(got.entries, st)
			at = e.Pos
		}
	}
	return got, nil
}

// is reports whether it got all entries behind its cursor, in order.
func (got slowly) is(all []step) bool {
	return int(got.after) <= len(all) && slices.Equal(all[got.after:], got.entries)
}

// verifyState compares what follows from the log.
func (sc *script) verifyState(s *store.Store, entries []step) error {
	newest := map[string]uint64{}
	for _, st := range entries {
		if st.device != imported { // which is no state
			newest[st.device] = st.seq
		}
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
	commits, each, least := 280, 8, 10_000
	if underRace {
		commits, each, least = 25, 4, 0
	}
	if n := images(t); n > 0 {
		commits, each, least = 1000, n/4000+1, n
	}
	cutPower(t, commits, each, least, store.Files)
}

func TestPowerCutInBolt(t *testing.T) {
	commits, each, least := 60, 6, 2000
	if underRace {
		commits, each, least = 15, 3, 0
	}
	cutPower(t, commits, each, least, store.InBolt)
}

// Power that is cut while the log moves from one place to the other and back.
func TestPowerCutWhileTheLogMoves(t *testing.T) {
	commits, each, least := 60, 6, 2000
	if underRace {
		commits, each, least = 20, 2, 0
	}
	cutPower(t, commits, each, least, store.Files, store.InBolt, store.Files)
}

// Power that is cut while the start after a cut reads, seals and goes on.
func TestPowerCutDuringRecovery(t *testing.T) {
	every, each := 800, 5
	if underRace {
		every, each = 6000, 2
	}
	disk, sc := record(t, 150, store.Files)
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
	s, err := store.OpenWatched(store.Options{Dir: dir, Commit: 0}, disk, cutSegment, cutSeal,
		followWrites(disk, path, int64(len(database))), func() { disk.Sync("gateway.db") })
	if err != nil {
		return nil, err
	}
	return disk, s.Close()
}

// images is how many of them somebody asks for, 0 = nobody does.
func images(t *testing.T) int {
	asked := os.Getenv("IMAGES")
	if asked == "" {
		return 0
	}
	n, err := strconv.Atoi(asked)
	if err != nil {
		t.Fatalf("IMAGES: %v", err)
	}
	return n
}

func cutPower(t *testing.T, commits, each, least int, places ...store.LogIn) {
	disk, sc := record(t, commits, places...)
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
				if n++; n%10_000 == 0 {
					fmt.Println(n, "images of one worker are done")
				}
				if t.Failed() {
					continue
				}
				if err := sc.verify(dir, places[n%len(places)], c.image, sc.acked[c.at], n%10 == 0); err != nil {
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
