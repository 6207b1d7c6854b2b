package history_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/rollup"
)

// A sensor that says something several times a second has more in a day than a
// chunk holds, and more than is looked at together.
func TestABusySensorsDayHasSeveralParts(t *testing.T) {
	n := 530_000
	if underRace {
		n = 140_000
	}
	h := open(t)
	pause := int64(day) / int64(n+1)
	var batch history.Batch
	f := chunk.Frame{Boot: protocol.Boot{1}}
	for i := range n {
		at := midnight.UnixNano() + int64(i)*pause
		f.Records = append(f.Records, protocol.Record{Name: "force", Value: protocol.Int(int64(i / 100 % 300)), Time: at, Absolute: true})
		if len(f.Records) == 50 {
			f.Received, f.Seq = at/1e6, f.Seq+1
			batch.Add("press", f)
			f.Records = nil
		}
	}
	h.update(batch.Put)
	h.seal(said{"press", chunk.Frame{Received: 1, Boot: protocol.Boot{2}, Seq: 1, Records: []protocol.Record{record("force", midnight.Add(day-1), protocol.Int(999))}}})
	for _, when := range []string{"before", "after"} {
		samples := h.samples("press", "force")
		if len(samples) != n+1 || samples[n].Value != protocol.Int(999) {
			t.Fatalf("%s merging: %d samples", when, len(samples))
		}
		if got := h.rows("press", "force", history.Hours); !slices.Equal(rollup.Rows(samples, rollup.Hour, false, protocol.Value{}), got) {
			t.Errorf("%s merging: rows differ: %d, the first %+v", when, len(got), got[0])
		}
		h.merge(midnight.Add(day))
	}
	if got := h.levels()[history.Raw]; got != uint64(n+1) {
		t.Errorf("%d samples are counted", got)
	}
	h.check()
}

// A clock that was never set says times that no calendar of ours has.
func TestTimesOutOfReachAreKept(t *testing.T) {
	h := open(t)
	var want []chunk.Sample
	for i, at := range []int64{math.MinInt64, math.MinInt64 + 1, 0, midnight.UnixNano(), math.MaxInt64 - 1} {
		v := protocol.Int(int64(i))
		want = append(want, chunk.Sample{Time: at, Value: v})
		h.seal(said{"kitchen", chunk.Frame{Received: midnight.UnixMilli(), Seq: uint64(i + 1), Records: []protocol.Record{{Name: "energy", Value: v, Time: at, Absolute: true}}}})
	}
	for _, when := range []string{"before", "after"} {
		if got := h.samples("kitchen", "energy"); !slices.Equal(want, got) {
			t.Errorf("%s merging: %v", when, got)
		}
		rows := h.rows("kitchen", "energy", history.Days)
		if len(rows) != 2 || rows[1].Start != midnight.UnixNano() || rows[1].Increase != 1 {
			t.Errorf("%s merging: %+v", when, rows)
		}
		h.keep.Policy = history.Policy{}
		h.merge(time.Date(2262, 3, 1, 0, 0, 0, 0, time.UTC))
		h.check()
	}
}
