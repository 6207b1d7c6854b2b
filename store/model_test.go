package store_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// Values that are new, late, of a time that had one, or imported, while hours and
// days pass and the store is stopped, started and moved: history has what a plain
// map has. A run is repeated by its seed, which is its name.
func TestTheStoreIsAMap(t *testing.T) {
	seeds := 40
	if underRace {
		seeds = 4
	}
	if images(t) > 0 {
		seeds = 5000
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { storeIsAMap(t, rand.New(rand.NewPCG(seed, 5))) })
		})
	}
}

type series struct{ device, name string }

func storeIsAMap(t *testing.T, r *rand.Rand) {
	time.Sleep(time.Until(time.UnixMilli(1795219200000)))
	disk, dir := segmenttest.Reborn(nil), memoryDir(t)
	start := func() *store.Store {
		o := store.Options{Dir: dir, Commit: time.Duration(r.IntN(2)) * time.Second, LogIn: store.LogIn(r.IntN(4) / 3)}
		s, err := store.OpenOn(o, disk, 16<<10, 8<<10)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start()
	model := map[series]map[int64]protocol.Value{}
	seq := uint64(0)
	for range 60 {
		switch r.IntN(12) {
		case 0:
			end(t, s)
			s = start()
		case 1:
			time.Sleep(time.Duration(r.Int64N(int64(3 * time.Hour))))
		case 2:
			time.Sleep(time.Duration(r.Int64N(int64(40 * time.Hour))))
		case 3:
			compareWithMap(t, s, model)
		default:
			for range 1 + r.IntN(30) {
				seq++
				sayAtRandom(t, s, r, seq, model)
			}
			time.Sleep(time.Duration(r.Int64N(int64(5 * time.Second))))
		}
	}
	compareWithMap(t, s, model)
	end(t, s)
}

func sayAtRandom(t *testing.T, s *store.Store, r *rand.Rand, seq uint64, model map[series]map[int64]protocol.Value) {
	t.Helper()
	now := time.Now()
	e := &store.Entry{Kind: store.Telemetry, Device: fmt.Sprint("d", r.IntN(3)), Boot: protocol.Boot{1}, Seq: seq, Received: now.UnixMilli()}
	if r.IntN(8) == 0 {
		e.Kind = store.Imported
	}
	for range 1 + r.IntN(3) {
		at := now.Add(-time.Duration(r.IntN(3)) * time.Millisecond) // at times one that there is
		if r.IntN(5) == 0 {
			at = now.Add(-time.Duration(r.Int64N(int64(96 * time.Hour)))).Truncate(time.Hour)
		}
		v := []protocol.Value{protocol.Int(int64(r.IntN(100))), protocol.Float(float64(r.IntN(1000)) / 8), protocol.Bool(r.IntN(2) == 0), protocol.Text(fmt.Sprint(seq))}[r.IntN(4)]
		k := series{e.Device, fmt.Sprint("s", r.IntN(3))}
		e.Records = append(e.Records, protocol.Record{Name: k.name, Value: v, Time: at.UnixNano(), Absolute: true})
		if model[k] == nil {
			model[k] = map[int64]protocol.Value{}
		}
		model[k][at.UnixNano()] = v
	}
	all := []*store.Entry{e}
	if r.IntN(20) == 0 && e.Kind == store.Telemetry { // sent again, which changes nothing
		again := *e
		again.Records = slices.Clone(e.Records)
		all = append(all, &again)
	}
	for _, e := range all {
		if _, err := s.Append(e, store.Measured, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func compareWithMap(t *testing.T, s *store.Store, model map[series]map[int64]protocol.Value) {
	t.Helper()
	time.Sleep(2 * time.Second) // all is committed
	for _, k := range slices.SortedFunc(maps.Keys(model), func(a, b series) int {
		return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.name, b.name))
	}) {
		got, err := s.History(t.Context(), k.device, k.name, time.Time{}, time.Now().AddDate(1, 0, 0), 0)
		if err != nil {
			t.Fatal(err)
		}
		times := slices.Sorted(maps.Keys(model[k]))
		if len(got) != len(times) {
			t.Errorf("%v: %d samples, want %d", k, len(got), len(times))
			continue
		}
		for i, at := range times {
			if got[i].Time != at || got[i].Value != model[k][at] {
				t.Errorf("%v: sample %d is %+v, want %v at %d", k, i, got[i], model[k][at], at)
			}
		}
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}
