package history

import (
	"iter"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/rollup"
)

// Rows gives the rows of a series that overlap the span of q, in order: what is
// merged as it is kept, the rest computed, the same as merging would. Where
// retention has left only longer rows of a day, those are given; each says its
// Start and End. Raw asks for rows of five minutes.
func (r *Reader) Rows(q Query, level Level) iter.Seq[rollup.Row] {
	return func(yield func(rollup.Row) bool) {
		w := r.walk(q, max(level, FiveMinutes))
		for d := range w.days() {
			for _, row := range w.day(d) {
				if row.End > q.From && row.Start < q.To && !yield(row) {
					return
				}
			}
		}
	}
}

// Pick is the coarsest level that has at least two points for each of width
// pixels in the span of q, Raw only if it is kept of all of it.
func (r *Reader) Pick(q Query, width int) Level {
	for l := Days; l > Raw && q.From < q.To; l-- {
		if uint64(q.To-q.From)/uint64(l.Span()) >= 2*uint64(width) { // all time there is fits no int64
			return l
		}
	}
	if q.From < q.To && !r.hasRaw(q) {
		return FiveMinutes
	}
	return Raw
}

// hasRaw reports whether the samples of the first day with rows are still there.
// Retention begins with the oldest.
func (r *Reader) hasRaw(q Query) bool {
	w := r.walk(q, Days)
	for d := range w.days() {
		if rows := w.stored(Days, d); len(rows) > 0 {
			raw := r.sources(q.Device, d)
			return raw.count(q.Name) >= rows[0].Count
		}
	}
	return true
}

// walker goes through the days of one series in their order.
type walker struct {
	*Reader
	q           Query
	level       Level
	first, last day
	dirty       map[day]bool // not merged, or not yet all of it

	// The series' last value before the day that comes next: now, and as it was
	// when the kept rows were made.
	before, was protocol.Value

	kept [levels]keptRows // the bucket read last
}

type keptRows struct {
	name   string
	rows   []rollup.Row
	broken bool // there may have been more
}

func (r *Reader) walk(q Query, level Level) *walker {
	w := &walker{Reader: r, q: q, level: level, dirty: map[day]bool{}}
	if q.From >= q.To {
		w.first, w.last = 1, 0
		return w
	}
	for _, d := range r.shelves(pieces, dayOf(earliest), dayOf(latest)) {
		s := openShelf(r.Tx, pieces, d)
		if len(s.pieces(q.Device)) > 0 {
			w.dirty[d] = true
		}
	}
	for _, s := range q.Fresh {
		w.dirty[dayOf(s.Time)] = true
	}
	w.first, w.last = dayOf(q.From), dayOf(q.To-1)
	w.clamp()
	w.lookBack()
	return w
}

// clamp leaves out the days in which there is nothing of anybody.
func (w *walker) clamp() {
	first, last := dayOf(latest), dayOf(earliest)
	see := func(from, to day) { first, last = min(first, from), max(last, to) }
	for d := range w.dirty {
		see(d, d)
	}
	for l := FiveMinutes; l <= Days; l++ {
		if b := w.Tx.Bucket(buckets[l]); b != nil {
			for _, end := range []func() ([]byte, []byte){b.Cursor().First, b.Cursor().Last} {
				name, _ := end()
				if from, to, ok := l.span(name); ok {
					see(from, to-1)
				}
			}
		}
	}
	w.first, w.last = max(w.first, first), min(w.last, last)
}

func (w *walker) days() iter.Seq[day] {
	return func(yield func(day) bool) {
		for d := w.first; d <= w.last && yield(d); d++ {
		}
	}
}

// lookBack finds the last values before the first day.
func (w *walker) lookBack() {
	row, known := w.newestBefore(w.first)
	if known {
		w.was, w.before = row.Last, row.Last
	}
	var days []day
	for d := range w.dirty {
		if d < w.first && (!known || d >= dayOf(row.Start)) {
			days = append(days, d)
		}
	}
	slices.Sort(days)
	for _, d := range slices.Backward(days) {
		if fresh := w.compute(d, Days, protocol.Value{}); len(fresh) > 0 {
			w.before = fuller(w.stored(Days, d), fresh)[0].Last
			return
		}
	}
}

// newestBefore is the newest row of a day that is kept and begins before d.
func (w *walker) newestBefore(d day) (row rollup.Row, ok bool) {
	b := w.Tx.Bucket(buckets[Days])
	if b == nil {
		return row, false
	}
	years := w.shelves(Days, dayOf(earliest), d)
	for _, year := range slices.Backward(years) {
		rows := w.bucket(Days, year)
		n, _ := slices.BinarySearchFunc(rows, d.start(), compareStart)
		if n > 0 {
			return rows[n-1], true
		}
	}
	return row, false
}

func compareStart(row rollup.Row, t int64) int {
	switch {
	case row.Start < t:
		return -1
	case row.Start > t:
		return 1
	}
	return 0
}

// day gives the rows of the day that follows the one before.
func (w *walker) day(d day) []rollup.Row {
	level, rows := w.level, w.stored(w.level, d)
	for l := level + 1; l <= Days && len(rows) == 0; l++ {
		if rows = w.stored(l, d); len(rows) > 0 {
			level = l
		}
	}
	if len(rows) == 0 {
		rows = w.repaired(level, d)
	}
	was := w.was
	if len(rows) > 0 {
		w.was = rows[len(rows)-1].Last
	}
	if w.dirty[d] || len(rows) > 0 && was != w.before {
		rows = fuller(rows, w.compute(d, level, w.before))
	}
	if len(rows) > 0 {
		w.before = rows[len(rows)-1].Last
	}
	return rows
}

