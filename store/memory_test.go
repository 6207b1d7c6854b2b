package store_test

import (
	"context"
	"errors"
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

// keeper is a device that keeps its frames until they are durable: it begins a
// session when the store's era changes, and sends again what is not settled.
type keeper struct {
	s    *store.Store
	name string

	mu       sync.Mutex
	era      store.Era
	next     uint64
	kept     []uint64 // seqs
	stored   uint64   // up to here we were told that it is on disk
	inMemory int      // acks that meant memory only
}

func keep(s *store.Store, name string) *keeper {
	k := &keeper{s: s, name: name, next: 1}
	k.connect()
	return k
}

func (k *keeper) connect() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.era = k.s.Era()
	settled := k.s.Hello(k.name, []protocol.Boot{{1}})[0]
	if !k.era.InMemory() {
		k.settle(settled)
	}
	for _, seq := range k.kept {
		k.send(seq)
	}
}

func (k *keeper) settle(seq uint64) {
	k.stored = max(k.stored, seq)
	k.kept = slices.DeleteFunc(k.kept, func(n uint64) bool { return n <= seq })
}

// say sends one frame more, after a hello if the era is another.
func (k *keeper) say() {
	k.mu.Lock()
	renew := k.era != k.s.Era()
	k.mu.Unlock()
	if renew {
		k.connect()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(k.kept, k.next)
	k.send(k.next)
	k.next++
}

func (k *keeper) send(seq uint64) {
	now := time.Now()
	_, _ = k.s.Append(&store.Entry{
		Kind: store.Telemetry, Device: k.name, Boot: protocol.Boot{1}, Seq: seq, Received: now.UnixMilli(), Era: k.era,
		Records: []protocol.Record{{Name: "temperature", Value: protocol.Float(float64(seq)), Time: int64(seq) * 1e9}},
	}, store.Measured, k)
}

// Committed implements store.Waiter.
func (k *keeper) Committed(e *store.Entry, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil:
		k.settle(e.Seq)
	case errors.Is(err, store.ErrInMemory):
		k.inMemory++
	}
}

func (k *keeper) told() (stored uint64, inMemory, pending int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stored, k.inMemory, len(k.kept)
}

// witness reads the log like the bridge does, and notes when each seq came first.
type witness struct {
	t     *testing.T
	mu    sync.Mutex
	first map[uint64]time.Time
	again int
	last  store.Position
	wait  chan struct{}
}

func followed(t *testing.T, tail *store.Tail) *witness {
	f := &witness{t: t, first: map[uint64]time.Time{}, wait: make(chan struct{})}
	go func() {
		defer close(f.wait)
		for {
			entries, skipped, err := tail.Next(context.Background(), 100)
			if err != nil {
				return
			}
			if skipped > 0 {
				t.Errorf("%d entries were skipped", skipped)
			}
			for _, e := range entries {
				f.take(e)
			}
			tail.Advance(entries[len(entries)-1].Pos)
		}
	}()
	return f
}

func (f *witness) take(e *store.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Pos <= f.last {
		f.t.Errorf("position %d after %d", e.Pos, f.last)
	}
	f.last = e.Pos
	if e.Seq == 0 {
		return
	}
	_, seen := f.first[e.Seq]
	if e.Again != seen {
		f.t.Errorf("seq %d at %d: again %v, seen %v", e.Seq, e.Pos, e.Again, seen)
	}
	if seen {
		f.again++
		return
	}
	f.first[e.Seq] = time.Now()
}

func (f *witness) saw() (n, again int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.first), f.again
}

