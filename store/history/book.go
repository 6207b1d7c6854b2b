package history

import (
	"cmp"
	"errors"
	"fmt"
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

// bookPage is the rows of the device in one bucket.
type bookPage struct {
	Reader
	shelf   shelf
	series  map[string]*bookSeries
	parts   []shelfPart // that could be read
	damaged map[uint32]bool
	changed bool
}

// bookSeries is the rows of one series: packed, and as they are while they are
// needed.
type bookSeries struct {
	packed  []rollup.Column // as a rule one
	rows    []rollup.Row
	open    bool
	changed bool
}

// shelfPart is a value and the bucket that it is in.
type shelfPart struct {
	shelf *shelf
	part
	rows int
}

func (b *book) page(l Level, d day) *bookPage {
	key := page{l, string(l.bucket(d))}
	p := b.pages[key]
	if p != nil {
		return p
	}
	p = &bookPage{Reader: *b.Reader, shelf: openShelf(b.Tx, l, d), series: map[string]*bookSeries{}, damaged: map[uint32]bool{}}
	b.pages[key] = p
	p.read(&p.shelf, b.device)
	for _, older := range p.shelf.older() {
		p.read(&older, b.device)
	}
	return p
}

// read takes in what a bucket has of the device.
func (p *bookPage) read(s *shelf, device string) {
	for _, part := range s.parts(device) {
		columns, err := rollup.Open(part.value, s.level.Span())
		if err != nil {
			p.damage(s.where(part.key), err)
			p.damaged[part.part] = p.damaged[part.part] || s == &p.shelf
			continue
		}
		rows := 0
		for _, c := range columns {
			rows += c.Rows
			series := p.of(c.Name)
			series.packed = append(series.packed, c)
		}
		p.parts = append(p.parts, shelfPart{s, part, rows})
	}
}

func (p *bookPage) of(name string) *bookSeries {
	if p.series[name] == nil {
		p.series[name] = &bookSeries{}
	}
	return p.series[name]
}

// rows are those of a series in the whole bucket.
func (p *bookPage) rows(name string) []rollup.Row {
	s := p.series[name]
	if s == nil {
		return nil
	}
	if s.open {
		return s.rows
	}
	s.open = true
	for _, c := range s.packed {
		rows, err := c.Unpack(p.shelf.level.Span())
		if err != nil { // with a right checksum it cannot fail
			p.damage(fmt.Sprintf("%s/%s, rows of %s", p.shelf.level, p.shelf.name, name), err)
			continue
		}
		s.rows = fuller(s.rows, rows)
	}
	return s.rows
}

// rows are those of a series that begin in d.
func (b *book) rows(l Level, d day, name string) []rollup.Row {
	return within(b.page(l, d).rows(name), d)
}

// set puts rows of a day in the place of those that were there.
func (b *book) set(l Level, d day, name string, rows []rollup.Row) {
	p := b.page(l, d)
	all := p.rows(name)
	old := within(all, d)
	if slices.Equal(old, rows) {
		return
	}
	i, _ := slices.BinarySearchFunc(all, d.start(), compareStart)
	s := p.of(name)
	s.rows = slices.Replace(slices.Clone(all), i, i+len(old), rows...)
	s.open, s.changed, p.changed = true, true, true
}

// settle packs what was changed of a series: a month of all series of a device
// takes more memory than a small board likes to give.
func (b *book) settle(name string) error {
	for _, p := range b.pages {
		s := p.series[name]
		if s == nil || p.shelf.level == Days { // those are few, and needed again
			continue
		}
		if err := s.settle(name, p.shelf.level); err != nil {
			return err
		}
	}
	return nil
}

func (s *bookSeries) settle(name string, l Level) error {
	if s.changed {
		s.packed = nil
		if len(s.rows) > 0 {
			c, err := rollup.Pack(rollup.Series{Name: name, Rows: s.rows}, l.Span())
			if err != nil {
				return err
			}
			s.packed = []rollup.Column{c}
		}
	}
	s.rows, s.open, s.changed = nil, false, false
	return nil
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
		rows := b.page(Days, year).rows(name)
		if n, _ := slices.BinarySearchFunc(rows, d.start(), compareStart); n > 0 {
			return rows[n-1], true
		}
	}
	return row, false
}

// nextDay is the first day after d of which the series has rows.
func (b *book) nextDay(name string, d day) (next day, ok bool) {
	for _, year := range b.shelves(Days, d, dayOf(latest)) {
		rows := b.page(Days, year).rows(name)
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
	var all []rollup.Column
	for name, s := range p.series {
		if len(s.packed) > 1 { // of several parts
			p.rows(name)
			s.changed = true
		}
		if err := s.settle(name, p.shelf.level); err != nil {
			return err
		}
		all = append(all, s.packed...)
	}
	slices.SortFunc(all, func(a, b rollup.Column) int { return cmp.Compare(a.Name, b.Name) })
	values, err := join(all)
	if err != nil {
		return err
	}
	touched := map[*shelf]bool{&p.shelf: true}
	for _, old := range p.parts {
		if err := old.shelf.delete(old.key, old.rows); err != nil {
			return err
		}
		touched[old.shelf] = true
	}
	next := uint32(0)
	for _, v := range values {
		for p.damaged[next] {
			next++
		}
		next++
		if err := p.shelf.put(valueKey(device, next-1), v.value, v.rows); err != nil {
			return err
		}
	}
	for s := range touched {
		if err := s.dropIfEmpty(); err != nil {
			return err
		}
	}
	return nil
}

// joined is a value and how many rows it has.
type joined struct {
	value []byte
	rows  int
}

// join makes values that hold all, as few as may be.
func join(all []rollup.Column) ([]joined, error) {
	if len(all) == 0 {
		return nil, nil
	}
	value, err := rollup.Join(all)
	if errors.Is(err, chunk.ErrTooLarge) && len(all) > 1 {
		half := len(all) / 2
		a, err := join(all[:half])
		if err != nil {
			return nil, err
		}
		b, err := join(all[half:])
		return append(a, b...), err
	}
	rows := 0
	for _, c := range all {
		rows += c.Rows
	}
	return []joined{{value, rows}}, err
}