// repaired makes the rows of a day of those of a finer level, where its own are in
// a value that cannot be read.
func (w *walker) repaired(level Level, d day) []rollup.Row {
	if !w.kept[level].broken {
		return nil
	}
	for l := level - 1; l >= FiveMinutes; l-- {
		rows := w.stored(l, d)
		for finer := l + 1; finer <= level && len(rows) > 0; finer++ {
			rows = rollup.Coarsen(rows, finer.Span(), w.was)
		}
		if len(rows) > 0 {
			return rows
		}
	}
	return nil
}

// compute makes the rows of a day from its samples.
func (w *walker) compute(d day, level Level, before protocol.Value) []rollup.Row {
	all := w.sources(w.q.Device, d)
	all.fresh = w.q.Fresh
	fives := fiveMinutes(&all, w.q.Name, d, w.isCounter(d), before)
	return coarsen(fives, level, before)
}

// fiveMinutes rolls up the samples of a day.
func fiveMinutes(all *sources, name string, d day, counter bool, before protocol.Value) (rows []rollup.Row) {
	for samples := range all.windows(name, d, earliest, latest+1) {
		more := rollup.Rows(samples, rollup.FiveMinutes, counter, before)
		rows = append(rows, more...)
		before = more[len(more)-1].Last
	}
	return rows
}

// coarsen makes a day's rows of a level from those of five minutes, always in
// the same steps, so that the same samples give the same bits.
func coarsen(rows []rollup.Row, level Level, before protocol.Value) []rollup.Row {
	for l := FiveMinutes + 1; l <= level; l++ {
		rows = rollup.Coarsen(rows, l.Span(), before)
	}
	return rows
}

// isCounter decides what kind of rows a day of the series has. Where there is no row
// of the day there are no shorter ones, whose month would be decoded for nothing.
func (w *walker) isCounter(d day) bool {
	for l := Days; l >= FiveMinutes; l-- {
		if l < Days && len(w.stored(Days, d)) == 0 && !w.kept[Days].broken {
			break
		}
		if counter, known := meaning(w.stored(l, d)); known {
			return counter
		}
	}
	return w.counter(w.q.Device, w.q.Name, func() (rollup.Row, bool) { return w.newestBefore(d) })
}

// counter asks who knows the series, else the newest row before.
func (r *Reader) counter(device, name string, newest func() (rollup.Row, bool)) bool {
	if r.Counters != nil {
		if counter, known := r.Counters(device, name); known {
			return counter
		}
	}
	if row, ok := newest(); ok {
		counter, _ := meaning([]rollup.Row{row})
		return counter
	}
	return false
}

// meaning tells a counter's rows from others. Rows without numbers do not say.
func meaning(rows []rollup.Row) (counter, known bool) {
	for i := range rows {
		row := &rows[i]
		if row.Numbers > 0 || row.Last.IsNumber() || row.Increase != 0 || row.Resets != 0 {
			return row.Numbers == 0, true
		}
	}
	return false, false
}

// fuller joins rows of the same level. Of two with the same start the one of more
// samples counts, of as many the fresh one: so late samples come in, and rows
// whose own samples are gone stay when a few come late.
func fuller(kept, fresh []rollup.Row) []rollup.Row {
	if len(kept) == 0 {
		return fresh
	}
	all := make([]rollup.Row, 0, max(len(kept), len(fresh)))
	for len(kept) > 0 && len(fresh) > 0 {
		k, f := &kept[0], &fresh[0]
		switch {
		case k.Start < f.Start:
			all, kept = append(all, *k), kept[1:]
		case f.Start < k.Start:
			all, fresh = append(all, *f), fresh[1:]
		case k.Count > f.Count:
			all, kept, fresh = append(all, *k), kept[1:], fresh[1:]
		default:
			all, kept, fresh = append(all, *f), kept[1:], fresh[1:]
		}
	}
	return append(append(all, kept...), fresh...)
}

// stored are the kept rows of a level that begin in d.
func (w *walker) stored(l Level, d day) []rollup.Row {
	return within(w.bucket(l, d), d)
}

// within are the rows that begin in d.
func within(rows []rollup.Row, d day) []rollup.Row {
	i, _ := slices.BinarySearchFunc(rows, d.start(), compareStart)
	j, _ := slices.BinarySearchFunc(rows[i:], d.end(), compareStart)
	return rows[i : i+j]
}

// bucket are the kept rows of the series in the bucket that has d.
func (w *walker) bucket(l Level, d day) []rollup.Row {
	name := string(l.bucket(d))
	if w.kept[l].name != name {
		w.kept[l] = w.unpack(l, d)
	}
	return w.kept[l].rows
}

func (w *walker) unpack(l Level, d day) keptRows {
	s := openShelf(w.Tx, l, d)
	kept := keptRows{name: string(s.name)}
	for _, s := range append([]shelf{s}, s.older()...) {
		for _, p := range s.parts(w.q.Device) {
			more, err := rollup.UnpackSeries(p.value, w.q.Name, l.Span())
			if err != nil {
				w.damage(s.where(p.key), err)
				kept.broken = true
				continue
			}
			kept.rows = fuller(kept.rows, more)
		}
	}
	return kept
}