// seqsOf are the seqs in the log, as another process finds them.
func seqsOf(t *testing.T, dir string, image segmenttest.Image) (seqs []uint64) {
	t.Helper()
	s, err := store.OpenOn(store.Options{Dir: dir}, segmenttest.Reborn(image), 8<<10, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer end(t, s)
	got, err := s.History(context.Background(), "a", "temperature", time.Time{}, time.Now().Add(time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range got {
		seqs = append(seqs, uint64(sample.Time/1e9))
	}
	return seqs
}

// A disk that is full, broken, read-only, slow or mute: nobody is lied to, what
// is said is seen within moments all the same, and the store goes on by itself.
func TestBadDisks(t *testing.T) {
	for name, bad := range map[string]struct {
		what string
		err  error
		mute bool
	}{
		"full":                           {"write", syscall.ENOSPC, false},
		"full, at a new segment":         {"create", syscall.ENOSPC, false},
		"write error":                    {"write", syscall.EIO, false},
		"sync error":                     {"sync", syscall.EIO, false},
		"read-only":                      {"", syscall.EROFS, false},
		"a second for every sync":        {"sync", nil, false},
		"no sync returns":                {"sync", nil, true},
		"no sync returns, then it fails": {"sync", syscall.EIO, true},
		"no write returns":               {"write", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := segmenttest.New(nil)
				var until time.Time
				disk.Fault = func(what, _ string) error {
					left := time.Until(until)
					if what == "read" || left <= 0 || bad.what != "" && what != bad.what {
						return nil
					}
					switch {
					case bad.mute:
						time.Sleep(left)
					case bad.err == nil:
						time.Sleep(time.Second)
					}
					return bad.err
				}
				dir := t.TempDir()
				s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0}, disk, 8<<10, 8<<10)
				if err != nil {
					t.Fatal(err)
				}
				tail, err := s.Tail("mqtt")
				if err != nil {
					t.Fatal(err)
				}
				reader := followed(t, tail)
				synctest.Wait()
				until = time.Now().Add(time.Minute)
				a := keep(s, "a")
				slow := bad.err == nil && !bad.mute
				for said := range 300 {
					a.say()
					time.Sleep(300 * time.Millisecond)
					if said%40 != 0 {
						continue
					}
					synctest.Wait() // what is said to be durable is on the disk now
					stored, _, _ := a.told()
					seqs := seqsOf(t, copyOf(t, dir), disk.Content())
					if uint64(len(seqs)) < stored {
						t.Errorf("told that %d are on disk, %d are", stored, len(seqs))
					}
					if h := s.Health(); said != 40 && said != 200 && h.InMemory != (said > 40 && said < 200 && !slow) {
						t.Errorf("after %d: %+v", said, h)
					}
					if n, _ := reader.saw(); said > 40 && n < said-10 {
						t.Errorf("the reader saw %d of %d", n, said)
					}
				}
				time.Sleep(5 * time.Second)
				stored, inMemory, pending := a.told()
				if h := s.Health(); !h.Healthy || h.InMemory || stored != 300 || pending > 0 {
					t.Errorf("%d stored, %d pending in the end, %+v", stored, pending, h)
				}
				n, again := reader.saw()
				if n != 300 || slow == (inMemory > 0) || slow == (again > 0) {
					t.Errorf("the reader saw %d, %d of them twice; %d were acknowledged in memory", n, again, inMemory)
				}
				end(t, s)
				<-reader.wait
				seqs := seqsOf(t, dir, disk.Content())
				slices.Sort(seqs)
				if len(seqs) != 300 || len(slices.Compact(seqs)) != 300 {
					t.Errorf("%d in the log", len(seqs))
				}
			})
		})
	}
}

