package protocol

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const noon = int64(1795219200000) // ms, the moment of receipt in these tests

func times(records []Record) []string {
	var all []string
	for _, r := range records {
		all = append(all, fmt.Sprintf("%s %v", r.Name, (r.Time-noon*1e6)/second))
	}
	return all
}

func TestTimesCountFromTheMomentOfComposing(t *testing.T) {
	frame := Telemetry{Age: 90_000, Records: []Record{
		{Name: "now"},
		{Name: "before", Time: -120 * second},
		{Name: "after", Time: 30 * second},
		{Name: "absolute", Time: noon*1e6 - 7*second, Absolute: true},
	}}
	if n := frame.Resolve(noon, true); n != 0 {
		t.Errorf("%d replaced", n)
	}
	want := []string{"now -90", "before -210", "after -60", "absolute -7"}
	if d := cmp.Diff(want, times(frame.Records)); d != "" {
		t.Errorf("seconds before the receipt (-want +got):\n%s", d)
	}
	for _, r := range frame.Records {
		if !r.Absolute {
			t.Errorf("%s is still relative", r.Name)
		}
	}
}

func TestAbsurdTimesBecomeTheReceiptTime(t *testing.T) {
	const day = 24 * 3600 * second
	at := noon * 1e6
	frame := Telemetry{Records: []Record{
		{Name: "ahead", Time: 600 * second},
		{Name: "too_far_ahead", Time: 600*second + 1},
		{Name: "back", Time: -90 * day},
		{Name: "too_far_back", Time: -90*day - 1},
		{Name: "epoch", Time: 1 << 28 * second, Absolute: true},
		{Name: "never", Time: math.MaxInt64, Absolute: true},
		{Name: "ever", Time: math.MinInt64},
		{Name: "absolute", Time: at + 600*second, Absolute: true},
	}}
	if n := frame.Resolve(noon, true); n != 5 {
		t.Errorf("%d replaced, want 5", n)
	}
	want := []string{"ahead 600", "too_far_ahead 0", "back -7776000", "too_far_back 0", "epoch 0", "never 0", "ever 0", "absolute 600"}
	if d := cmp.Diff(want, times(frame.Records)); d != "" {
		t.Errorf("seconds from the receipt (-want +got):\n%s", d)
	}
}

func TestAnAgeBeyondAllBoundsIsTooFarBack(t *testing.T) {
	for _, age := range []uint64{91 * 24 * 3600 * 1000, math.MaxInt64, math.MaxUint64} {
		frame := Telemetry{Age: age, Records: []Record{{Name: "a"}}}
		if n := frame.Resolve(noon, true); n != 1 || frame.Records[0].Time != noon*1e6 {
			t.Errorf("age %d: %d replaced, time %d", age, n, frame.Records[0].Time)
		}
	}
}

func TestUncertainRecordsHaveTheReceiptTimeAndAreNotCounted(t *testing.T) {
	frame := Telemetry{Uncertain: true, Age: 5000, Records: []Record{
		{Name: "a", Time: -3600 * second, Value: Int(1)},
		{Name: "a", Time: -1800 * second, Value: Int(2)},
		{Name: "b", Time: math.MaxInt64, Absolute: true},
	}}
	if n := frame.Resolve(noon, true); n != 0 {
		t.Errorf("%d replaced, want none counted", n)
	}
	if d := cmp.Diff([]string{"a 0", "a 0", "b 0"}, times(frame.Records)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestTheLastOfTheSameNameAndTimeCounts(t *testing.T) {
	for _, c := range []struct {
		others  int
		trusted bool
	}{{0, true}, {20, true}, {0, false}} {
		frame := Telemetry{Records: []Record{
			{Name: "a", Value: Int(1)},
			{Name: "a", Value: Int(2), Time: -second},
			{Name: "b", Value: Int(3)},
			{Name: "a", Value: Int(4)},
			{Name: "a", Value: Int(5), Time: -second},
		}}
		for i := range c.others {
			frame.Records = append(frame.Records, Record{Name: fmt.Sprint("other", i)})
		}
		frame.Resolve(noon, c.trusted)
		var kept []string
		for _, r := range frame.Records[:len(frame.Records)-c.others] {
			kept = append(kept, r.Name+"="+r.Value.String())
		}
		if d := cmp.Diff([]string{"b=3", "a=4", "a=5"}, kept); d != "" {
			t.Errorf("with %+v (-want +got):\n%s", c, d)
		}
	}
}

func TestResultsCountFromTheirReceipt(t *testing.T) {
	r := Result{Records: []Record{{Name: "a", Time: -second}, {Name: "a", Time: -second}, {Name: "b", Time: 700 * second}}}
	if n := r.Resolve(noon, true); n != 1 {
		t.Errorf("%d replaced", n)
	}
	if d := cmp.Diff([]string{"a -1", "b 0"}, times(r.Records)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Whatever the times and the age, what comes out lies around the receipt.
func TestResolvedTimesAreNearTheReceipt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frame := Telemetry{Age: rapid.Uint64().Draw(t, "age")}
		for range rapid.IntRange(0, 20).Draw(t, "records") {
			frame.Records = append(frame.Records, Record{
				Name:     rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"),
				Time:     rapid.Int64().Draw(t, "time"),
				Absolute: rapid.Bool().Draw(t, "absolute"),
			})
		}
		received := rapid.Int64().Draw(t, "received")
		frame.Resolve(received, true)
		now := milliseconds(received)
		for _, r := range frame.Records {
			if r.Time > addSaturated(now, maxAhead) || r.Time < addSaturated(now, -maxBack) || !r.Absolute {
				t.Fatalf("%+v, received %d", r, received)
			}
		}
	})
}
