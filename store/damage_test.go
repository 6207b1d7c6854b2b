package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment"
	bolt "go.etcd.io/bbolt"
)

// fill makes a store with 2,000 entries of one device and a table, and closes it.
func fill(t *testing.T, dir string) (gatewayID string) {
	t.Helper()
	s := open(t, store.Options{Dir: dir, Commit: 0})
	gatewayID = s.GatewayID()
	if _, err := s.Tail("slow"); err != nil { // reads nothing for now
		t.Fatal(err)
	}
	tokens, err := store.OpenTable[string](s, "tokens")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := tokens.Put(fmt.Sprint("device", i), "secret", store.Measured, nil); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 2000)
	for seq := range uint64(2000) {
		e := step{device: "a", seq: seq + 1}.entry()
		if _, err := s.Append(e, store.Measured, waiter(func(err error) { done <- err })); err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	end(t, s)
	return gatewayID
}

// read takes all that a reader has not read and returns how much there was.
func read(t *testing.T, s *store.Store, name string) (entries, skipped uint64) {
	t.Helper()
	tail, err := s.Tail(name)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	var last store.Position
	for tail.Lag() > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		got, gone, err := tail.Next(ctx, 100)
		cancel()
		entries, skipped = entries+uint64(len(got)), skipped+gone
		if err != nil { // nothing can be read up to the head
			break
		}
		for _, e := range got {
			if e.Pos <= last {
				t.Fatalf("entry %d comes behind %d", e.Pos, last)
			}
			last = e.Pos
		}
		tail.Advance(last)
	}
	return entries, skipped
}