// What is changed while the disk fails: who waits for it hears no at once; what
// nobody waits for holds, and is on disk when that works again.
func TestTablesInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := segmenttest.Reborn(nil)
		var broken atomic.Bool
		disk.Fault = func(what, _ string) error {
			if broken.Load() && what == "write" {
				return syscall.EIO
			}
			return nil
		}
		dir := t.TempDir()
		s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0}, disk, 1<<20, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		words, err := store.OpenTable[int](s, "words")
		if err != nil {
			t.Fatal(err)
		}
		if err := words.PutSync("k", 1); err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		late := make(chan error, 1)
		if err := words.Put("early", 1, store.Now, func(err error) { late <- err }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second)
		if err := words.PutSync("k", 2); !errors.Is(err, store.ErrInMemory) {
			t.Errorf("somebody waited, and was told %v", err)
		}
		for n := range 1000 {
			if err := words.Put("k", n, store.Rides, nil); err != nil {
				t.Fatal(err)
			}
			if err := words.Delete("gone", store.Rides, nil); err != nil {
				t.Fatal(err)
			}
		}
		if v, _, _ := words.Get("k"); v != 999 {
			t.Errorf("the row is %d", v)
		}
		presence := store.PresenceChange{State: store.Lost, Since: 1}
		if _, err := s.Append(&store.Entry{Kind: store.Presence, Device: "a", Presence: presence}, store.Now, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		select {
		case err := <-late:
			t.Errorf("the one that was on its way was told %v", err)
		default:
		}
		broken.Store(false)
		time.Sleep(2 * time.Second)
		if err := <-late; err != nil {
			t.Error(err)
		}
		if err := words.PutSync("last", 1); err != nil {
			t.Error(err)
		}
		end(t, s)
		if s, err = store.OpenOn(store.Options{Dir: dir}, disk, 1<<20, 1<<20); err != nil {
			t.Fatal(err)
		}
		if words, err = store.OpenTable[int](s, "words"); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]int{"k": 999, "early": 1, "last": 1} {
			if v, _, err := words.Get(key); v != want || err != nil {
				t.Errorf("%s is %d, %v", key, v, err)
			}
		}
		if p, _ := s.PresenceOf("a"); p != presence {
			t.Errorf("presence %+v", p)
		}
		end(t, s)
	})
}

// Of a row that changed before and in the time in memory the newest change is the one
// that stays, also when so much was kept for the disk that the oldest entries went.
func TestTheNewestOfARowStaysWhateverGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := segmenttest.Reborn(nil)
		var broken atomic.Bool
		disk.Fault = func(what, _ string) error {
			if broken.Load() && what == "write" {
				return syscall.EIO
			}
			return nil
		}
		dir := t.TempDir()
		s, err := store.Open(store.Options{Dir: dir, FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		words, err := store.OpenTable[int](s, "words")
		if err != nil {
			t.Fatal(err)
		}
		put := func(key string, v int, done func(error)) {
			t.Helper()
			if err := words.Put(key, v, store.Now, done); err != nil {
				t.Fatal(err)
			}
		}
		broken.Store(true)
		put("other", 1, nil)
		time.Sleep(time.Second) // that is what the committer has in hand
		put("k", 1, nil)
		put("k", 2, func(error) {})
		time.Sleep(15 * time.Second)
		if !s.Era().InMemory() {
			t.Fatal("the store does not work in memory only: the test shows nothing")
		}
		before := s.Health().InMemoryOnly
		for range 10 {
			e := &store.Entry{Kind: store.Result, Device: "lamp", Command: 1, Received: time.Now().UnixMilli()}
			for range 1000 {
				e.Records = append(e.Records, protocol.Record{Name: "text", Value: protocol.Text(strings.Repeat("x", 1000)), Time: time.Now().UnixNano()})
			}
			if _, err := s.Append(e, store.Now, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if s.Health().InMemoryOnly == before {
			t.Fatal("nothing was dropped: the test shows nothing")
		}
		put("k", 3, nil)
		broken.Store(false)
		time.Sleep(20 * time.Second)
		end(t, s)
		if s, err = store.Open(store.Options{Dir: dir, FS: disk}); err != nil {
			t.Fatal(err)
		}
		if words, err = store.OpenTable[int](s, "words"); err != nil {
			t.Fatal(err)
		}
		if v, _, err := words.Get("k"); v != 3 || err != nil {
			t.Errorf("the row is %d, %v", v, err)
		}
		end(t, s)
	})
}

// A process that ends in the middle of it starts from what is durable.
func TestAStartAfterMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := segmenttest.Reborn(nil)
		var broken atomic.Bool
		disk.Fault = func(what, _ string) error {
			if broken.Load() && what == "write" {
				return syscall.EROFS
			}
			return nil
		}
		dir := t.TempDir()
		s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0}, disk, 1<<20, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		a := keep(s, "a")
		for range 10 {
			a.say()
			time.Sleep(time.Second)
		}
		broken.Store(true)
		for range 30 {
			a.say()
			time.Sleep(time.Second)
		}
		if v, ok := s.NewestOf("a", "temperature"); !ok || v.Value.AsFloat() != 40 {
			t.Errorf("newest %+v", v)
		}
		if got := s.Hello("a", []protocol.Boot{{1}})[0]; got != 10 {
			t.Errorf("settled up to %d in memory", got)
		}
		database := copyOf(t, dir)
		image := disk.Content()
		if err := s.Close(); err == nil {
			t.Error("Close said nothing")
		}
		again, err := store.OpenOn(store.Options{Dir: database, Commit: 0}, segmenttest.Reborn(image), 1<<20, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		// One more than was acknowledged may be there: the write that failed first.
		if got := again.Hello("a", []protocol.Boot{{1}})[0]; got < 10 || got > 11 || again.Head() != store.Position(got) || again.Era().InMemory() {
			t.Errorf("settled %d, head %d", got, again.Head())
		}
		a.s = again
		for range 10 {
			a.say()
			time.Sleep(time.Second)
		}
		if stored, _, pending := a.told(); stored != 50 || pending != 0 {
			t.Errorf("%d stored, %d pending", stored, pending)
		}
		end(t, again)
	})
}

