// Package storetest is what every implementation of the store has to pass.
package storetest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// Open makes or opens the store in a directory.
type Open func(o store.Options) (*store.Store, error)

// noon is when the stories happen, ms since 1970.
const noon = 1795219200000

// Run tells all stories of one implementation.
func Run(t *testing.T, open Open) {
	for _, story := range []struct {
		name string
		tell func(*house)
	}{
		{"everything comes back as it was", everything},
		{"eight boots are remembered", eightBoots},
		{"a repeat is known after a restart", repeats},
		{"a reader goes on where it was", cursors},
		{"a reader far behind misses nothing", farBehind},
		{"late, unfit and uncertain values change no state", newest},
		{"history is what a naive reading of the log says", history},
		{"what is imported is history and no state", imported},
		{"tables keep the order of what was asked", tables},
		{"presence comes back, the forgotten do not", presence},
	} {
		t.Run(story.name, func(t *testing.T) {
			h := &house{T: t, open: open, dir: t.TempDir()}
			h.start()
			story.tell(h)
			h.stop()
		})
	}
}

// house is one story's store and what the story says to it.
type house struct {
	*testing.T
	open Open
	dir  string
	s    *store.Store
}

func (h *house) start() {
	h.Helper()
	s, err := h.open(store.Options{Dir: h.dir, Commit: 0})
	if err != nil {
		h.Fatal(err)
	}
	h.s = s
}

// stop lets the store check itself and closes it.
func (h *house) stop() {
	h.Helper()
	if err := h.s.Check(); err != nil {
		h.Error(err)
	}
	if err := h.s.Close(); err != nil {
		h.Error(err)
	}
}

func (h *house) restart() {
	h.Helper()
	h.stop()
	h.start()
}

// Ack is a Waiter that hands on what it is told.
type Ack chan error

// Committed is called by the store.
func (a Ack) Committed(_ *store.Entry, err error) { a <- err }

// say appends entries and waits until all are durable; it returns how many were
// repeats.
func (h *house) say(entries ...*store.Entry) (repeats int) {
	h.Helper()
	done := make(Ack, len(entries))
	for _, e := range entries {
		repeat, err := h.s.Append(e, store.Now, done)
		if err != nil {
			h.Fatal(err)
		}
		if repeat {
			repeats++
		}
	}
	for range entries {
		if err := <-done; err != nil {
			h.Fatal(err)
		}
	}
	return repeats
}

// frame is a telemetry entry; received in ms after noon.
func frame(device string, boot byte, seq uint64, received int64, records ...protocol.Record) *store.Entry {
	return &store.Entry{Kind: store.Telemetry, Device: device, Boot: protocol.Boot{boot}, Seq: seq, Received: noon + received, Records: records}
}

// value is a record with a time in ms after noon.
func value(name string, v int64, at int64) protocol.Record {
	return protocol.Record{Name: name, Value: protocol.Int(v), Time: (noon + at) * 1e6, Absolute: true}
}

// read takes n entries from a reader.
func (h *house) read(t *store.Tail, n int) (entries []*store.Entry) {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for len(entries) < n {
		more, skipped, err := t.Next(ctx, n-len(entries))
		if err != nil || skipped > 0 {
			h.Fatalf("after %d of %d entries: %d skipped, %v", len(entries), n, skipped, err)
		}
		entries = append(entries, more...)
	}
	return entries
}

func (h *house) tail(name string) *store.Tail {
	h.Helper()
	t, err := h.s.Tail(name)
	if err != nil {
		h.Fatal(err)
	}
	return t
}

