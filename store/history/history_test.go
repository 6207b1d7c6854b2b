package history_test

import (
	"iter"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/rollup"
	bolt "go.etcd.io/bbolt"
)

var exact = cmp.Comparer(func(a, b protocol.Value) bool { return a == b })

// midnight is the beginning of a day, a month before the end of a year.
var midnight = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// home is a history in a file of its own. It is checked when the test ends.
type home struct {
	testing.TB
	db   *bolt.DB
	keep *history.Keeper
}

func open(t testing.TB) *home {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "gateway.db"), 0o600, &bolt.Options{PageSize: 4096, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	h := &home{TB: t, db: db}
	h.keep = &history.Keeper{Policy: history.Policy{Keep: history.DefaultKeep()}, Counters: counters, Damage: h.damage}
	h.update(history.Create)
	return h
}

func counters(_, name string) (counter, known bool) { return name == "energy", true }

func (h *home) damage(where string, err error) {
	h.Helper()
	h.Errorf("damage: %s: %v", where, err)
}

func (h *home) update(f func(*bolt.Tx) error) {
	h.Helper()
	if err := h.db.Update(f); err != nil {
		h.Fatal(err)
	}
}

func (h *home) view(f func(*history.Reader)) {
	h.Helper()
	err := h.db.View(func(tx *bolt.Tx) error {
		f(&history.Reader{Tx: tx, Counters: counters, Damage: h.damage})
		return nil
	})
	if err != nil {
		h.Fatal(err)
	}
}

// said is a frame as it comes from a device.
type said struct {
	device string
	frame  chunk.Frame
}

func (h *home) seal(all ...said) {
	h.Helper()
	h.update(func(tx *bolt.Tx) error {
		var b history.Batch
		for _, s := range all {
			b.Add(s.device, s.frame)
		}
		return b.Put(tx)
	})
}

// merge does all that is to be done of days before that of now.
func (h *home) merge(now time.Time) {
	h.Helper()
	for more := true; more; {
		h.update(func(tx *bolt.Tx) (err error) {
			more, err = h.keep.Merge(tx, now, 16)
			return err
		})
	}
}

// collect joins what a reader gives piece by piece.
func collect(pieces iter.Seq[[]chunk.Sample]) []chunk.Sample {
	return slices.Concat(slices.Collect(pieces)...)
}

func (h *home) samples(device, name string) (all []chunk.Sample) {
	h.Helper()
	h.view(func(r *history.Reader) {
		all = collect(r.Samples(always(device, name)))
	})
	return all
}

func (h *home) rows(device, name string, level history.Level) (all []rollup.Row) {
	h.Helper()
	h.view(func(r *history.Reader) { all = slices.Collect(r.Rows(always(device, name), level)) })
	return all
}

func always(device, name string) history.Query {
	return history.Query{Device: device, Name: name, From: -1 << 63, To: 1<<63 - 1}
}

func record(name string, at time.Time, v protocol.Value) protocol.Record {
	return protocol.Record{Name: name, Value: v, Time: at.UnixNano(), Absolute: true}
}

// hear is a frame of one device with these records, received at the first.
func hear(seq uint64, records ...protocol.Record) said {
	return said{"kitchen", chunk.Frame{Received: records[0].Time / 1e6, Boot: protocol.Boot{1}, Seq: seq, Records: records}}
}

// everyMinute is a temperature and a counter of so many minutes.
func everyMinute(from time.Time, minutes int) iter.Seq[said] {
	return func(yield func(said) bool) {
		for i := range minutes {
			at := from.Add(time.Duration(i) * time.Minute)
			if !yield(hear(uint64(i+1), record("temperature", at, protocol.Float(20+float64(i%50)/10)), record("energy", at, protocol.Int(int64(i%700))))) {
				return
			}
		}
	}
}

func TestMergingChangesNothingThatIsRead(t *testing.T) {
	h := open(t)
	all := slices.Collect(everyMinute(midnight.Add(10*time.Hour), 3*24*60))
	for hour := range slices.Chunk(all, 60) {
		h.seal(hour...)
	}
	levels := []history.Level{history.FiveMinutes, history.Hours, history.Days}
	samples := h.samples("kitchen", "energy")
	if len(samples) != len(all) {
		t.Fatalf("%d samples of %d", len(samples), len(all))
	}
	rows := map[history.Level][]rollup.Row{}
	for _, l := range levels {
		rows[l] = h.rows("kitchen", "energy", l)
		if d := cmp.Diff(rollup.Rows(samples, l.Span(), true, protocol.Value{}), rows[l], exact); d != "" {
			t.Errorf("%v (-want +got):\n%s", l, d)
		}
	}
	h.merge(midnight.Add(4 * day))
	if d := cmp.Diff(samples, h.samples("kitchen", "energy"), exact); d != "" {
		t.Errorf("samples after merging (-want +got):\n%s", d)
	}
	for _, l := range levels {
		if d := cmp.Diff(rows[l], h.rows("kitchen", "energy", l), exact); d != "" {
			t.Errorf("%v after merging (-want +got):\n%s", l, d)
		}
	}
}

// A span of all the time that there is is as coarse as any.
func TestAPictureOfAllTime(t *testing.T) {
	h := open(t)
	h.seal(slices.Collect(everyMinute(midnight, 24*60))...)
	h.view(func(r *history.Reader) {
		if l := r.Pick(always("kitchen", "temperature"), 500); l != history.Days {
			t.Errorf("picked %v", l)
		}
	})
}