// A full log that cannot be sealed stops commits, too; that the database alone
// is broken before that does not.
func TestAFullLogMeansMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := store.OpenSmall(store.Options{Dir: t.TempDir(), Commit: 0})
		if err != nil {
			t.Fatal(err)
		}
		s.SetFault(func() error { return syscall.EIO }) // of the database
		a := keep(s, "a")
		full := time.Time{}
		for range 1000 {
			a.say()
			time.Sleep(100 * time.Millisecond)
			h := s.Health()
			if full.IsZero() && !h.Healthy {
				full = time.Now()
			}
			if h.InMemory && time.Since(full) < 8*time.Second {
				t.Fatalf("in memory after %v: %+v", time.Since(full), h)
			}
		}
		if !s.Health().InMemory {
			t.Fatalf("%+v", s.Health())
		}
		s.SetFault(nil)
		for range 100 {
			a.say()
			time.Sleep(100 * time.Millisecond)
		}
		if stored, _, pending := a.told(); stored != 1100 || pending != 0 {
			t.Errorf("%d stored, %d pending, %+v", stored, pending, s.Health())
		}
		end(t, s)
	})
}

// A disk that never answers again must not hold up the end for ever.
func TestCloseWhileTheDiskIsMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, mute := segmenttest.Reborn(nil), make(chan struct{})
		var hang atomic.Bool
		disk.Fault = func(what, _ string) error {
			if hang.Load() && what == "sync" {
				<-mute
			}
			return nil
		}
		s, err := store.OpenOn(store.Options{Dir: t.TempDir(), Commit: 0}, disk, 1<<20, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		sayNow(t, s, "b", 1)
		synctest.Wait()
		hang.Store(true)
		told := make(chan error, 2)
		say(t, s, "a", 1, store.Now, waiter(func(err error) { told <- err }))
		time.Sleep(20 * time.Second)
		say(t, s, "a", 2, store.Now, waiter(func(err error) { told <- err }))
		if err := <-told; !errors.Is(err, store.ErrInMemory) {
			t.Errorf("the one behind: %v", err)
		}
		if err := s.Close(); err == nil {
			t.Error("Close said nothing")
		}
		if err := <-told; !errors.Is(err, store.ErrClosed) {
			t.Errorf("the one that hangs: %v", err)
		}
		close(mute)
	})
}

// copyOf is a directory with a copy of the database in dir.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gateway.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// weather is what a disk does: it changes at random.
type weather struct {
	mu    sync.Mutex
	fails error
	mute  time.Time // nothing returns until then
}