func everything(h *house) {
	all := []*store.Entry{
		{Kind: store.Telemetry, Device: "a", Boot: protocol.Boot{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 1<<53 - 1, Received: noon, Records: []protocol.Record{
			{Name: "f16", Unit: "Cel", Value: protocol.MakeValue(protocol.Float16, 0x4d60, ""), Time: noon*1e6 + 1, Absolute: true},
			{Name: "f32", Value: protocol.MakeValue(protocol.Float32, 0x7f7fffff, ""), Time: noon * 1e6},
			{Name: "f64", Value: protocol.Float(-math.SmallestNonzeroFloat64), Time: noon * 1e6},
			{Name: "most", Value: protocol.MakeValue(protocol.Uint, math.MaxUint64, ""), Time: (noon + 600_000) * 1e6},
			{Name: "least", Value: protocol.MakeValue(protocol.Neg, math.MaxUint64, ""), Time: (noon - 90*86_400_000) * 1e6},
			{Name: "yes", Value: protocol.Bool(true), Time: noon * 1e6, Unfit: true},
			{Name: "word", Value: protocol.Text("grün\x00"), Time: noon * 1e6},
			{Name: "long", Value: protocol.Text(strings.Repeat("x", 60_000)), Time: noon * 1e6},
		}},
		{Kind: store.Telemetry, Device: "a", Boot: protocol.Boot{2}, Seq: 1, Received: noon - 5, Uncertain: true, Records: []protocol.Record{value("x", 1, 0)}},
		{Kind: store.Telemetry, Device: "b", Boot: protocol.Boot{2}, Seq: 1, Received: noon}, // an empty frame
		{Kind: store.Result, Device: "b", Received: noon, Command: 1<<53 - 1, Records: []protocol.Record{value("x", -1, 0)}},
		{Kind: store.Refused, Device: "b", Boot: protocol.Boot{2}, Seq: 2, Received: noon},
		{Kind: store.Presence, Device: "b", Received: noon, Presence: store.PresenceChange{State: store.Sleeping, Since: noon, Cause: "bye", NextWake: noon + 600_000}},
		{Kind: store.ClockStep, Received: 1000, Step: 1000 - noon},
		{Kind: store.Imported, Device: "b", Boot: protocol.Boot{9}, Seq: 77, Received: noon - 86_400_000, Records: []protocol.Record{value("x", 2, -86_400_000)}},
	}
	want := make([]store.Entry, len(all))
	for i, e := range all {
		want[i] = *e
		want[i].Records = slices.Clone(e.Records)
	}
	same := func(got []*store.Entry) {
		h.Helper()
		for i, e := range got {
			w := want[i]
			w.Pos = e.Pos
			if len(w.Records) == 0 {
				w.Records = e.Records[:0]
			}
			if !reflect.DeepEqual(*e, w) {
				h.Errorf("entry %d is %.200v\nwant %.200v", i, *e, w)
			}
		}
	}
	tail := h.tail("reader")
	follow := h.s.Follow()
	h.say(all...)
	same(h.read(tail, len(all)))
	same(h.read(follow, len(all)))
	h.restart()
	tail = h.tail("reader") // it never said that it is done
	if tail.Lag() != uint64(len(all)) {
		h.Errorf("lag %d, want %d", tail.Lag(), len(all))
	}
	same(h.read(tail, len(all)))
}

func eightBoots(h *house) {
	for b := byte(1); b <= 8; b++ {
		h.say(frame("a", b, uint64(b)*10, 0))
	}
	named := []protocol.Boot{{8}, {1}, {2}, {3}, {4}, {5}, {6}, {7}}
	want := []uint64{80, 10, 20, 30, 40, 50, 60, 70}
	for range 2 {
		if got := h.s.Hello("a", named); !slices.Equal(got, want) {
			h.Errorf("settled %v, want %v", got, want)
		}
		h.restart()
	}
	// A ninth takes the place of the one least recently named: 3, since the last
	// hello names all others.
	if got := h.s.Hello("a", []protocol.Boot{{9}, {1}, {2}, {4}, {5}, {6}, {7}, {8}}); !slices.Equal(got, []uint64{0, 10, 20, 40, 50, 60, 70, 80}) {
		h.Errorf("settled with a ninth %v", got)
	}
	if got := h.s.Hello("a", []protocol.Boot{{3}})[0]; got != 0 {
		h.Errorf("boot 3 is still known: %d", got)
	}
	if h.say(frame("a", 3, 30, 0)) != 0 {
		h.Error("a frame of a forgotten boot is a repeat")
	}
	if got := h.s.Hello("other", named[:1])[0]; got != 0 {
		h.Errorf("another device's boot is known: %d", got)
	}
}

func repeats(h *house) {
	h.say(frame("a", 1, 5, 0, value("x", 5, 0)), &store.Entry{Kind: store.Refused, Device: "a", Boot: protocol.Boot{1}, Seq: 6, Received: noon})
	for range 2 {
		if n := h.say(frame("a", 1, 4, 0), frame("a", 1, 5, 0), frame("a", 1, 6, 0)); n != 3 {
			h.Errorf("%d of 3 are repeats", n)
		}
		if h.s.Head() != 2 {
			h.Errorf("a repeat was stored: the head is at %d", h.s.Head())
		}
		h.restart()
	}
	if n := h.say(frame("a", 1, 9, 0), frame("a", 2, 1, 0)); n != 0 {
		h.Errorf("%d new ones are repeats", n)
	}
}

func cursors(h *house) {
	h.say(frame("a", 1, 1, 0))
	tail := h.tail("mqtt") // a new reader begins at the head
	if _, err := h.s.Tail("mqtt"); err == nil {
		h.Error("two readers have one name")
	}
	if err := h.s.RemoveCursor("mqtt"); err == nil {
		h.Error("the cursor of an open reader was removed")
	}
	for seq := uint64(2); seq <= 9; seq++ {
		h.say(frame("a", 1, seq, 0))
	}
	got := h.read(tail, 5)
	if got[0].Seq != 2 {
		h.Errorf("the first one read is %d", got[0].Seq)
	}
	tail.Advance(got[2].Pos)
	tail.Advance(got[0].Pos) // never back
	if tail.Lag() != 5 {
		h.Errorf("lag %d, want 5", tail.Lag())
	}
	tail.Rewind()
	if again := h.read(tail, 1); again[0].Seq != 5 {
		h.Errorf("after a rewind it reads %d, want 5", again[0].Seq)
	}
	h.restart()
	tail = h.tail("mqtt")
	if got := h.read(tail, 5); got[0].Seq != 5 || got[4].Seq != 9 {
		h.Errorf("after a restart it reads from %d to %d", got[0].Seq, got[4].Seq)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, _, err := tail.Next(ctx, 1); err == nil {
		h.Error("Next returned without an entry")
	}
	tail.Close()
	tail.Close()
	if _, _, err := tail.Next(context.Background(), 1); err != store.ErrClosed {
		h.Errorf("Next of a closed reader: %v", err)
	}
	if c := h.s.Cursors(); len(c) != 1 || c[0].Name != "mqtt" || c[0].Lag != 5 || c[0].Open {
		h.Errorf("cursors %+v", c)
	}
	if err := h.s.RemoveCursor("mqtt"); err != nil {
		h.Error(err)
	}
	h.restart()
	if c := h.s.Cursors(); len(c) != 0 {
		h.Errorf("a removed cursor is back: %+v", c)
	}
}

// farBehind reads much more than fits into memory while more is written.
func farBehind(h *house) {
	const frames = 12_000
	tail := h.tail("slow")
	text := strings.Repeat("x", 500)
	done := make(Ack, frames)
	appended := make(chan error, 1)
	go func() {
		for seq := range uint64(frames) {
			e := frame("a", 1, seq+1, int64(seq), protocol.Record{Name: "text", Value: protocol.Text(text), Time: noon * 1e6})
			if _, err := h.s.Append(e, store.Measured, done); err != nil {
				appended <- err
				return
			}
			if seq == frames/2 {
				for range frames / 2 {
					<-done
				}
			}
		}
		appended <- nil
	}()
	want := uint64(1)
	for want <= frames {
		for _, e := range h.read(tail, min(777, frames+1-int(want))) {
			if e.Seq != want {
				h.Fatalf("read %d, want %d", e.Seq, want)
			}
			want++
		}
	}
	if err := <-appended; err != nil {
		h.Fatal(err)
	}
	tail.Rewind()
	if got := h.read(tail, frames); got[frames-1].Seq != frames {
		h.Errorf("the last one read is %d", got[frames-1].Seq)
	}
}

func newest(h *house) {
	unfit := value("t", 99, 9000)
	unfit.Unfit = true
	uncertain := frame("a", 1, 3, 9000, value("t", 98, 9000))
	uncertain.Uncertain = true
	late := frame("a", 1, 4, 9000, value("t", 3, 3000), value("u", 1, 3000))
	equal := frame("a", 1, 5, 9100, value("t", 5, 5000))
	h.say(frame("a", 1, 1, 5000, value("t", 4, 5000)), frame("a", 1, 2, 5000, unfit), uncertain, late, equal)
	if !late.Records[0].Late || late.Records[1].Late || equal.Records[0].Late {
		h.Errorf("late: %v %v, of equal time: %v", late.Records[0].Late, late.Records[1].Late, equal.Records[0].Late)
	}
	for range 2 {
		got := h.s.Newest("a")
		want := []store.Newest{
			{Name: "t", Value: protocol.Int(5), Time: (noon + 5000) * 1e6, Received: noon + 9100},
			{Name: "u", Value: protocol.Int(1), Time: (noon + 3000) * 1e6, Received: noon + 9000},
		}
		if !slices.Equal(got, want) {
			h.Errorf("newest %+v\nwant %+v", got, want)
		}
		if v, ok := h.s.NewestOf("a", "t"); !ok || v != want[0] {
			h.Errorf("newest of t: %+v", v)
		}
		if _, ok := h.s.NewestOf("a", "v"); ok {
			h.Error("v has a value")
		}
		h.restart()
	}
	again := frame("a", 1, 6, 9200, value("t", 4, 4999)) // late, also after a restart
	h.say(again)
	if !again.Records[0].Late {
		h.Error("after a restart an old value is not late")
	}
	h.clockSetBack()
}

// clockSetBack: a Pi that starts in the past must not hold back what devices
// say until its clock is right; order comes from the log.
func (h *house) clockSetBack() {
	h.Helper()
	past := frame("a", 1, 7, -3_600_000, value("t", 6, -3_600_000))
	older := frame("a", 1, 8, -3_590_000, value("t", 7, -3_700_000))
	h.say(past, older)
	h.restart()
	if v, ok := h.s.NewestOf("a", "t"); !ok || v.Value != protocol.Int(6) {
		h.Errorf("newest of t after the clock was set back: %+v", v)
	}
	if past.Records[0].Late || !older.Records[0].Late {
		h.Errorf("late: %v, and the older one behind it: %v", past.Records[0].Late, older.Records[0].Late)
	}
}

// history compares History and Export with a walk over what was said.
func history(h *house) {
	r := rand.New(rand.NewPCG(3, 4))
	var said []*store.Entry
	for seq := range uint64(3000) {
		received := int64(seq) * 10_000
		if seq > 1500 && seq < 1600 {
			received -= 500_000_000 // the clock was wrong for a while
		}
		var records []protocol.Record
		for range r.IntN(4) {
			at := received + 600_000 - r.Int64N(1_000_000) // up to 10 min ahead
			if r.IntN(20) == 0 {
				at -= r.Int64N(50_000_000) // or very late
			}
			records = append(records, value(fmt.Sprint("n", r.IntN(3)), int64(seq), at/50_000*50_000)) // some have equal times
		}
		e := frame(fmt.Sprint("d", r.IntN(3)), 1, seq+1, received, records...)
		e.Uncertain = r.IntN(10) == 0
		said = append(said, e)
	}
	h.say(said...)
	for i := range 60 {
		if i == 30 {
			h.restart()
		}
		from := time.UnixMilli(noon - 1_000_000 + r.Int64N(33_000_000))
		to := from.Add(time.Duration(r.Int64N(20_000_000)) * time.Millisecond)
		if i%10 == 0 {
			from, to = time.Time{}, time.UnixMilli(noon+100_000_000)
		}
		device, name, limit := fmt.Sprint("d", r.IntN(3)), fmt.Sprint("n", r.IntN(3)), r.IntN(3)*50
		h.sameHistory(said, device, name, from, to, limit)
	}
}

// imported entries are history and nothing else.
func imported(h *house) {
	h.say(frame("a", 1, 5, 0, value("x", 5, 0)))
	old := func(seq uint64, command uint64, v int64, at int64) *store.Entry {
		return &store.Entry{Kind: store.Imported, Device: "a", Boot: protocol.Boot{1}, Seq: seq, Command: command,
			Received: noon + at, Records: []protocol.Record{value("x", v, at), value("y", v, at)}}
	}
	if n := h.say(old(4, 0, 1, -3_600_000), old(0, 7, 2, -1_800_000), old(9, 0, 3, 1_000), old(4, 0, 1, 2_000)); n > 0 {
		h.Errorf("%d of them are repeats", n)
	}
	for range 2 {
		if v, ok := h.s.NewestOf("a", "x"); !ok || v.Value != protocol.Int(5) {
			h.Errorf("the newest value is %v", v)
		}
		if v, ok := h.s.NewestOf("a", "y"); ok {
			h.Errorf("a newest value is %v", v)
		}
		if seq := h.s.Hello("a", []protocol.Boot{{1}})[0]; seq != 5 {
			h.Errorf("settled %d", seq)
		}
		samples, err := h.s.History(context.Background(), "a", "x", time.UnixMilli(noon-10_000_000), time.UnixMilli(noon+10_000_000), 0)
		if err != nil {
			h.Fatal(err)
		}
		var got []int64
		for _, v := range samples {
			got = append(got, int64(v.Value.AsFloat()))
		}
		if want := []int64{1, 2, 5, 3, 1}; !slices.Equal(got, want) {
			h.Errorf("history is %v, want %v", got, want)
		}
		origins := map[[2]uint64]int{}
		err = h.s.Export(context.Background(), "a", time.Time{}, time.UnixMilli(noon+10_000_000), func(e *store.Entry, _ *protocol.Record) error {
			origins[[2]uint64{e.Seq, e.Command}]++
			return nil
		})
		if err != nil || origins[[2]uint64{4, 0}] != 4 || origins[[2]uint64{0, 7}] != 2 || origins[[2]uint64{9, 0}] != 2 || origins[[2]uint64{5, 0}] != 1 {
			h.Errorf("exported: %v %v", origins, err)
		}
		h.restart()
	}
}

func (h *house) sameHistory(said []*store.Entry, device, name string, from, to time.Time, limit int) {
	h.Helper()
	ctx := context.Background()
	type row struct {
		seq uint64
		rec protocol.Record
	}
	var rows []row
	last := map[int64]protocol.Value{}
	for _, e := range said {
		for _, rec := range e.Records {
			if t := time.Unix(0, rec.Time); e.Uncertain || e.Device != device || t.Before(from) || !t.Before(to) {
				continue
			}
			rows = append(rows, row{e.Seq, rec})
			if rec.Name == name {
				last[rec.Time] = rec.Value
			}
		}
	}
	var want []store.Sample
	for at, v := range last {
		want = append(want, store.Sample{Time: at, Value: v})
	}
	slices.SortFunc(want, func(a, b store.Sample) int { return cmp.Compare(a.Time, b.Time) })
	if limit > 0 && len(want) > limit {
		want = want[:limit]
	}
	got, err := h.s.History(ctx, device, name, from, to, limit)
	if err != nil || !slices.Equal(got, want) {
		h.Errorf("history of %s %s from %v to %v: %d samples, want %d, %v", device, name, from, to, len(got), len(want), err)
	}
	var exported []row
	err = h.s.Export(ctx, device, from, to, func(e *store.Entry, rec *protocol.Record) error {
		exported = append(exported, row{e.Seq, *rec})
		return nil
	})
	// Day by day, and each day in the order of the log.
	day := func(r row) int64 { return r.rec.Time / 86_400e9 }
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(day(a), day(b)) })
	slices.SortStableFunc(exported, func(a, b row) int { return cmp.Compare(day(a), day(b)) })
	if err != nil || !slices.Equal(exported, rows) {
		h.Errorf("export of %s from %v to %v: %d records, want %d, %v", device, from, to, len(exported), len(rows), err)
	}
}

