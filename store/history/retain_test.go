package history_test

import (
	"math"
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

// retain does all that is to be done, so many buckets or values at a time.
func (h *home) retain(now time.Time, most int) (removed uint64) {
	h.Helper()
	for more := true; more; {
		h.update(func(tx *bolt.Tx) (err error) {
			var n uint64
			n, more, err = h.keep.Retain(tx, now, most)
			removed += n
			return err
		})
	}
	return removed
}

func (h *home) check() {
	h.Helper()
	h.view(func(r *history.Reader) { history.Check(r.Tx, h.damage) })
}

func (h *home) levels() (n [history.Days + 1]uint64) {
	h.Helper()
	h.view(func(r *history.Reader) {
		for l, a := range history.Measure(r.Tx).Levels {
			n[l] = a.Count
		}
	})
	return n
}

func TestEachLevelIsKeptForItsTime(t *testing.T) {
	h := open(t)
	h.keep.Policy.Days = 3650 * day
	for d := range 3 {
		h.seal(slices.Collect(everyMinute(midnight.Add(time.Duration(d)*day), 24*60))...)
	}
	h.merge(midnight.Add(3 * day))
	want := [...]uint64{3 * 24 * 60 * 2, 3 * 288 * 2, 3 * 24 * 2, 3 * 2}
	for _, step := range []struct {
		after time.Duration
		level history.Level
		gone  uint64
	}{
		{2 * day, history.Raw, 0},
		{91 * day, history.Raw, 24 * 60 * 2},
		{92*day - 1, history.Raw, 0},
		{93 * day, history.Raw, 2 * 24 * 60 * 2},
		{366 * day, history.FiveMinutes, 288 * 2}, // November is over, then December
		{396 * day, history.FiveMinutes, 0},
		{397 * day, history.FiveMinutes, 2 * 288 * 2},
		{(5*365 + 1) * day, history.Hours, 24 * 2},
		{(5*365 + 31) * day, history.Hours, 0},
		{(5*365 + 32) * day, history.Hours, 2 * 24 * 2},
		{3650 * day, history.Days, 0},
		{3682 * day, history.Days, 3 * 2}, // the year is over
	} {
		if n := h.retain(midnight.Add(step.after), 1); n != step.gone {
			t.Errorf("after %v %d went, want %d", step.after, n, step.gone)
		}
		want[step.level] -= step.gone
		if got := h.levels(); got != want {
			t.Errorf("after %v: %v, want %v", step.after, got, want)
		}
		h.check()
	}
}

func TestAnOverrideKeepsOneSeriesLonger(t *testing.T) {
	h := open(t)
	h.keep.Policy.Overrides = map[string]history.Keep{
		"kitchen/energy": {},
		"kitchen/desk":   {Raw: day, FiveMinutes: day, Hours: day},
	}
	at := midnight.Add(time.Hour)
	h.seal(hear(1, record("energy", at, protocol.Int(3)), record("desk/power", at, protocol.Int(4)), record("temperature", at, protocol.Int(5))))
	h.merge(midnight.Add(day))
	left := func() (names []string) {
		for _, name := range []string{"energy", "desk/power", "temperature"} {
			if len(h.samples("kitchen", name)) > 0 {
				names = append(names, name)
			}
		}
		return names
	}
	for _, step := range []struct {
		after time.Duration
		want  []string
	}{
		{day, []string{"energy", "desk/power", "temperature"}},
		{2 * day, []string{"energy", "temperature"}},
		{91 * day, []string{"energy"}},
		{3000 * day, []string{"energy"}},
	} {
		h.retain(midnight.Add(step.after), 1)
		if d := gocmp.Diff(step.want, left()); d != "" {
			t.Errorf("after %v (-want +got):\n%s", step.after, d)
		}
		h.check()
	}
	if rows := h.rows("kitchen", "desk/power", history.FiveMinutes); len(rows) != 1 || rows[0].End-rows[0].Start != int64(day) {
		t.Errorf("of the desk only its day is left, got %+v", rows)
	}
}

// A year later a device finds what it had kept: the samples are too old, but
// they count where rows are still kept and had nothing.
func TestWhatComesTooLateCountsInRows(t *testing.T) {
	h := open(t)
	h.seal(hear(1, record("temperature", midnight, protocol.Int(20)), record("temperature", midnight.Add(time.Second), protocol.Int(22))))
	h.merge(midnight.Add(day))
	now := midnight.Add(100 * day)
	h.retain(now, 10)
	h.seal(hear(2, record("temperature", midnight.Add(2*time.Second), protocol.Int(100)), record("temperature", midnight.Add(time.Hour), protocol.Int(30))))
	h.merge(now)
	if all := h.samples("kitchen", "temperature"); len(all) != 0 {
		t.Errorf("samples are back: %v", all)
	}
	rows := h.rows("kitchen", "temperature", history.FiveMinutes)
	if len(rows) != 2 || rows[0].Count != 2 || rows[0].Mean() != 21 || rows[1].Mean() != 30 {
		t.Errorf("rows: %+v", rows)
	}
	h.check()
}

func TestRoomIsMadeFromTheOldest(t *testing.T) {
	h := open(t)
	for d := range 2 {
		h.seal(slices.Collect(everyMinute(midnight.Add(time.Duration(d)*day), 24*60))...)
	}
	h.merge(midnight.Add(2 * day))
	h.seal(slices.Collect(everyMinute(midnight.Add(2*day), 60))...)
	var went []uint64
	for {
		var n uint64
		h.update(func(tx *bolt.Tx) (err error) { n, err = h.keep.MakeRoom(tx); return err })
		if n == 0 {
			break
		}
		went = append(went, n)
		h.check()
	}
	if d := gocmp.Diff([]uint64{2880, 2880, 576, 576, 48, 48, 120, 4}, went); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	var n history.Numbers
	h.view(func(r *history.Reader) { n = history.Measure(r.Tx) })
	if n != (history.Numbers{}) {
		t.Errorf("what is left: %+v", n)
	}
}

// hours draws how long something is kept.
func hours(t *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{2 * day, 3*day + 5*time.Hour, 9 * day, 40 * day, 0}).Draw(t, "keep")
}