// sound says whether the store can be used as if nothing had happened.
func sound(t *testing.T, s *store.Store) {
	t.Helper()
	done := make(chan error, 1)
	if _, err := s.Append(step{device: "new", seq: 1}.entry(), store.Now, waiter(func(err error) { done <- err })); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Records and pieces of history that cannot be read are left out, named and
// counted; readers and history go on behind them.
func TestDamageIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	o := store.Options{Dir: dir, Commit: 0, LogIn: store.InBolt, Log: slog.New(slog.NewTextHandler(&log, nil))}
	s := open(t, o)
	if _, err := s.Tail("slow"); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(200) {
		sayNow(t, s, "a", seq+1)
	}
	end(t, s)
	s = open(t, o)
	damaged := 0
	spoil := func(b *bolt.Bucket, every int) error { // the last one, and some before
		var keys [][]byte
		n := 0
		c := b.Cursor()
		for k, _ := c.Last(); k != nil; k, _ = c.Prev() {
			if n%every == 0 {
				keys = append(keys, bytes.Clone(k))
			}
			n++
		}
		damaged += len(keys)
		for _, k := range keys {
			v := bytes.Clone(b.Get(k))
			v[len(v)/2]++
			if err := b.Put(k, v); err != nil {
				return err
			}
		}
		return nil
	}
	err := errors.Join(
		store.Update(s, "records", func(b *bolt.Bucket) error { return spoil(b, 7) }),
		store.Update(s, "pieces", func(b *bolt.Bucket) error {
			return b.ForEachBucket(func(day []byte) error { return spoil(b.Bucket(day), 1) })
		}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err == nil {
		t.Error("Check finds nothing")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	log.Reset()
	s = open(t, o)
	defer s.Close()
	say(t, s, "a", 201, store.Now, nil)
	for range 2 { // reported once, however often it is read
		samples, err := s.History(context.Background(), "a", "temperature", time.Time{}, time.Now().AddDate(50, 0, 0), 0)
		if err != nil || len(samples) > 1 {
			t.Errorf("%d samples, %v", len(samples), err)
		}
		if entries, skipped := read(t, s, "slow"); entries == 0 && s.Head() == 0 || skipped > 200 {
			t.Errorf("a reader got %d and missed %d of %d", entries, skipped, s.Head())
		}
	}
	if h := s.Health(); h.Damaged < uint64(damaged) || h.Damaged > uint64(damaged)+1 {
		t.Errorf("%d damaged, want %d", h.Damaged, damaged)
	}
	if n := strings.Count(log.String(), "is damaged and was left out"); n < damaged || n > damaged+1 {
		t.Errorf("reported %d times, want %d:\n%s", n, damaged, log.String())
	}
}

// Whatever bytes the file has, the start succeeds and the store works; what can
// be read of devices and settings is carried over.
func TestAnUnreadableFileIsSetAside(t *testing.T) {
	for name, spoil := range map[string]func(b []byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"zeros":     func(b []byte) []byte { clear(b); return b },
		"text":      func([]byte) []byte { return []byte("this is not the file you are looking for") },
		"truncated": func(b []byte) []byte { return b[:9000] },
		"no metas":  func(b []byte) []byte { clear(b[:8192]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir)
			path := filepath.Join(dir, "gateway.db")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			s := open(t, store.Options{Dir: dir, Commit: 0, Log: slog.New(slog.NewTextHandler(&log, nil))})
			sound(t, s)
			end(t, s)
			aside, _ := filepath.Glob(path + ".corrupt-*")
			if len(aside) != 1 || !strings.Contains(log.String(), "COULD NOT BE READ") {
				t.Errorf("set aside: %v; log:\n%s", aside, log.String())
			}
			end(t, open(t, store.Options{Dir: dir})) // and no loop of it
		})
	}
}

// A start that finds the database unreadable is cut off before there is another one: by
// a disk that has no room for it, or by whoever does not wait. The next start finds what
// this one found.
func TestAStartThatIsCutOffWhileItRescues(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string) error{
		"a bucket is missing": func(t *testing.T, path string) error {
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			err = db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("cursors")) })
			return errors.Join(err, db.Close())
		},
		"a bad place was noted": func(t *testing.T, path string) error {
			return os.WriteFile(path+".condemned", []byte("a bad place"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			id := fill(t, dir)
			if err := spoil(t, filepath.Join(dir, "gateway.db")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if s, err := store.OpenFull(store.Options{Dir: dir}); err == nil {
					t.Fatal("there was room", s.Close())
				}
			}
			s := open(t, store.Options{Dir: dir, Commit: 0})
			tokens, err := store.OpenTable[string](s, "tokens")
			if err != nil {
				t.Fatal(err)
			}
			if v, _, err := tokens.Get("device7"); v != "secret" || err != nil || s.GatewayID() != id {
				t.Errorf("token %q, %v, of gateway %s", v, err, s.GatewayID())
			}
			if samples, err := s.History(t.Context(), "a", "r0", time.Time{}, time.Now().AddDate(50, 0, 0), 0); err != nil || len(samples) != 2000 {
				t.Errorf("%d samples, %v", len(samples), err)
			}
			end(t, s)
			end(t, open(t, store.Options{Dir: dir})) // and no loop of it
			if aside, _ := filepath.Glob(filepath.Join(dir, "*.corrupt-*")); len(aside) != 1 {
				t.Errorf("set aside: %v", aside)
			}
		})
	}
}