type room struct {
	Name string
	Seen time.Time
	Deep map[string][]int
}

func tables(h *house) {
	open := func() *store.Table[room] {
		t, err := store.OpenTable[room](h.s, "rooms")
		if err != nil {
			h.Fatal(err)
		}
		return t
	}
	rooms := open()
	kitchen := room{"Küche", time.Unix(1, 2).UTC(), map[string][]int{"a": {1, 2}}}
	for _, key := range []string{"c", "a", "b"} {
		if err := rooms.PutSync(key, kitchen); err != nil {
			h.Fatal(err)
		}
	}
	kitchen.Deep["a"][0] = 9 // a copy is in the table
	if err := rooms.DeleteSync("b"); err != nil {
		h.Fatal(err)
	}

	// Changes and entries are told in the order in which they were asked for.
	var order []string
	told := make(chan string, 3)
	note := func(s string) func(error) { return func(error) { told <- s } }
	if err := rooms.Put("d", room{Name: "1"}, store.Rides, note("put")); err != nil {
		h.Fatal(err)
	}
	if v, ok, err := rooms.Get("d"); !ok || v.Name != "1" || err != nil {
		h.Errorf("a change is not visible at once: %v %v %v", v, ok, err)
	}
	if _, err := h.s.Append(frame("a", 1, 1, 0), store.Rides, waiter(note("append"))); err != nil {
		h.Fatal(err)
	}
	if err := rooms.Delete("d", store.Now, note("delete")); err != nil {
		h.Fatal(err)
	}
	for range 3 {
		order = append(order, <-told)
	}
	if !slices.Equal(order, []string{"put", "append", "delete"}) {
		h.Errorf("told in the order %v", order)
	}
	for range 2 {
		var keys []string
		if err := rooms.Each(func(key string, v room) error {
			keys = append(keys, key)
			if v.Name != "Küche" || !v.Seen.Equal(time.Unix(1, 2)) || !slices.Equal(v.Deep["a"], []int{1, 2}) {
				h.Errorf("%s is %+v", key, v)
			}
			return nil
		}); err != nil {
			h.Error(err)
		}
		if !slices.Equal(keys, []string{"a", "c"}) {
			h.Errorf("keys %v", keys)
		}
		h.restart()
		rooms = open()
	}
	if other, err := store.OpenTable[room](h.s, "room"); err != nil {
		h.Error(err)
	} else if _, ok, _ := other.Get("a"); ok {
		h.Error("another table has the same rows")
	}
}