func anyKeep(t *rapid.T) history.Keep {
	// Days for ever: without them the value before the first row is not known.
	return history.Keep{Raw: hours(t), FiveMinutes: hours(t), Hours: hours(t)}
}

// longest is how long a level is kept: at least as long as the finer ones.
func longest(k history.Keep, l history.Level) (keep time.Duration) {
	for i, d := range []time.Duration{k.Raw, k.FiveMinutes, k.Hours, k.Days} {
		if d == 0 {
			return math.MaxInt64
		}
		if keep = max(keep, d); history.Level(i) == l {
			break
		}
	}
	return keep
}

// kept is how long a series is kept under the policy.
func kept(p history.Policy, device, name string) history.Keep {
	for _, at := range []string{device + "/" + name, device + "/lamp", device} {
		if k, ok := p.Overrides[at]; ok && (at != device+"/lamp" || name == "lamp/on") {
			return k
		}
	}
	return p.Keep
}

// bucketEnd is when the bucket of a level that has t ends.
func bucketEnd(l history.Level, ns int64) time.Time {
	t := time.Unix(0, ns).UTC()
	switch l {
	case history.FiveMinutes, history.Hours:
		return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	case history.Days:
		return time.Date(t.Year()+1, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
}

func (m *model) isKept(device, name string, l history.Level, ns int64) bool {
	keep := longest(kept(m.keep.Policy, device, name), l)
	return keep == math.MaxInt64 || bucketEnd(l, ns).Add(keep).After(m.now)
}

// Whatever the policy: what it keeps is there and nothing else, and rows are
// those of all that was ever said.
func TestRetentionKeepsWhatThePolicySays(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{T: rt, path: filepath.Join(dir, "history.db"), now: time.Date(2026, 12, 25, 8, 0, 0, 0, time.UTC)}
		m.open()
		defer func() {
			_ = m.db.Close()
			if err := os.Remove(m.path); err != nil {
				t.Error(err)
			}
		}()
		m.update(history.Create)
		p := &m.keep.Policy
		p.Keep, p.Overrides = anyKeep(rt), map[string]history.Keep{}
		for _, at := range []string{"kitchen", "kitchen/energy", "garage/lamp", "garage/lamp/on", "kitchen-2/mode"} {
			if rapid.IntRange(0, 2).Draw(rt, at) == 0 {
				p.Overrides[at] = anyKeep(rt)
			}
		}
		for range rapid.IntRange(1, mostSteps).Draw(rt, "steps") {
			m.sealOnTime()
			if rapid.Bool().Draw(rt, "night") {
				m.night(rapid.IntRange(0, 3).Draw(rt, "calls"))
			}
			if rapid.IntRange(0, 5).Draw(rt, "reopen") == 0 {
				m.reopen()
			}
			m.now = m.now.Add(time.Duration(rapid.IntRange(0, 72).Draw(rt, "hours")) * time.Hour)
		}
		m.night(math.MaxInt)
		m.compareKept()
	})
}

