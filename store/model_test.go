package store_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// model is what was said, kept as plainly as can be.
type model struct {
	t    *testing.T
	r    *rand.Rand
	disk *segmenttest.Disk
	dir  string
	s    *store.Store
	seq  uint64
	log  []*store.Entry             // in order
	said map[string]map[int64]int64 // by series: time → the value said last
	read int                        // entries that the lagging reader had
	step time.Duration              // of the clock: what the gateway believes
}

var modelOps = []struct {
	weight int
	name   string
	do     func(m *model)
}{
	{60, "say", (*model).say},
	{12, "look", (*model).look},
	{6, "rows", (*model).rows},
	{6, "read", (*model).catchUp},
	{8, "wait", func(m *model) { time.Sleep(time.Duration(m.r.Int64N(int64(3 * time.Hour)))) }},
	{3, "night", func(m *model) { time.Sleep(25 * time.Hour) }},
	{3, "clock", func(m *model) { m.step = time.Duration(m.r.Int64N(int64(72*time.Hour))) - 36*time.Hour }},
	{3, "reopen", (*model).reopen},
}

// Whatever is said and done, in whatever order, looking back and reading on give
// what was said.
func TestAgainstAModel(t *testing.T) {
	runs, ops := 3, 300
	if underRace {
		runs, ops = 1, 200
	}
	for run := range runs {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)))
			m := &model{t: t, r: rand.New(rand.NewPCG(uint64(run), 7)), disk: segmenttest.Reborn(nil), dir: memoryDir(t), said: map[string]map[int64]int64{}}
			m.open()
			tail, err := m.s.Tail("slow")
			if err != nil {
				t.Fatal(err)
			}
			tail.Close()
			var done []string
			for range ops {
				n := m.r.IntN(101)
				for _, op := range modelOps {
					if n -= op.weight; n < 0 {
						done = append(done, op.name)
						op.do(m)
						break
					}
				}
				if t.Failed() {
					t.Fatalf("run %d, after %v", run, done)
				}
			}
			m.catchUp()
			end(t, m.s)
		})
	}
}

func (m *model) open() {
	m.t.Helper()
	in := []store.LogIn{store.Files, store.Files, store.InBolt}[m.r.IntN(3)]
	s, err := store.OpenOn(store.Options{Dir: m.dir, Commit: 0, LogIn: in}, m.disk, 32<<10, 8<<10)
	if err != nil {
		m.t.Fatal(err)
	}
	s.Describe(func(_, name string) (counter, known bool) { return name == "n1", true })
	m.s = s
}

func (m *model) reopen() {
	end(m.t, m.s)
	m.open()
}

func (m *model) device() string { return fmt.Sprint("d", m.r.IntN(3)) }

// say is some frames, with values that come late, again, or of another day.
func (m *model) say() {
	now := time.Now().Add(m.step)
	frames := 1 + m.r.IntN(30)
	acked := make(chan error, frames)
	for range frames {
		m.seq++
		e := &store.Entry{Kind: store.Telemetry, Device: m.device(), Boot: protocol.Boot{1}, Seq: m.seq, Received: now.UnixMilli()}
		for range 1 + m.r.IntN(4) {
			at := now.Add(-time.Duration(m.r.Int64N(int64(10 * time.Minute)))).Truncate(time.Second)
			if m.r.IntN(15) == 0 {
				at = at.Add(-time.Duration(m.r.Int64N(int64(80 * time.Hour))))
			}
			name := fmt.Sprint("n", m.r.IntN(3))
			v := m.r.Int64N(1000)
			if slices.ContainsFunc(e.Records, func(r protocol.Record) bool { return r.Name == name && r.Time == at.UnixNano() }) {
				continue // a frame says a time once
			}
			e.Records = append(e.Records, protocol.Record{Name: name, Unit: "Cel", Value: protocol.Int(v), Time: at.UnixNano(), Absolute: true})
			series := e.Device + "/" + name
			if m.said[series] == nil {
				m.said[series] = map[int64]int64{}
			}
			m.said[series][at.UnixNano()] = v
		}
		m.log = append(m.log, e)
		if repeat, err := m.s.Append(e, store.Now, waiter(func(err error) { acked <- err })); err != nil || repeat {
			m.t.Fatal(repeat, err)
		}
	}
	for range frames {
		if err := <-acked; err != nil {
			m.t.Fatal(err)
		}
	}
}

// span is some time around now.
func (m *model) span() (from, to time.Time) {
	from = time.Now().Add(-time.Duration(m.r.Int64N(int64(200 * time.Hour))))
	return from, from.Add(time.Duration(m.r.Int64N(int64(100 * time.Hour))))
}

func (m *model) want(series string, from, to time.Time) (want []store.Sample) {
	for at, v := range m.said[series] {
		if at >= from.UnixNano() && at < to.UnixNano() {
			want = append(want, store.Sample{Time: at, Value: protocol.Int(v)})
		}
	}
	slices.SortFunc(want, func(a, b store.Sample) int { return cmp.Compare(a.Time, b.Time) })
	return want
}

func (m *model) look() {
	device, name := m.device(), fmt.Sprint("n", m.r.IntN(3))
	from, to := m.span()
	got, err := m.s.History(m.t.Context(), device, name, from, to, 0)
	if want := m.want(device+"/"+name, from, to); err != nil || !slices.Equal(got, want) {
		m.t.Errorf("%s/%s from %v to %v: %d samples, want %d, %v", device, name, from, to, len(got), len(want), err)
	}
}

// rows of whole hours count what was said in them.
func (m *model) rows() {
	device, name := m.device(), fmt.Sprint("n", m.r.IntN(3))
	from, to := m.span()
	from, to = from.Truncate(time.Hour), to.Truncate(time.Hour)
	rows, err := m.s.Rows(m.t.Context(), device, name, from, to, store.Hours)
	if err != nil {
		m.t.Error(err)
	}
	want := m.want(device+"/"+name, from, to)
	for _, row := range rows {
		n := 0
		for n < len(want) && want[n].Time < row.End {
			n++
		}
		if n == 0 || row.Count != n || row.Last != want[n-1].Value || want[0].Time < row.Start {
			m.t.Errorf("%s/%s: a row from %v counts %d and ends with %v; want %d", device, name, time.Unix(0, row.Start), row.Count, row.Last, n)
			return
		}
		want = want[n:]
	}
	if len(want) > 0 {
		m.t.Errorf("%s/%s from %v to %v: %d samples are in no row", device, name, from, to, len(want))
	}
}

// catchUp reads on with the reader that lags.
func (m *model) catchUp() {
	tail, err := m.s.Tail("slow")
	if err != nil {
		m.t.Fatal(err)
	}
	defer tail.Close()
	for most := m.r.IntN(300); most > 0 && m.read < len(m.log); {
		got, skipped, err := tail.Next(m.t.Context(), 1+m.r.IntN(50))
		if err != nil || skipped > 0 {
			m.t.Fatalf("%d skipped, %v", skipped, err)
		}
		for _, e := range got {
			want := m.log[m.read]
			if e.Device != want.Device || e.Seq != want.Seq || !slices.Equal(e.Records, want.Records) {
				m.t.Fatalf("entry %d is %+v, want %+v", e.Pos, e, want)
			}
			m.read++
			most--
		}
		tail.Advance(got[len(got)-1].Pos)
	}
}