// Single pages of garbage anywhere in the file: the start always succeeds.
func TestGarbageInAnyPage(t *testing.T) {
	dir := memoryDir(t)
	id := fill(t, dir)
	path := filepath.Join(dir, "gateway.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	rescued := 0
	pages := len(whole) / 4096
	for range 60 {
		page := r.IntN(pages)
		b := bytes.Clone(whole)
		for i := page * 4096; i < (page+1)*4096; i++ {
			b[i] = byte(r.Uint32())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(store.Options{Dir: dir, Commit: 0})
		if err != nil {
			t.Fatalf("page %d of %d: the start is refused: %v", page, pages, err)
		}
		tokens, err := store.OpenTable[string](s, "tokens")
		if err != nil {
			t.Fatal(err)
		}
		if v, ok, _ := tokens.Get("device7"); ok && v == "secret" && s.GatewayID() == id {
			rescued++
		}
		got, err := s.History(context.Background(), "a", "r0", time.Time{}, time.Now().AddDate(50, 0, 0), 0)
		if err != nil || s.Head() >= 2000 && len(got) < 1500 && s.Health().Damaged == 0 {
			t.Errorf("page %d: %d samples, %v", page, len(got), err)
		}
		read(t, s, "slow")
		_ = s.Close() // it may well have found the damage
	}
	if rescued < 50 {
		t.Errorf("devices and settings survived %d of 60 bad pages", rescued)
	}
}

// When sealing meets a bad place in the structure of the database, commits go on,
// and the next start brings what can be read into a new one: history, settings,
// and the log with its readers.
func TestABadPlaceIsLeftBehindAtTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memoryDir(t)
		id := fill(t, dir)
		o := store.Options{Dir: dir, Commit: 0}
		s := open(t, o)
		s.SetDatabaseFault(func() error { panic("assertion failed: Page expected to be: 7") })
		w := listen()
		say(t, s, "b", 1, store.Now, w)
		time.Sleep(2 * time.Hour)
		w.expect(t, "b/1 at 0s")
		if h := s.Health(); !h.Healthy || h.SealErr == "" {
			t.Errorf("health %+v", h)
		}
		_ = s.Close()
		for range 2 {
			s = open(t, o)
			samples, err := s.History(t.Context(), "a", "r0", time.Time{}, time.Now().AddDate(50, 0, 0), 0)
			if err != nil || len(samples) != 2000 {
				t.Errorf("%d samples, %v", len(samples), err)
			}
			if v, ok := s.NewestOf("b", "temperature"); !ok || v.Value != protocol.Float(0.5) || s.GatewayID() != id {
				t.Errorf("newest %+v of gateway %s", v, s.GatewayID())
			}
			end(t, s)
		}
		if aside, _ := filepath.Glob(filepath.Join(dir, "*.corrupt-*")); len(aside) != 1 {
			t.Errorf("set aside: %v", aside)
		}
		s = open(t, o)
		if entries, skipped := read(t, s, "slow"); entries != 2001 || skipped != 0 {
			t.Errorf("a reader got %d, %d were skipped", entries, skipped)
		}
		end(t, s)
	})
}

func TestTwoProcessesCannotShareADirectory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, store.Options{Dir: dir})
	_, err := store.Open(store.Options{Dir: dir})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("a second Open: %v; it must name process %d", err, os.Getpid())
	}
	end(t, s)
	end(t, open(t, store.Options{Dir: dir}))
}

func TestOthersMustNotWriteIntoTheDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(store.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "chmod 700 "+dir) {
		t.Errorf("Open: %v", err)
	}
	dir = filepath.Join(t.TempDir(), "new")
	end(t, open(t, store.Options{Dir: dir}))
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "gateway.db"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want %v, %v", path, info.Mode(), want, err)
		}
	}
}

func TestIdentityStays(t *testing.T) {
	dir := t.TempDir()
	s := open(t, store.Options{Dir: dir})
	id, epoch := s.GatewayID(), s.Epoch()
	end(t, s)
	if len(id) != 8 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || epoch == "" {
		t.Errorf("gateway %q, epoch %q", id, epoch)
	}
	s = open(t, store.Options{Dir: dir})
	defer end(t, s)
	if s.GatewayID() != id || s.Epoch() != epoch {
		t.Errorf("gateway %q and epoch %q became %q and %q", id, epoch, s.GatewayID(), s.Epoch())
	}
	other := open(t, store.Options{})
	defer end(t, other)
	if other.GatewayID() == id || other.Epoch() == epoch {
		t.Error("two stores have one identity")
	}
}

func TestANewerFormatIsRefusedNotSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, store.Options{Dir: dir})
	if err := store.Update(s, "meta", func(b *bolt.Bucket) error { return b.Put([]byte("format"), []byte{9}) }); err != nil {
		t.Fatal(err)
	}
	end(t, s)
	if _, err := store.Open(store.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("Open: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "gateway.db")); err != nil {
		t.Error(err)
	}
}

