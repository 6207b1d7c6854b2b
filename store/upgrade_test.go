package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/segment"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
	bolt "go.etcd.io/bbolt"
)

// older is a store as versions before this one left it.
type older struct {
	t       testing.TB
	dir     string
	pack    packer
	next    Position
	entries []*Entry
	entry   func(n int) *Entry // that is said; nil = a temperature
}

func (o *older) say(n int) (batch []*Entry) {
	for range n {
		o.next++
		e := o.temperature()
		if o.entry != nil {
			e = o.entry(int(o.next))
		}
		e.Pos = o.next
		o.pack.add(e)
		batch = append(batch, e)
	}
	o.pack.seal()
	o.entries = append(o.entries, batch...)
	return batch
}

func (o *older) temperature() *Entry {
	at := int64(noon + o.next*1000)
	return &Entry{Kind: Telemetry, Device: fmt.Sprint("d", o.next%3), Boot: protocol.Boot{1}, Seq: uint64(o.next), Received: at,
		Records: []protocol.Record{{Name: "t", Unit: "Cel", Value: protocol.Float(float64(o.next) / 4), Time: at * 1e6, Absolute: true}}}
}

// MakeOlder leaves a database of an older format in dir, and returns the segments
// of the log that belong to it. It says what comes from entry, and calls row for
// each row of the table words.
func MakeOlder(t testing.TB, dir string, format byte, entry func(n int) *Entry, row func(key, value string)) segmenttest.Image {
	o := &older{t: t, dir: dir, entry: entry}
	o.make(format)
	row("k", "v")
	if format == 2 {
		row("l", "w")
	}
	return segmentsOf(t, dir)
}

// make writes a file of a format: 400 entries in blocks, the last 100 of them not
// in the checkpoint, a reader at 350, and with format 2 another 50 in a segment.
func (o *older) make(format byte) {
	o.t.Helper()
	must := func(err error) {
		o.t.Helper()
		if err != nil {
			o.t.Fatal(err)
		}
	}
	db, err := bolt.Open(filepath.Join(o.dir, "gateway.db"), 0o600, &bolt.Options{PageSize: 4096})
	must(err)
	o.pack.reset(0, 0)
	must(db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"meta", "log", "devices", "cursors", "table/words"} {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		for range 40 {
			o.say(10)
		}
		for _, b := range o.pack.blocks {
			if err := tx.Bucket([]byte("log")).Put(positionKey(b.first), o.pack.buf[b.from:b.to]); err != nil {
				return err
			}
		}
		state := device{id: "d0", boots: []*boot{{id: o.entries[0].Boot, staged: 297}}, cells: map[string]*cell{}}
		meta := tx.Bucket([]byte("meta"))
		err := errors.Join(
			meta.Put(keyFormat, []byte{format}), meta.Put(keyGateway, []byte("abcdefgh")), meta.Put(keyEpoch, []byte("e")),
			meta.Put([]byte("checkpoint"), positionKey(300)),
			tx.Bucket([]byte("devices")).Put([]byte("d0"), state.encode()),
			tx.Bucket([]byte("cursors")).Put([]byte("slow"), positionKey(350)),
			tx.Bucket([]byte("table/words")).Put([]byte("k"), sealRow([]byte{0x61, 'v'})))
		if format == 2 {
			err = errors.Join(err, meta.Put(keyLog, numberKey(77)), putSealed(tx, 400, 5))
		}
		return err
	}))
	must(db.Close())
	if format == 1 {
		return
	}
	l, err := segment.Open(segment.Options{FS: segment.Dir(o.dir), Epoch: 77, Size: 64 << 10}, 5, func(uint64, []byte) error { return nil })
	must(err)
	for range 5 {
		o.pack.reset(uint64(len(o.pack.buf)), 0)
		o.say(10)
		var payload []byte
		for _, b := range o.pack.blocks {
			payload = binary.AppendUvarint(append(payload, 1), uint64(b.first))
			payload = append(binary.AppendUvarint(payload, uint64(b.to-b.from)), o.pack.buf[b.from:b.to]...)
		}
		payload = append(payload, "\x02\x05words\x01l\x02\x61w"...)
		_, err := l.Append(payload)
		must(err)
	}
	must(l.Close())
}

