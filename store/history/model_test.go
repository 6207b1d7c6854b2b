package history_test

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/rollup"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

var (
	devices = []string{"garage", "kitchen", "kitchen-2"}
	series  = []string{"energy", "lamp/on", "mode", "temperature"}
	coarse  = []history.Level{history.FiveMinutes, history.Hours, history.Days}
)

// model is a plain list beside the history that is tested.
type model struct {
	*rapid.T
	path string
	db   *bolt.DB
	keep *history.Keeper
	now  time.Time
	said []said
	seq  uint64
}

func (m *model) open() {
	db, err := bolt.Open(m.path, 0o600, &bolt.Options{PageSize: 4096, NoSync: true})
	if err != nil {
		m.Fatal(err)
	}
	m.db = db
	m.keep = &history.Keeper{Policy: m.policy(), Counters: counters, Damage: m.damage}
}

func (m *model) policy() history.Policy {
	if m.keep != nil {
		return m.keep.Policy
	}
	return history.Policy{}
}

func (m *model) damage(where string, err error) { m.Errorf("%s: %v", where, err) }

func (m *model) update(f func(tx *bolt.Tx) error) {
	m.Helper()
	if err := m.db.Update(f); err != nil {
		m.Fatal(err)
	}
}

// value draws what a series says: decimals, so that sums are exact.
func (m *model) value(name string) protocol.Value {
	n := rapid.IntRange(0, 60).Draw(m.T, "n")
	switch name {
	case "energy":
		return protocol.Int(int64(n))
	case "lamp/on":
		return protocol.Bool(n > 30)
	case "mode":
		return rapid.SampledFrom([]protocol.Value{protocol.Text("heat"), protocol.Text("off"), protocol.Bool(true), protocol.Int(int64(n))}).Draw(m.T, "mode")
	}
	return protocol.Float(float64(n) / 10)
}

// frame draws what a device says now, mostly of now.
func (m *model) frame() said {
	m.seq++
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 40).Draw(m.T, "minutes")) * time.Minute)
	f := chunk.Frame{Received: m.now.UnixMilli(), Boot: protocol.Boot{7}, Seq: m.seq}
	if m.seq%5 == 0 {
		f.Seq, f.Command = 0, m.seq
	}
	for range rapid.IntRange(1, 4).Draw(m.T, "records") {
		at := m.now
		switch rapid.IntRange(0, 9).Draw(m.T, "when") {
		case 0, 1: // late
			at = at.Add(-time.Duration(rapid.IntRange(0, 5*24*12).Draw(m.T, "late")) * 5 * time.Minute)
		case 2:
			at = at.Add(9 * time.Minute)
		}
		name := rapid.SampledFrom(series).Draw(m.T, "name")
		r := record(name, at, m.value(name))
		r.Unfit = m.seq%7 == 0
		f.Records = append(f.Records, r)
	}
	return said{rapid.SampledFrom(devices).Draw(m.T, "device"), f}
}

func (m *model) seal() {
	var batch []said
	for range rapid.IntRange(1, 6).Draw(m.T, "frames") {
		batch = append(batch, m.frame())
	}
	m.update(func(tx *bolt.Tx) error {
		var b history.Batch
		for _, s := range batch {
			b.Add(s.device, s.frame)
		}
		return b.Put(tx)
	})
	m.said = append(m.said, batch...)
}

var errCut = errors.New("power cut")

// merge merges a little, and at times is cut off.
func (m *model) merge() {
	at := m.now.Add(time.Duration(rapid.IntRange(-48, 72).Draw(m.T, "clock")) * time.Hour)
	cut := rapid.IntRange(0, 3).Draw(m.T, "cut") == 0
	err := m.db.Update(func(tx *bolt.Tx) error {
		if _, err := m.keep.Merge(tx, at, rapid.IntRange(1, 4).Draw(m.T, "most")); err != nil {
			return err
		}
		if cut {
			return errCut
		}
		return nil
	})
	if err != nil && !errors.Is(err, errCut) {
		m.Fatal(err)
	}
}

func (m *model) reopen() {
	if err := m.db.Close(); err != nil {
		m.Fatal(err)
	}
	m.open()
}

// samples are what history has to say of a series: in order, of equal times the
// last.
func (m *model) samples(device, name string, fresh []chunk.Sample) []chunk.Sample {
	last := map[int64]protocol.Value{}
	for _, s := range m.said {
		for _, r := range s.frame.Records {
			if s.device == device && r.Name == name {
				last[r.Time] = r.Value
			}
		}
	}
	for _, s := range fresh {
		last[s.Time] = s.Value
	}
	var all []chunk.Sample
	for t, v := range last {
		all = append(all, chunk.Sample{Time: t, Value: v})
	}
	slices.SortFunc(all, func(a, b chunk.Sample) int { return cmp.Compare(a.Time, b.Time) })
	return all
}