func (w *weather) fault() error {
	w.mu.Lock()
	err, left := w.fails, time.Until(w.mute)
	w.mu.Unlock()
	if left > 0 {
		time.Sleep(left)
	}
	return err
}

func (w *weather) change(rng *rand.Rand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails, w.mute = nil, time.Time{}
	switch rng.IntN(4) {
	case 0:
		w.fails = syscall.EIO
	case 1:
		w.fails = syscall.ENOSPC
	case 2:
		w.mute = time.Now().Add(time.Duration(rng.Int64N(int64(40 * time.Second))))
		if rng.IntN(2) == 0 {
			w.fails = syscall.EIO
		}
	}
}

func (w *weather) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails, w.mute = nil, time.Time{}
}

// Devices come and go while the disk does what it likes, some sessions go on in
// an era that is over: what is said to be stored is, nothing is stored twice, and
// when the weather clears all of it is there.
func TestAnyWeather(t *testing.T) {
	for name, logIn := range map[string]store.LogIn{"files": store.Files, "bolt": store.InBolt} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(12) {
				synctest.Test(t, func(t *testing.T) { anyWeather(t, logIn, rand.New(rand.NewPCG(seed, 1))) })
			}
		})
	}
}

func anyWeather(t *testing.T, logIn store.LogIn, rng *rand.Rand) {
	disk, w := segmenttest.Reborn(nil), &weather{}
	disk.Fault = func(what, _ string) error {
		if what == "read" || what == "list" {
			return nil
		}
		return w.fault()
	}
	dir := t.TempDir()
	o := store.Options{Dir: dir, Commit: time.Duration(rng.IntN(2)) * time.Second, LogIn: logIn}
	s, err := store.OpenOn(o, disk, 8<<10, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	if logIn == store.InBolt {
		s.SetFault(w.fault)
	}
	tail, err := s.Tail("mqtt")
	if err != nil {
		t.Fatal(err)
	}
	reader := followed(t, tail)
	a := keep(s, "a")
	said := 0
	for range 400 {
		switch rng.IntN(12) {
		case 0:
			w.change(rng)
		case 1:
			a.connect()
		case 2:
			a.stray(rng)
		case 3:
			time.Sleep(time.Duration(rng.Int64N(int64(15 * time.Second))))
		default:
			a.say()
			said++
			time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond))))
		}
		if rng.IntN(40) == 0 {
			synctest.Wait()
			stored, _, _ := a.told()
			var image segmenttest.Image
			if logIn == store.Files {
				image = disk.Content()
			}
			if seqs := seqsOf(t, copyOf(t, dir), image); uint64(len(seqs)) < stored {
				t.Fatalf("told that %d are on disk, %d are", stored, len(seqs))
			}
		}
	}
	w.clear()
	time.Sleep(time.Minute) // what hangs returns
	a.connect()
	time.Sleep(5 * time.Second)
	if stored, _, pending := a.told(); stored != uint64(said) || pending != 0 {
		t.Errorf("%d of %d stored, %d pending, %+v", stored, said, pending, s.Health())
	}
	if n, _ := reader.saw(); n != said {
		t.Errorf("the reader saw %d of %d", n, said)
	}
	end(t, s)
	<-reader.wait
	var image segmenttest.Image
	if logIn == store.Files {
		image = disk.Content()
	}
	seqs := seqsOf(t, dir, image)
	slices.Sort(seqs)
	if len(seqs) != said || len(slices.Compact(seqs)) != said {
		t.Errorf("%d of %d in the log", len(seqs), said)
	}
}

// stray sends in a session of an era that may be over.
func (k *keeper) stray(rng *rand.Rand) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.kept) == 0 || k.era == k.s.Era() && rng.IntN(2) == 0 {
		return
	}
	was := k.era
	k.era = max(2, k.era-store.Era(rng.IntN(3)))
	k.send(k.kept[len(k.kept)-1])
	k.era = was
}
