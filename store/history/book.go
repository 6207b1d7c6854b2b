package history

import (
	"cmp"
	"errors"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/rollup"
)

// book is the rows of one device while they are changed: pages are read when
// they are needed and written once.
type book struct {
	*Reader
	device string
	pages  map[page]*bookPage
}

// page is a bucket of rows.
type page struct {
	level Level
	name  string
}

type bookPage struct {
	shelf   shelf
	rows    map[string][]rollup.Row // by series
	parts   []part                  // that could be read
	damaged map[uint32]bool
	before  int // rows that there were
	changed bool
}

func (b *book) page(l Level, d day) *bookPage {
	key := page{l, string(l.bucket(d))}
	p := b.pages[key]
	if p != nil {
		return p
	}
	p = &bookPage{shelf: openShelf(b.Tx, l, d), rows: map[string][]rollup.Row{}, damaged: map[uint32]bool{}}
	b.pages[key] = p
	for _, part := range p.shelf.parts(b.device) {
		series, err := rollup.Unpack(part.value, l.Span())
		if err != nil {
			b.damage(p.shelf.where(part.key), err)
			p.damaged[part.part] = true
			continue
		}
		p.parts = append(p.parts, part)
		for _, s := range series {
			p.before += len(s.Rows)
			p.rows[s.Name] = fuller(p.rows[s.Name], s.Rows)
		}
	}
	return p
}

// rows are those of a series that begin in d.
func (b *book) rows(l Level, d day, name string) []rollup.Row {
	return within(b.page(l, d).rows[name], d)
}

// set puts rows of a day in the place of those that were there.
func (b *book) set(l Level, d day, name string, rows []rollup.Row) {
	p := b.page(l, d)
	old := within(p.rows[name], d)
	if slices.Equal(old, rows) {
		return
	}
	i, _ := slices.BinarySearchFunc(p.rows[name], d.start(), compareStart)
	p.rows[name] = slices.Replace(slices.Clone(p.rows[name]), i, i+len(old), rows...)
	p.changed = true
}

// rollUp makes the rows of a day of a series anew, on the levels that are not
// over. If that changes the day's last value, the first rows of the next day on
// which the series said something change with it.
func (b *book) rollUp(all *sources, name string, d day, over [levels]bool) {
	newest, known := b.newestBefore(name, d)
	before := newest.Last
	was := b.lastOf(d, name, before)
	counter, sure := b.meaning(d, name)
	if !sure {
		counter = b.counter(b.device, name, func() (rollup.Row, bool) { return newest, known })
	}
	rows := fiveMinutes(all, name, d, counter, before)
	for l := FiveMinutes; l <= Days; l++ {
		rows = coarsenOnce(rows, l, before)
		if !over[l] {
			b.set(l, d, name, fuller(b.rows(l, d, name), rows))
		}
	}
	if last := b.lastOf(d, name, before); last != was {
		b.redo(name, d, last)
	}
}

// coarsenOnce makes rows of level l of those of the finer one.
func coarsenOnce(rows []rollup.Row, l Level, before protocol.Value) []rollup.Row {
	if l == FiveMinutes {
		return rows
	}
	return rollup.Coarsen(rows, l.Span(), before)
}

// redo makes the rows of the next day with any after d again, from its samples if
// there are any, knowing the last value of d.
func (b *book) redo(name string, d day, before protocol.Value) {
	next, ok := b.nextDay(name, d)
	if !ok {
		return
	}
	all := sources{}
	for _, c := range b.sources(b.device, next).chunks {
		if !c.piece { // those come when they are merged
			all.chunks = append(all.chunks, c)
		}
	}
	counter, _ := b.meaning(next, name)
	rows := fiveMinutes(&all, name, next, counter, before)
	for l := FiveMinutes; l <= Days; l++ {
		rows = coarsenOnce(rows, l, before)
		if kept := b.rows(l, next, name); len(kept) > 0 {
			b.set(l, next, name, fuller(kept, rows))
		}
	}
}

// lastOf is the last value of a day, or else the one before.
func (b *book) lastOf(d day, name string, before protocol.Value) protocol.Value {
	if rows := b.rows(Days, d, name); len(rows) > 0 {
		return rows[0].Last
	}
	return before
}

// meaning says what kind of rows a day of a series has.
func (b *book) meaning(d day, name string) (counter, known bool) {
	for l := FiveMinutes; l <= Days; l++ {
		if counter, known = meaning(b.rows(l, d, name)); known {
			break
		}
	}
	return counter, known
}

// newestBefore is the newest row of a day before d.
func (b *book) newestBefore(name string, d day) (row rollup.Row, ok bool) {
	for _, year := range slices.Backward(b.shelves(Days, dayOf(earliest), d)) {
		rows := b.page(Days, year).rows[name]
		if n, _ := slices.BinarySearchFunc(rows, d.start(), compareStart); n > 0 {
			return rows[n-1], true
		}
	}
	return row, false
}

// nextDay is the first day after d of which the series has rows.
func (b *book) nextDay(name string, d day) (next day, ok bool) {
	for _, year := range b.shelves(Days, d, dayOf(latest)) {
		rows := b.page(Days, year).rows[name]
		if n, _ := slices.BinarySearchFunc(rows, d.end(), compareStart); n < len(rows) {
			return dayOf(rows[n].Start), true
		}
	}
	return 0, false
}

// write writes the pages that changed, in order.
func (b *book) write() error {
	keys := make([]page, 0, len(b.pages))
	for key, p := range b.pages {
		if p.changed {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b page) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.name, b.name))
	})
	for _, key := range keys {
		if err := b.pages[key].write(b.device); err != nil {
			return err
		}
	}
	return nil
}

func (p *bookPage) write(device string) error {
	var all []rollup.Series
	for name, rows := range p.rows {
		if len(rows) > 0 {
			all = append(all, rollup.Series{Name: name, Rows: rows})
		}
	}
	slices.SortFunc(all, func(a, b rollup.Series) int { return cmp.Compare(a.Name, b.Name) })
	for _, old := range p.parts {
		if err := p.shelf.delete(old.key, 0); err != nil {
			return err
		}
	}
	next, now := uint32(0), 0
	err := packSeries(all, p.shelf.level.pack(), func(value []byte, rows int) error {
		for p.damaged[next] {
			next++
		}
		next++
		now += rows
		return p.shelf.put(valueKey(device, next-1), value, 0)
	})
	if err != nil {
		return err
	}
	if p.shelf.b != nil {
		if err := p.shelf.count(now-p.before, 0); err != nil {
			return err
		}
	}
	return p.shelf.dropIfEmpty()
}

// pack is how rows of a level are packed: those of hours and days are few, and
// read for the longest spans.
func (l Level) pack() func([]rollup.Series) ([]byte, error) {
	if l > FiveMinutes {
		return rollup.PackQuick
	}
	return rollup.Pack
}

// packSeries calls put with the values that hold all, as few as may be.
func packSeries(all []rollup.Series, pack func([]rollup.Series) ([]byte, error), put func(value []byte, rows int) error) error {
	if len(all) == 0 {
		return nil
	}
	value, err := pack(all)
	if errors.Is(err, chunk.ErrTooLarge) && len(all) > 1 {
		half := len(all) / 2
		if err := packSeries(all[:half], pack, put); err != nil {
			return err
		}
		return packSeries(all[half:], pack, put)
	}
	if err != nil {
		return err
	}
	rows := 0
	for _, s := range all {
		rows += len(s.Rows)
	}
	return put(value, rows)
}
