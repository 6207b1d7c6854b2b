package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
	bolt "go.etcd.io/bbolt"
)

// spoil flips a bit in a record of the log of a store that nobody has open, in the
// n-th that is still there.
func spoil(t *testing.T, dir string, n int) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "gateway.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return spoilIn(tx.Bucket([]byte("records")), n) })
	if cerr := db.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
}

func spoilIn(b *bolt.Bucket, n int) error {
	c := b.Cursor()
	k, v := c.First()
	for range n {
		k, v = c.Next()
	}
	k, v = bytes.Clone(k), bytes.Clone(v)
	v[len(v)-1] ^= 1
	return b.Put(k, v)
}

// A record of the log in the database goes bad, and the log moves to files: a reader
// misses what was in the record, and history nothing of what came behind it.
func TestALogWithADamagedRecordMoves(t *testing.T) {
	const said = 400
	o := store.Options{Dir: t.TempDir(), Commit: 0, LogIn: store.InBolt}
	s, err := store.OpenHasty(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tail("slow"); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(said) {
		sayNow(t, s, "a", seq+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, o.Dir, 150) // one of those that are not sealed
	o.LogIn = store.Files
	if s, err = store.OpenHasty(o); err != nil { // it seals a little at a time
		t.Fatal(err)
	}
	if n := frames(t, s); n != said-1 {
		t.Errorf("history has %d frames", n)
	}
	if entries, skipped := read(t, s, "slow"); entries != said-1 || skipped != 1 {
		t.Errorf("the reader got %d entries, %d were skipped", entries, skipped)
	}
	end(t, s)
}

// The oldest record of the log in the database goes bad. How much was ever logged does not
// count as what the log has, and commits go on.
func TestTheOldestRecordOfTheLogGoesBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget = 1 << 20
		o := store.Options{Dir: memoryDir(t), Commit: 0, LogIn: store.InBolt}
		s, err := store.OpenWithBudget(o, 1<<30, budget)
		if err != nil {
			t.Fatal(err)
		}
		tail, err := s.Tail("slow")
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(0)
		for range 2 * budget / 60_000 {
			seq++
			sayMuch(t, s, seq)
		}
		takeAll(t, tail, 1, int(seq))
		tail.Advance(s.Head())
		for range 3 {
			seq++
			sayMuch(t, s, seq)
		}
		end(t, s)
		spoil(t, o.Dir, 0)
		if s, err = store.OpenWithBudget(o, 1<<30, budget); err != nil {
			t.Fatal(err)
		}
		if h := s.Health(); h.LogBytes > budget {
			t.Errorf("the log has %d bytes", h.LogBytes)
		}
		told := make(chan error, 1)
		say(t, s, "a", seq+1, store.Now, waiter(func(err error) { told <- err }))
		time.Sleep(time.Second)
		if h := s.Health(); !h.Healthy {
			t.Error(h.Err)
		}
		if entries, skipped := read(t, s, "slow"); entries != 4 || skipped != 0 {
			t.Errorf("the reader got %d entries, %d were skipped", entries, skipped)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-told; err != nil {
			t.Error(err)
		}
	})
}

// The database is so full that nothing can be removed from the log in it. What is sealed
// is sealed all the same: commits do not wait for that.
func TestWhatIsSealedThoughItCannotBeRemoved(t *testing.T) {
	s := open(t, store.Options{Commit: 0, LogIn: store.InBolt})
	for seq := range uint64(20) {
		sayNow(t, s, "a", seq+1)
	}
	s.SetDatabaseFault(func() error { return syscall.ENOSPC })
	if n := store.Release(s, 15, 15); n == 0 || n > 500 {
		t.Errorf("%d bytes seem not to be sealed of the last five records", n)
	}
	if n := store.Release(s, 20, 20); n != 0 {
		t.Errorf("%d bytes seem not to be sealed", n)
	}
	s.SetDatabaseFault(nil)
	end(t, s)
}

