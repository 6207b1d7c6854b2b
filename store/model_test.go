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
// days pass, clocks of devices and of the gateway are set, and the store is stopped,
// started and moved: history has what a plain map has, and lets go of what was kept
// long enough. A run is repeated by its seed, which is its name.
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

// said is a value, and when the store was told.
type said struct {
	value protocol.Value
	at    time.Time
}

// model is a home, and the plain map of what its devices said.
type model struct {
	t      *testing.T
	r      *rand.Rand
	retain time.Duration // 0 = for ever
	seq    uint64
	clock  time.Duration            // how wrong the gateway's is
	clocks map[string]time.Duration // likewise, of devices
	values map[series]map[int64]said
}

// wrong are the steps of clocks: a Pi or a device without a battery begins in 1970,
// others are set by hours, or far ahead.
var wrong = []time.Duration{0, 0, time.Hour, -time.Hour, 30 * 24 * time.Hour, -20 * 24 * time.Hour, 400 * 24 * time.Hour, -1795219200 * time.Second}

func storeIsAMap(t *testing.T, r *rand.Rand) {
	time.Sleep(time.Until(time.UnixMilli(1795219200000)))
	disk, dir := segmenttest.Reborn(nil), memoryDir(t)
	m := &model{t: t, r: r, clocks: map[string]time.Duration{}, values: map[series]map[int64]said{}}
	if r.IntN(2) == 0 {
		m.retain = time.Duration(1+r.IntN(4)) * 24 * time.Hour
	}
	start := func() *store.Store {
		o := store.Options{Dir: dir, Commit: time.Duration(r.IntN(2)) * time.Second, LogIn: store.LogIn(r.IntN(4) / 3), Retain: m.retain}
		s, err := store.OpenOn(o, disk, 16<<10, 8<<10)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start()
	for range 60 {
		switch r.IntN(14) {
		case 0:
			time.Sleep(2 * time.Second) // all is committed
			before := m.newest(s)
			end(t, s)
			s = start()
			if after := m.newest(s); !maps.Equal(before, after) {
				t.Errorf("newest values were %v, and are %v after a start", before, after)
			}
		case 1:
			time.Sleep(time.Duration(r.Int64N(int64(3 * time.Hour))))
		case 2:
			time.Sleep(time.Duration(r.Int64N(int64(40 * time.Hour))))
		case 3:
			m.compare(s)
		case 4:
			m.setClock(s)
		case 5:
			m.clocks[fmt.Sprint("d", r.IntN(3))] = wrong[r.IntN(len(wrong))]
		default:
			for range 1 + r.IntN(30) {
				m.say(s)
			}
			time.Sleep(time.Duration(r.Int64N(int64(5 * time.Second))))
		}
	}
	m.compare(s)
	end(t, s)
}

// setClock is a step of the gateway's clock, which it notes in the log.
func (m *model) setClock(s *store.Store) {
	m.t.Helper()
	before := m.clock
	m.clock = wrong[m.r.IntN(len(wrong))]
	e := &store.Entry{Kind: store.ClockStep, Received: time.Now().Add(m.clock).UnixMilli(), Step: (m.clock - before).Milliseconds()}
	if _, err := s.Append(e, store.Now, nil); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) say(s *store.Store) {
	m.t.Helper()
	r := m.r
	m.seq++
	now := time.Now()
	e := &store.Entry{Kind: store.Telemetry, Device: fmt.Sprint("d", r.IntN(3)), Boot: protocol.Boot{1}, Seq: m.seq, Received: now.Add(m.clock).UnixMilli()}
	if r.IntN(8) == 0 {
		e.Kind = store.Imported
	}
	for range 1 + r.IntN(3) {
		at := now.Add(m.clocks[e.Device] - time.Duration(r.IntN(3))*time.Millisecond) // at times one that there is
		if r.IntN(5) == 0 {
			at = at.Add(-time.Duration(r.Int64N(int64(96 * time.Hour)))).Truncate(time.Hour)
		}
		v := []protocol.Value{protocol.Int(int64(r.IntN(100))), protocol.Float(float64(r.IntN(1000)) / 8), protocol.Bool(r.IntN(2) == 0), protocol.Text(fmt.Sprint(m.seq))}[r.IntN(4)]
		k := series{e.Device, fmt.Sprint("s", r.IntN(3))}
		e.Records = append(e.Records, protocol.Record{Name: k.name, Value: v, Time: at.UnixNano(), Absolute: true})
		if m.values[k] == nil {
			m.values[k] = map[int64]said{}
		}
		m.values[k][at.UnixNano()] = said{v, now}
	}
	all := []*store.Entry{e}
	if r.IntN(20) == 0 && e.Kind == store.Telemetry { // sent again, which changes nothing
		again := *e
		again.Records = slices.Clone(e.Records)
		all = append(all, &again)
	}
	for _, e := range all {
		if _, err := s.Append(e, store.Measured, nil); err != nil {
			m.t.Fatal(err)
		}
	}
}

// newest are the values that the store shows now.
func (m *model) newest(s *store.Store) map[series]store.Newest {
	all := map[series]store.Newest{}
	for k := range m.values {
		if v, ok := s.NewestOf(k.device, k.name); ok {
			all[k] = v
		}
	}
	return all
}

const (
	atLeastKept = 26 * time.Hour // in the log until it is sealed, in pieces until the night
	atMostKept  = 25 * time.Hour // behind its time: days go as a whole, within the hour
)

// compare holds the history against the map. What is too old may be there for a
// while, and then must not.
func (m *model) compare(s *store.Store) {
	m.t.Helper()
	time.Sleep(2 * time.Second) // all is committed
	now := time.Now()
	for _, k := range slices.SortedFunc(maps.Keys(m.values), func(a, b series) int {
		return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.name, b.name))
	}) {
		all, err := s.History(m.t.Context(), k.device, k.name, time.Time{}, now.AddDate(3, 0, 0), 0)
		if err != nil {
			m.t.Fatal(err)
		}
		got := map[int64]protocol.Value{}
		for i, v := range all {
			if got[v.Time] = v.Value; i > 0 && v.Time <= all[i-1].Time {
				m.t.Errorf("%v: %d comes behind %d", k, v.Time, all[i-1].Time)
			}
		}
		for at, want := range m.values[k] {
			age := now.Sub(time.Unix(0, at))
			v, there := got[at]
			delete(got, at)
			switch {
			case there && v != want.value:
				m.t.Errorf("%v: %v at %d, want %v", k, v, at, want.value)
			case !there && (m.retain == 0 || age <= m.retain):
				m.t.Errorf("%v: %v at %d is missing, which is %v old", k, want.value, at, age)
			case there && m.retain > 0 && age > m.retain+atMostKept && now.Sub(want.at) > atLeastKept+time.Minute:
				m.t.Errorf("%v: %v at %d is there, which is %v old", k, v, at, age)
			}
		}
		if len(got) > 0 {
			m.t.Errorf("%v: nobody said %v", k, got)
		}
	}
	if err := s.Check(); err != nil {
		m.t.Error(err)
	}
}