// Retention is about history: a reader has nothing to do with it.
func TestRetentionTakesWhatIsOldFromHistoryAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := memoryDir(t)
		fortnight := 14 * 24 * time.Hour
		o := store.Options{Dir: dir, Commit: 0, Retain: fortnight}
		s := open(t, o)
		if _, err := s.Tail("slow"); err != nil {
			t.Fatal(err)
		}
		frames := func(from, to uint64) {
			for seq := from; seq <= to; seq++ {
				say(t, s, "a", seq, store.Measured, nil)
				time.Sleep(time.Hour)
			}
		}
		count := func() int {
			samples, err := s.History(t.Context(), "a", "temperature", time.Time{}, time.Now(), 0)
			if err != nil {
				t.Fatal(err)
			}
			return len(samples)
		}
		// The clock of a bubble begins in 2000, before any gateway: nothing goes.
		frames(1, 500)
		if n := count(); n != 500 {
			t.Errorf("%d samples while the clock is wrong", n)
		}
		time.Sleep(time.Until(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)))
		frames(501, 1500)
		time.Sleep(25 * time.Hour)
		want := int(fortnight/time.Hour) - 25
		if n := count(); n < want || n > want+26 {
			t.Errorf("%d samples are kept, want about %d", n, want)
		}
		rows, err := s.Rows(t.Context(), "a", "temperature", time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), time.Now(), store.Hours)
		if err != nil || len(rows) != 1000 {
			t.Errorf("%d rows of an hour, %v", len(rows), err)
		}
		end(t, s)
		s = open(t, o)
		defer end(t, s)
		if entries, skipped := read(t, s, "slow"); entries != 1500 || skipped != 0 {
			t.Errorf("a reader got %d entries and %d were skipped", entries, skipped)
		}
		if v, ok := s.NewestOf("a", "temperature"); !ok || v.Value != protocol.Float(750) {
			t.Errorf("newest %+v", v)
		}
	})
}

// A reader that leaves too much unread goes on behind it, which is said when it
// happens and counted when it reads; history keeps all.
func TestAReaderThatLeavesTooMuchUnreadSkips(t *testing.T) {
	for name, logIn := range map[string]store.LogIn{"files": store.Files, "database": store.InBolt} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			o := store.Options{Dir: memoryDir(t), Commit: 0, LogIn: logIn, Log: slog.New(slog.NewTextHandler(&log, nil))}
			s, err := store.OpenWithBudget(o, 1<<30, 800_000)
			if err != nil {
				t.Fatal(err)
			}
			for _, reader := range []string{"slow", "dead"} {
				if _, err := s.Tail(reader); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error, 1)
			for seq := range uint64(2000) {
				e := step{device: "a", seq: seq + 1}.entry()
				e.Records = append(e.Records, protocol.Record{Name: "filler", Value: protocol.Text(strings.Repeat("y", 1000)), Time: e.Records[0].Time})
				if _, err := s.Append(e, store.Measured, waiter(func(err error) { done <- err })); err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			if h := s.Health(); h.LogBytes > 900_000 || !h.Healthy {
				t.Errorf("health %+v", h)
			}
			end(t, s)
			s, err = store.OpenWithBudget(o, 1<<30, 800_000)
			if err != nil {
				t.Fatal(err)
			}
			defer end(t, s)
			for _, c := range s.Cursors() {
				if c.Lag != 2000 || c.Bytes < 200_000 || c.Bytes > 900_000 || c.Oldest == nil {
					t.Errorf("cursor %+v", c)
				}
			}
			entries, skipped := read(t, s, "slow")
			if entries < 100 || skipped == 0 || entries+skipped != 2000 || s.Health().Skipped != skipped {
				t.Errorf("%d entries, %d skipped, health counts %d", entries, skipped, s.Health().Skipped)
			}
			if n := strings.Count(log.String(), "budget is spent"); n != 2 {
				t.Errorf("said %d times that the budget is spent:\n%s", n, log.String())
			}
			samples, err := s.History(context.Background(), "a", "r0", time.Time{}, time.Now().AddDate(50, 0, 0), 0)
			if err != nil || len(samples) != 2000 {
				t.Errorf("%d samples, %v", len(samples), err)
			}
		})
	}
}

func TestWhenTheSpaceIsUsedUpTheOldestGo(t *testing.T) {
	for name, logIn := range map[string]store.LogIn{"files": store.Files, "database": store.InBolt} {
		t.Run(name, func(t *testing.T) { theOldestGo(t, logIn) })
	}
}

