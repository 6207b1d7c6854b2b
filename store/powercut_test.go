package store_test

import (
	"cmp"
	"context"
	"encoding/hex"
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
	looks []look
	room  int // of the database
}

// look is how things were for the reader that lags, after so many operations of
// the disk.
type look struct {
	n        int
	advanced store.Position // of its cursor
	first    store.Position // that the log still had
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
	meter      = "meter"    // one that has much to say, two hours a day
)

// at is the time of what a step says, in ms.
func (st step) at() int64 {
	at := int64(1795219200000 + st.seq*1000)
	switch st.device {
	case forgotten:
		at -= 300 * 86_400_000
	case meter:
		at += int64(st.seq/20)*86_400_000 - 60*86_400_000
	}
	return at
}

func (st step) entry() *store.Entry {
	at := st.at()
	e := &store.Entry{Kind: store.Telemetry, Device: st.device, Boot: protocol.Boot{7}, Seq: st.seq, Received: at}
	if st.device == imported {
		e.Kind = store.Imported
	}
	for i := range 1 + st.seq%4 {
		e.Records = append(e.Records, protocol.Record{Name: fmt.Sprint("r", i), Value: protocol.Int(int64(st.seq)), Time: at * 1e6, Absolute: true})
	}
	if st.device == meter {
		noise := make([]byte, 1500)
		_, _ = rand.NewChaCha8([32]byte{byte(st.seq), byte(st.seq >> 8)}).Read(noise)
		e.Records = append(e.Records, protocol.Record{Name: "noise", Value: protocol.Text(hex.EncodeToString(noise)), Time: at * 1e6, Absolute: true})
	}
	if st.seq%11 == 0 { // larger than a page now and then
		e.Records = append(e.Records, protocol.Record{Name: "text", Value: protocol.Text(strings.Repeat("x", 6000)), Time: at * 1e6, Absolute: true})
	}
	return e
}

// next makes the n-th step.
func (c course) next(n int) step {
	if c.room > 0 && n%2 == 0 {
		return step{device: meter, seq: uint64(n + 1)}
	}
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

// course is what a store goes through.
type course struct {
	commits int
	each    int           // images of a cut before each operation
	places  []store.LogIn // of the log, one after the other
	lag     int           // of a reader that then reads on to half of it
	budget  int64         // of the log, 0 = more than is ever used
	older   byte          // the format of the file it begins with, 0 = today's
	room    int           // of the database, 0 = more than is ever used
}

func (c course) options(dir string, place store.LogIn) store.Options {
	return store.Options{Dir: dir, Commit: 0, LogIn: place, Retain: 100 * 24 * time.Hour, Budget: c.budget}
}

// record runs a store and notes every write, of the database and of the log's
// files, in one journal, and when what was acknowledged. Now and then a day passes,
// in which days are merged and old ones go, and with more than one place it is
// stopped and goes on in the next. At times the disk is broken for so long that the
// store works in memory.
func record(t *testing.T, course course) (disk *segmenttest.Disk, sc *script) {
	sc = &script{room: course.room}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.UnixMilli(1795219200000).Add(-time.Hour)))
		dir := t.TempDir()
		path := filepath.Join(dir, "gateway.db")
		disk = sc.begin(t, dir, course)
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
		told := func(err error) {
			if err != nil {
				t.Error(err)
			}
			sc.ack(disk.Len())
		}
		for run, place := range course.places {
			s, err := store.OpenWatched(course.options(dir, place), disk, cutSegment, cutSeal, course.room, write, func() { disk.Sync("gateway.db") })
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
			slow := s.Cursors()[1].Pos
			for c := range course.commits / len(course.places) {
				broken.Store(c%60 == 40 && place == store.Files) // with one step: what comes behind it would be in memory only
				unsealed := c%60/5 == 9 && c%70 != 60
				if course.budget > 0 && place == store.Files { // at times half of it is not sealed, and never so much that commits wait
					s.SetDatabaseFault(unless(!unsealed))
				}
				for range 1 + c%4 {
					st := course.next(len(sc.steps))
					sc.steps = append(sc.steps, st)
					if len(sc.steps)%50 == 0 && run == 0 && !unsealed {
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
				if lag := tails[1].Lag(); lag > uint64(course.lag) {
					slow = s.Head() - store.Position(course.lag/2)
					tails[1].Advance(slow)
				}
				sc.looks = append(sc.looks, look{disk.Len(), slow, s.LogBegins()})
				time.Sleep(7 * time.Second) // so that cursors are written, too
				if c%70 == 60 {
					time.Sleep(25 * time.Hour)
				}
			}
			if (s.Health().Dropped > 0) != (course.room > 0) {
				t.Errorf("with room for %d bytes: %+v", course.room, s.Health())
			}
			end(t, s)
		}
		sc.upTo(disk.Len())
	})
	missed := func(l look) bool { return l.first > l.advanced+1 }
	if slices.ContainsFunc(sc.looks, missed) != (course.budget > 0) {
		t.Errorf("a budget of %d, and what the reader that lags misses: %+v", course.budget, sc.looks)
	}
	return disk, sc
}