func (m *model) rows(device, name string, l history.Level, fresh []chunk.Sample) []rollup.Row {
	return rollup.Rows(m.samples(device, name, fresh), l.Span(), name == "energy", protocol.Value{})
}

// compare reads everything and a span of it.
func (m *model) compare() {
	m.Helper()
	tx, err := m.db.Begin(false)
	if err != nil {
		m.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	r := &history.Reader{Tx: tx, Counters: counters, Damage: m.damage}
	for _, device := range devices {
		for _, name := range series {
			q := always(device, name)
			if rapid.Bool().Draw(m.T, "fresh") {
				f := m.frame().frame.Records[0]
				q.Fresh = []chunk.Sample{{Time: f.Time, Value: m.value(name)}, {Time: f.Time - int64(day), Value: m.value(name)}}
			}
			if rapid.Bool().Draw(m.T, "span") {
				q.From = m.now.Add(-time.Duration(rapid.IntRange(0, 10*24*60).Draw(m.T, "from")) * time.Minute).UnixNano()
				q.To = q.From + int64(time.Duration(rapid.IntRange(1, 5*24*60).Draw(m.T, "length"))*time.Minute)
			}
			m.compareSeries(r, q)
		}
	}
	m.compareFrames(r)
	history.Check(tx, m.damage)
}

func (m *model) compareSeries(r *history.Reader, q history.Query) {
	m.Helper()
	var want []chunk.Sample
	for _, s := range m.samples(q.Device, q.Name, q.Fresh) {
		if s.Time >= q.From && s.Time < q.To {
			want = append(want, s)
		}
	}
	if d := gocmp.Diff(want, collect(r.Samples(q)), exact); d != "" {
		m.Fatalf("samples of %s %s (-want +got):\n%s", q.Device, q.Name, d)
	}
	for _, l := range coarse {
		var want []rollup.Row
		for _, row := range m.rows(q.Device, q.Name, l, q.Fresh) {
			if row.End > q.From && row.Start < q.To {
				want = append(want, row)
			}
		}
		if d := gocmp.Diff(want, slices.Collect(r.Rows(q, l)), exact); d != "" {
			m.Fatalf("rows of %s, %s %s (-want +got):\n%s", l, q.Device, q.Name, d)
		}
	}
}

// compareFrames exports all of a device, and all of all, in pages.
func (m *model) compareFrames(r *history.Reader) {
	m.Helper()
	device := rapid.SampledFrom(append(devices, "")).Draw(m.T, "of")
	type told struct {
		day    string
		device string
		frame  chunk.Frame
	}
	var want, got []told
	for _, s := range m.said {
		if device != "" && device != s.device {
			continue
		}
		var days []string
		for _, r := range s.frame.Records {
			days = append(days, time.Unix(0, r.Time).UTC().Format(time.DateOnly))
		}
		slices.Sort(days)
		for _, d := range slices.Compact(days) {
			f := s.frame
			f.Records = slices.DeleteFunc(slices.Clone(f.Records), func(r protocol.Record) bool {
				return time.Unix(0, r.Time).UTC().Format(time.DateOnly) != d
			})
			want = append(want, told{d, s.device, f})
		}
	}
	slices.SortStableFunc(want, func(a, b told) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.device, b.device))
	})
	var at history.Place
	for more := true; more; {
		var err error
		at, more, err = r.Frames(device, -1<<63, 1<<63-1, at, rapid.IntRange(1, 20).Draw(m.T, "page"), func(device string, f chunk.Frame) error {
			got = append(got, told{time.Unix(0, f.Records[0].Time).UTC().Format(time.DateOnly), device, f})
			return nil
		})
		if err != nil {
			m.Fatal(err)
		}
	}
	if d := gocmp.Diff(want, got, exact, gocmp.AllowUnexported(told{})); d != "" {
		m.Fatalf("frames (-want +got):\n%s", d)
	}
}

// Whatever is sealed, merged, cut off and sealed late, in any order and with any
// clock: what is read is what was said.
func TestHistoryIsWhatWasSaid(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{T: rt, path: filepath.Join(dir, "history.db"), now: time.Date(2026, 12, 29, 8, 0, 0, 0, time.UTC)}
		m.open()
		defer func() {
			_ = m.db.Close()
			if err := os.Remove(m.path); err != nil {
				t.Error(err)
			}
		}()
		m.update(history.Create)
		for range rapid.IntRange(1, mostSteps).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0, 1, 2, 3:
				m.seal()
			case 4, 5, 6:
				m.merge()
			case 7:
				m.reopen()
			case 8:
				m.now = m.now.Add(time.Duration(rapid.IntRange(-36, 48).Draw(rt, "jump")) * time.Hour)
			case 9:
				m.compare()
			}
		}
		m.compare()
	})
}