type waiter func(error)

func (w waiter) Committed(_ *store.Entry, err error) { w(err) }

func presence(h *house) {
	p := store.PresenceChange{State: store.Sleeping, Since: noon, Cause: "bye", NextWake: noon + 1000}
	for _, d := range []string{"stays", "goes"} {
		h.say(frame(d, 1, 7, 0, value("t", 1, 0)), &store.Entry{Kind: store.Presence, Device: d, Received: noon, Presence: p})
	}
	h.s.Forget("goes")
	h.s.Forget("never was")
	for range 3 {
		if got, ok := h.s.PresenceOf("stays"); !ok || got != p {
			h.Errorf("presence %+v %v", got, ok)
		}
		if _, ok := h.s.PresenceOf("goes"); ok || len(h.s.Newest("goes")) > 0 || h.s.Hello("goes", []protocol.Boot{{1}})[0] != 0 {
			h.Error("a forgotten device is known")
		}
		if got, err := h.s.History(context.Background(), "goes", "t", time.Time{}, time.UnixMilli(noon+1), 0); err != nil || len(got) != 1 {
			h.Errorf("history of a forgotten device: %v %v", got, err)
		}
		h.restart()
	}
	if h.say(frame("goes", 1, 7, 0)) != 0 {
		h.Error("a forgotten device's frame is a repeat")
	}
}