// begin makes the store that a course begins with, and the disk.
func (sc *script) begin(t *testing.T, dir string, course course) *segmenttest.Disk {
	if course.older == 0 {
		end(t, open(t, store.Options{Dir: dir, LogIn: course.places[0]}))
		return segmenttest.New(nil)
	}
	segments := store.MakeOlder(t, dir, course.older, func(n int) *store.Entry {
		st := step{device: fmt.Sprint("d", n%cutDevices), seq: uint64(n)}
		sc.steps = append(sc.steps, st)
		return st.entry()
	}, func(key, value string) { sc.steps = append(sc.steps, step{key: key, value: value}) })
	sc.acked = []int{len(sc.steps)}
	return segmenttest.New(segments)
}

func unless(sound bool) func() error {
	if sound {
		return nil
	}
	return func() error { return syscall.EIO }
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

// verify opens what a cut before an operation left and compares it with the script.
func (sc *script) verify(o store.Options, image segmenttest.Image, at int, goOn bool) error {
	files := segmenttest.Image{}
	for name, b := range image {
		if name == "gateway.db" {
			if err := os.WriteFile(filepath.Join(o.Dir, name), b, 0o600); err != nil {
				return err
			}
			continue
		}
		files[name] = b
	}
	s, err := store.OpenWatched(o, segmenttest.Reborn(files), cutSegment, cutSeal, sc.room, nil, nil)
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
	oldest := map[string]uint64{} // that are there
	for _, st := range slices.Backward(got) {
		oldest[st.device] = st.seq
	}
	acked, limits := sc.acked[at], sc.seen(at)
	for n := acked; n <= len(sc.steps); n++ {
		entries, rows := sc.after(n)
		kept := slices.DeleteFunc(slices.Clone(entries), func(st step) bool { return st.device == forgotten || sc.gone(st, oldest) })
		if slices.Equal(kept, got) && maps.Equal(rows, table) && read.is(entries, limits) {
			return errors.Join(sc.verifyState(s, entries), sc.goOn(s, n, goOn))
		}
	}
	return fmt.Errorf("after %d acknowledged steps of %d there are %d entries, a reader at %d got %d (it was at %d at most, and there was all from %d on), and %v",
		acked, len(sc.steps), len(got), read.after, len(read.entries), limits.advanced, limits.first, table)
}

// gone reports whether a step may be missing: where the database has little room, the
// oldest of each device do.
func (sc *script) gone(st step, oldest map[string]uint64) bool {
	first, some := oldest[st.device]
	return sc.room > 0 && (!some || st.seq < first)
}

// seen is the first look at the reader that lags behind a cut, which bounds how far
// it can be and what it can miss.
func (sc *script) seen(at int) look {
	i, _ := slices.BinarySearchFunc(sc.looks, at, func(l look, at int) int { return cmp.Compare(l.n, at) })
	if i < len(sc.looks) {
		return sc.looks[i]
	}
	return look{advanced: 1 << 62, first: 1 << 62}
}

// slowly is what a reader that was behind got.
type slowly struct {
	fresh   bool // it is not durable
	after   store.Position
	entries []unread
}

type unread struct {
	step
	pos store.Position
}

// readSlow reads with the cursor of the reader that lags, if it is durable.
func readSlow(s *store.Store) (got slowly, err error) {
	i := slices.IndexFunc(s.Cursors(), func(c store.Cursor) bool { return c.Name == "slow" })
	if i < 0 {
		got.fresh, got.after = true, s.Head()
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
		if err != nil {
			return got, fmt.Errorf("a reader behind %d: %w", at, err)
		}
		was, first := at, entries[0].Pos
		for _, e := range entries {
			st := step{device: e.Device, seq: e.Seq}
			if want := st.entry(); !slices.Equal(e.Records, want.Records) || e.Pos <= at {
				return got, fmt.Errorf("a reader got %+v behind %d, which is not what was said", e, at)
			}
			got.entries = append(got.entries, unread{st, e.Pos})
			at = e.Pos
		}
		if missed := uint64(at-was) - uint64(len(entries)); missed != skipped {
			return got, fmt.Errorf("a reader behind %d missed %d up to %d and was told of %d", was, missed, first, skipped)
		}
	}
	return got, nil
}

// is reports whether it got all entries behind its cursor, in order, but for what
// had gone from the log by then.
func (got slowly) is(all []step, limits look) bool {
	at := got.after
	for _, e := range got.entries {
		if int(e.pos) > len(all) || all[e.pos-1] != e.step || e.pos != at+1 && e.pos > limits.first {
			return false
		}
		at = e.pos
	}
	return int(at) == len(all) && (got.fresh || got.after <= limits.advanced)
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
	files, inBolt := []store.LogIn{store.Files}, []store.LogIn{store.InBolt}
	again := []store.LogIn{store.Files, store.Files, store.Files, store.Files} // what one notes about the end of the log must not hide what the next one writes
	const never = 120                                                          // entries are fewer than the log's budget
	all := []struct {
		name        string
		course      course
		least, race int // images; commits under the race detector
	}{
		{"files", course{commits: 280, each: 6, places: files, lag: never}, 10_000, 25},
		{"in the database", course{commits: 60, each: 6, places: inBolt, lag: never}, 2000, 15},
		{"the log moves", course{commits: 60, each: 6, places: []store.LogIn{store.Files, store.InBolt, store.Files}, lag: never}, 2000, 20},
		{"closed and opened", course{commits: 80, each: 6, places: again, lag: never}, 2000, 20},
		{"the budget is spent", course{commits: 120, each: 4, places: files, lag: 150, budget: 4 * cutSegment}, 2000, 100},
		{"the budget is spent in the database", course{commits: 120, each: 2, places: inBolt, lag: 150, budget: 4 * cutSegment}, 1000, 100},
		{"the database's room is spent", course{commits: 120, each: 4, places: files, lag: never, room: 256 << 10}, 1000, 60},
		{"upgraded from 1", course{commits: 30, each: 10, places: files, lag: never, older: 1}, 1000, 4},
		{"upgraded from 2", course{commits: 30, each: 10, places: files, lag: never, older: 2}, 1000, 4},
		{"upgraded from 2 in the database", course{commits: 20, each: 4, places: inBolt, lag: never, older: 2}, 500, 4},
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			if underRace {
				c.course.commits, c.course.each, c.least = c.race, 2, 0
			}
			if n := images(t); n > 0 { // each has its share
				c.course.commits, c.least = 3*c.course.commits, n/len(all)
			}
			cutPower(t, c.course, c.least)
		})
	}
}