// sealOnTime is seal with nothing later than a day.
func (m *model) sealOnTime() {
	var batch history.Batch
	for range rapid.IntRange(1, 4).Draw(m.T, "frames") {
		s := m.frame()
		for i := range s.frame.Records {
			r := &s.frame.Records[i]
			r.Time = max(r.Time, m.now.Add(-day).UnixNano())
		}
		batch.Add(s.device, s.frame)
		m.said = append(m.said, s)
	}
	m.update(batch.Put)
}

// night merges all but today and calls Retain so many times.
func (m *model) night(calls int) {
	m.update(func(tx *bolt.Tx) error {
		_, err := m.keep.Merge(tx, m.now, math.MaxInt)
		return err
	})
	for more := true; more && calls > 0; calls-- {
		m.update(func(tx *bolt.Tx) (err error) {
			_, more, err = m.keep.Retain(tx, m.now, rapid.IntRange(1, 9).Draw(m.T, "most"))
			return err
		})
	}
}

func (m *model) compareKept() {
	m.Helper()
	tx, err := m.db.Begin(false)
	if err != nil {
		m.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	r := &history.Reader{Tx: tx, Counters: counters, Damage: m.damage}
	for _, device := range devices {
		for _, name := range series {
			samples := slices.DeleteFunc(m.samples(device, name, nil), func(s chunk.Sample) bool {
				return !m.isKept(device, name, history.Raw, s.Time)
			})
			if d := gocmp.Diff(samples, collect(r.Samples(always(device, name))), exact); d != "" && len(samples) > 0 {
				m.Fatalf("samples of %s %s (-want +got):\n%s", device, name, d)
			}
			for _, l := range coarse {
				if d := gocmp.Diff(m.rowsKept(device, name, l), slices.Collect(r.Rows(always(device, name), l)), exact); d != "" {
					m.Fatalf("rows of %s, %s %s (-want +got):\n%s", l, device, name, d)
				}
			}
		}
	}
	history.Check(tx, m.damage)
}

// rowsKept are those of the finest level that is kept of each day, from l on.
func (m *model) rowsKept(device, name string, l history.Level) (all []rollup.Row) {
	done := map[int64]bool{} // days
	for ; l <= history.Days; l++ {
		var more []rollup.Row
		for _, row := range m.rows(device, name, l, nil) {
			if d := row.Start / int64(day); !done[d] && m.isKept(device, name, l, row.Start) {
				more = append(more, row)
			}
		}
		for _, row := range more {
			done[row.Start/int64(day)] = true
		}
		all = append(all, more...)
	}
	slices.SortFunc(all, func(a, b rollup.Row) int { return int((a.Start - b.Start) / 1e9) })
	return all
}