// expect wants everything that was said, whether it is read or looked up.
func (o *older) expect(s *Store) error {
	var all error
	found := func(format string, args ...any) { all = errors.Join(all, fmt.Errorf(format, args...)) }
	tail, err := s.Tail("slow")
	if err != nil {
		return err
	}
	want := o.entries[350:]
	for tail.Lag() > 0 && len(want) > 0 {
		got, skipped, err := tail.Next(o.t.Context(), 1000)
		if err != nil || skipped > 0 {
			return fmt.Errorf("%d skipped, %w", skipped, err)
		}
		for _, e := range got {
			if len(want) == 0 || e.Pos != want[0].Pos || e.Seq != want[0].Seq || e.Records[0] != want[0].Records[0] {
				return fmt.Errorf("a reader got %+v", e)
			}
			want = want[1:]
		}
		tail.Advance(got[len(got)-1].Pos)
	}
	if len(want) > 0 {
		found("a reader did not get %d entries", len(want))
	}
	tail.Close()
	for d := range 3 {
		device := fmt.Sprint("d", d)
		got, err := s.History(o.t.Context(), device, "t", time.Time{}, time.Unix(1<<32, 0), 0)
		if err != nil {
			return err
		}
		n := 0
		for _, e := range o.entries {
			if e.Device != device {
				continue
			}
			if n >= len(got) || got[n].Time != e.Records[0].Time || got[n].Value != e.Records[0].Value {
				found("%s: sample %d of %d is not what was said", device, n, len(got))
				break
			}
			n++
		}
		if n != len(got) {
			found("%s: %d samples, want %d", device, len(got), n)
		}
		last := uint64(0)
		for _, e := range o.entries {
			if e.Device == device {
				last = e.Seq
			}
		}
		if got := s.Hello(device, []protocol.Boot{{1}})[0]; got != last {
			found("%s: settled %d, want %d", device, got, last)
		}
	}
	words, err := OpenTable[string](s, "words")
	if err != nil {
		return err
	}
	if v, ok, err := words.Get("k"); err != nil || !ok || v != "v" {
		found("the row is %q, %v", v, err)
	}
	if s.Head() != o.next || s.GatewayID() != "abcdefgh" || s.Health().Damaged > 0 {
		found("head %d of %d, gateway %s, %d damaged", s.Head(), o.next, s.GatewayID(), s.Health().Damaged)
	}
	return errors.Join(all, s.Check())
}

// A store of an earlier version goes on, is kept as it was, and nothing of it is
// lost to readers or to history.
func TestOlderFormatsAreUpgradedAndACopyKept(t *testing.T) {
	for _, format := range []byte{1, 2} {
		for name, in := range map[string]LogIn{"files": Files, "database": InBolt} {
			t.Run(fmt.Sprint(format, " to ", name), func(t *testing.T) {
				o := &older{t: t, dir: t.TempDir()}
				o.make(format)
				path := filepath.Join(o.dir, "gateway.db")
				before, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				s, err := Open(Options{Dir: o.dir, Commit: 0, LogIn: in})
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(o.expect(s), s.Close()); err != nil {
					t.Error(err)
				}
				kept, err := os.ReadFile(path + fmt.Sprint(".format-", format))
				if err != nil || len(kept) == 0 || len(before) == 0 {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, kept, 0o600); err != nil { // it can be gone back to
					t.Fatal(err)
				}
				if format == 2 {
					return // its segments are used again by now
				}
				s, err = Open(Options{Dir: o.dir, Commit: 0, LogIn: in})
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(o.expect(s), s.Close()); err != nil {
					t.Error("from the copy:", err)
				}
			})
		}
	}
}

// An upgrade that is cut off after any of its transactions goes on at the next
// start, and the copy stays what it was.
func TestAnUpgradeThatIsCutOffGoesOn(t *testing.T) {
	for allowed := 0; ; allowed++ {
		o := &older{t: t, dir: t.TempDir()}
		o.make(2)
		files := segmenttest.New(nil)
		for name, b := range segmentsOf(t, o.dir) {
			f, err := files.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
		}
		s := newStore(Options{Dir: o.dir, Commit: 0})
		s.fs = files
		left := allowed
		s.file.fault = func() error {
			if left--; left < 0 {
				return errors.New("the power is cut")
			}
			return nil
		}
		err := s.openStopped()
		cut := left < 0
		if err == nil { // what comes after the upgrade is not its business
			s.file.fault = nil
			s.start()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		kept, kerr := os.ReadFile(filepath.Join(o.dir, "gateway.db.format-2"))
		if kerr != nil {
			t.Fatal(kerr)
		}
		s = newStore(Options{Dir: o.dir, Commit: 0})
		s.fs = files
		if s, err = s.open(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(o.expect(s), s.Close()); err != nil {
			t.Fatalf("cut after %d transactions: %v", allowed, err)
		}
		if again, err := os.ReadFile(filepath.Join(o.dir, "gateway.db.format-2")); err != nil || !bytes.Equal(kept, again) {
			t.Errorf("cut after %d transactions: the copy was made anew: %v", allowed, err)
		}
		if !cut {
			if allowed < 3 {
				t.Errorf("the upgrade took %d transactions", allowed)
			}
			return
		}
	}
}

func segmentsOf(t testing.TB, dir string) segmenttest.Image {
	t.Helper()
	image := segmenttest.Image{}
	names, err := filepath.Glob(filepath.Join(dir, "log-*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		image[filepath.Base(name)] = b
	}
	return image
}