// Power that is cut while the start after a cut reads, seals and goes on.
func TestPowerCutDuringRecovery(t *testing.T) {
	every, each := 800, 5
	if underRace {
		every, each = 6000, 2
	}
	disk, sc := record(t, course{commits: 150, places: []store.LogIn{store.Files}, lag: 120})
	o := store.Options{Dir: memoryDir(t), Commit: 0}
	r := rand.New(rand.NewPCG(3, 4))
	count := 0
	var n int
	disk.Cuts(60, rand.New(rand.NewPCG(1, 2)), func(at int, image segmenttest.Image) {
		if n++; n%every != 0 || t.Failed() {
			return
		}
		second, err := recoverOn(o.Dir, image)
		if err != nil {
			t.Fatal(err)
		}
		second.Cuts(each, r, func(again int, image segmenttest.Image) {
			count++
			if err := sc.verify(o, image, at, false); err != nil {
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
	s, err := store.OpenWatched(store.Options{Dir: dir, Commit: 0}, disk, cutSegment, cutSeal, 0,
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

func cutPower(t *testing.T, course course, least int) {
	disk, sc := record(t, course)
	if images(t) > 0 {
		course.each = least/(disk.Len()+1) + 1
	}
	type cut struct {
		at    int
		image segmenttest.Image
	}
	cuts := make(chan cut, 16)
	made, count, every := 0, 0, 1
	if underRace { // a start takes ten times as long
		every = 1 + course.each*disk.Len()/90
	}
	go func() {
		defer close(cuts)
		disk.Cuts(course.each, rand.New(rand.NewPCG(1, 2)), func(at int, image segmenttest.Image) {
			if made++; made%every != 0 {
				return
			}
			if count++; count%50_000 == 0 {
				fmt.Println(time.Now().Format(time.TimeOnly), t.Name(), count, "images, before operation", at, "of", disk.Len())
			}
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
				o := course.options(dir, course.places[n%len(course.places)])
				if err := sc.verify(o, c.image, c.at, n%10 == 0); err != nil {
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