// The number of a record of the log in the database is wrong: who goes through the log
// comes to its end, and nothing is lost but that record.
func TestARecordUnderAWrongNumber(t *testing.T) {
	const said = 400
	dir := t.TempDir()
	path := filepath.Join(dir, "gateway.db")
	s, err := store.OpenHasty(store.Options{Dir: dir, Commit: 0, LogIn: store.InBolt})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tail("slow"); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(said) {
		sayNow(t, s, "a", seq+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	values := map[uint64][]byte{}
	var last uint64
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("records")).ForEach(func(k, v []byte) error {
			last = binary.BigEndian.Uint64(k)
			values[last] = bytes.Clone(v)
			return nil
		})
	})
	if cerr := db.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	bits := map[uint64][]int{300: {8, 12, 40, 63}, last: {8, 12, 40, 63}} // the first makes it lower
	for n := uint64(190); n < 250; n++ {                                  // among them some that the library meets as it looks for others
		bits[n] = []int{8}
	}
	for n, bits := range bits { // of records that are not sealed
		for _, bit := range bits {
			right, wrong := number(n), number(n^1<<bit)
			t.Run(fmt.Sprintf("bit %d of %d", bit, n), func(t *testing.T) {
				o := store.Options{Dir: memoryDir(t), Commit: 0, LogIn: store.InBolt}
				spoiled := bytes.ReplaceAll(content, append(right, values[n]...), append(wrong, values[n]...))
				if err := os.WriteFile(filepath.Join(o.Dir, "gateway.db"), spoiled, 0o600); err != nil {
					t.Fatal(err)
				}
				s := open(t, o)
				sound(t, s)
				if n := frames(t, s); n < said-1 {
					t.Errorf("%d frames are left", n)
				}
				if entries, _ := read(t, s, "slow"); entries < said-1 {
					t.Errorf("the reader got %d entries", entries)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				s = open(t, o)
				if h := s.Health(); len(bits) > 1 && h.LogBytes > 500 { // of 17,000; who removes may be led astray, too
					t.Errorf("%d bytes of the log stay, which nobody needs", h.LogBytes)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// An older record is in the log once more, behind the last one: a reader is through all
// the same, and has each entry once.
func TestARecordThatIsThereTwice(t *testing.T) {
	o := store.Options{Dir: t.TempDir(), Commit: 0, LogIn: store.InBolt}
	s := open(t, o)
	if _, err := s.Tail("slow"); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(20) {
		sayNow(t, s, "a", seq+1)
	}
	end(t, s)
	db, err := bolt.Open(filepath.Join(o.Dir, "gateway.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("records"))
		last, _ := b.Cursor().Last()
		return b.Put(number(binary.BigEndian.Uint64(last)+1), bytes.Clone(b.Get(number(5))))
	})
	if cerr := db.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	s = open(t, o)
	sayNow(t, s, "a", 21)
	if entries, skipped := read(t, s, "slow"); entries != 21 || skipped > 0 {
		t.Errorf("%d entries, %d skipped", entries, skipped)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A page of the log in the database cannot be used: the start succeeds, and has the rest.
func TestABadPageOfTheLog(t *testing.T) {
	o := store.Options{Dir: t.TempDir(), Commit: 0, LogIn: store.InBolt}
	id := fill(t, o.Dir) // in files
	s := open(t, o)
	sayNow(t, s, "b", 1)
	end(t, s)
	path := filepath.Join(o.Dir, "gateway.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var root int
	_ = db.View(func(tx *bolt.Tx) error { root = int(tx.Bucket([]byte("records")).Root()); return nil })
	page := db.Info().PageSize
	content, rerr := os.ReadFile(path)
	if cerr := db.Close(); rerr != nil || cerr != nil || root == 0 {
		t.Fatal(rerr, cerr, root)
	}
	content[root*page] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for start := range 2 {
		s = open(t, o)
		sayNow(t, s, "b", uint64(start)+2)
		if n := frames(t, s); n != 2000 || s.GatewayID() != id {
			t.Errorf("%d frames of gateway %s", n, s.GatewayID())
		}
		if s.Health().Damaged > 0 != (start == 0) {
			t.Errorf("start %d: %d damaged", start, s.Health().Damaged)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A commit meets a bad place in the structure of the database that the log is in: it
// goes on in memory, and the next start sets the database aside.
func TestACommitMeetsABadPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memoryDir(t)
		id := fill(t, dir)
		o := store.Options{Dir: dir, Commit: 0, LogIn: store.InBolt}
		s := open(t, o)
		s.SetDatabaseFault(func() error { panic("page 66 already freed") })
		told := make(chan error, 1)
		say(t, s, "b", 1, store.Now, waiter(func(err error) { told <- err }))
		time.Sleep(time.Minute)
		if !s.Era().InMemory() {
			t.Error("it is said to be on disk")
		}
		_ = s.Close()
		if err := <-told; err == nil {
			t.Error("it was said to be on disk")
		}
		for range 2 {
			s = open(t, o)
			if n := frames(t, s); n != 2000 || s.GatewayID() != id {
				t.Errorf("%d frames of gateway %s", n, s.GatewayID())
			}
			end(t, s)
		}
		if aside, _ := filepath.Glob(filepath.Join(dir, "*.corrupt-*")); len(aside) != 1 {
			t.Errorf("set aside: %v", aside)
		}
	})
}

// onDamage is a log that calls f when damage is told of, once.
type onDamage struct {
	slog.Handler
	once sync.Once
	f    func()
}

func (d *onDamage) Enabled(context.Context, slog.Level) bool { return true }

func (d *onDamage) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "damaged") {
		d.once.Do(d.f)
	}
	return nil
}

// The log is in the database, and that is opened anew after an error while a check is
// in the middle of it: the one waits for the other, and not both.
func TestACheckWhileTheDatabaseIsOpenedAnew(t *testing.T) {
	var s *store.Store
	reopened := make(chan error, 1)
	seen := &onDamage{Handler: slog.DiscardHandler, f: func() {
		go func() { reopened <- store.Reopen(s) }()
		for !store.Replacing(s) {
			runtime.Gosched()
		}
	}}
	s, err := store.OpenOn(store.Options{Dir: t.TempDir(), Commit: 0, LogIn: store.InBolt, Log: slog.New(seen)}, segmenttest.New(nil), 1<<20, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	lag(t, s, 5)
	if err := store.Update(s, "records", func(b *bolt.Bucket) error { return spoilIn(b, 1) }); err != nil {
		t.Fatal(err)
	}
	checked := make(chan error, 1)
	go func() { checked <- s.Check() }()
	select {
	case <-checked:
	case <-time.After(20 * time.Second):
		t.Fatal("the check waits for who waits for it")
	}
	if err := <-reopened; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