func theOldestGo(t *testing.T, logIn store.LogIn) {
	var log bytes.Buffer
	s, err := store.OpenWithBudget(store.Options{Dir: memoryDir(t), Commit: 0, LogIn: logIn, Log: slog.New(slog.NewTextHandler(&log, nil))}, 8<<20, 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	const frames = 30_000 // about 20 MB
	sayOften(t, s, 0, frames)
	h := s.Health()
	if !h.Healthy || h.Entries != frames || h.Dropped == 0 || h.FileBytes > 12<<20 || h.LogBytes > 3<<20 {
		t.Errorf("health %+v", h)
	}
	if n := strings.Count(log.String(), "used up"); n != 1 || strings.Contains(log.String(), "cannot write") {
		t.Errorf("log:\n%s", log.String())
	}
	if got := s.Hello("a", []protocol.Boot{{7}})[0]; got != frames {
		t.Errorf("settled %d", got)
	}
	end(t, s)
}

// sayOften says frames of a minute each, and waits until they are acknowledged.
func sayOften(t *testing.T, s *store.Store, from, to uint64) {
	t.Helper()
	done := make(chan error, 100)
	r := rand.New(rand.NewPCG(from, 2))
	for seq := from; seq < to; seq++ {
		e := step{device: "a", seq: seq + 1}.entry()
		noise := make([]byte, 300)
		for i := range noise {
			noise[i] = byte(' ' + r.IntN(90))
		}
		e.Records = append(e.Records, protocol.Record{Name: "filler", Value: protocol.Text(string(noise)), Time: e.Records[0].Time, Absolute: true})
		e.Received += int64(seq) * 60_000
		for i := range e.Records {
			e.Records[i].Time += int64(seq) * 60_000 * 1e6
		}
		if _, err := s.Append(e, store.Measured, waiter(func(err error) { done <- err })); err != nil {
			t.Fatal(err)
		}
		if seq%100 == 99 {
			for range 100 {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// Pages of what was removed cannot be used again while somebody reads: that is no
// reason to remove more.
func TestNoMoreGoesBecauseSomebodyReads(t *testing.T) {
	s, err := store.OpenWithBudget(store.Options{Dir: memoryDir(t), Commit: 0}, 8<<20, 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	sayOften(t, s, 0, 30_000)
	before := s.Health().Dropped
	if before == 0 {
		t.Fatal("there is room for all")
	}
	stop := store.Read(s)
	sayOften(t, s, 30_000, 32_000)
	stop()
	sayOften(t, s, 32_000, 33_000)
	end(t, s)
	h := s.Health()
	if went := h.Dropped - before; went > 25_000 { // in days of 5,000
		t.Errorf("%d samples went for 10,000 that came", went)
	}
	if h.FileBytes > 16<<20 {
		t.Errorf("health %+v", h)
	}
}

// The power goes while the history of a database that cannot be used is taken over: the
// next start takes all of it.
func TestAStartThatIsCutOffWhileItSalvages(t *testing.T) {
	dir := memoryDir(t)
	id := fill(t, dir)
	const said = 2005
	s := open(t, store.Options{Dir: dir, Commit: 0})
	for seq := uint64(2001); seq <= said; seq++ { // each on a day of its own
		e := step{device: "a", seq: seq}.entry()
		later := int64(seq-2000) * 86_400_000
		e.Received += later
		for i := range e.Records {
			e.Records[i].Time += later * 1e6
		}
		if _, err := s.Append(e, store.Now, nil); err != nil {
			t.Fatal(err)
		}
	}
	end(t, s)
	if err := os.WriteFile(filepath.Join(dir, "gateway.db.condemned"), []byte("a bad place"), 0o600); err != nil {
		t.Fatal(err)
	}
	var images []string // of each moment in which something was durable
	durable := func() {
		images = append(images, filepath.Join(memoryDir(t), "image"))
		if err := os.CopyFS(images[len(images)-1], os.DirFS(dir)); err != nil {
			t.Error(err)
		}
	}
	s, err := store.OpenWatched(store.Options{Dir: dir}, segment.Dir(dir), 1<<20, 1<<20, 0, nil, durable)
	if err != nil {
		t.Fatal(err)
	}
	at := len(images) // when the store was there
	end(t, s)
	if at < 2 {
		t.Fatalf("%d moments: the test shows nothing", at)
	}
	for i, image := range images[:at] {
		s := open(t, store.Options{Dir: image})
		if n := frames(t, s); n != said || s.GatewayID() != id {
			t.Errorf("moment %d: %d frames of gateway %s", i, n, s.GatewayID())
		}
		end(t, s)
	}
}
