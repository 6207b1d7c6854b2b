package rollup

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

// Rows of anything are packed as a chunk (store/chunk/FORMAT.md) in which each row
// is a frame, and each field of a row a record: its name that of the series, a
// '#', which no name has, and a letter. What has its default is left out. FORMAT.md
// has the table. Once all rows were packed so, those of a device together.
const (
	letterCount    = 'c'
	letterLast     = 'l'
	letterIncrease = 'i' // of a counter always
	letterResets   = 'r'
	letterOn       = 'o' // of a bool always
	letterNumbers  = 'n' // else see usualNumbers
	letterMin      = 'a' // else the last
	letterMax      = 'z' // else the last
	letterSum      = 's' // else the least for each number and the next field
	letterAbove    = 'b'
)

// packAny packs the rows of a series of anything.
func packAny(rows []Row) ([]byte, error) {
	b, err := packChunk([]Series{{Rows: rows}})
	return append([]byte{columnAny}, b...), err
}

func unpackAny(b []byte, n int, span time.Duration) ([]Row, error) {
	c, err := chunk.Open(b)
	if err != nil {
		return nil, err
	}
	rows, err := unpackRows(c, "", span)
	if err == nil && len(rows) != n {
		err = chunk.ErrDamaged
	}
	return rows, err
}

// packChunk packs rows as they were before they had a form of their own.
func packChunk(series []Series) ([]byte, error) {
	var frames []chunk.Frame
	for _, s := range series {
		for i := range s.Rows {
			row := &s.Rows[i]
			frames = append(frames, chunk.Frame{
				Received: floorMilliseconds(row.Start), Seq: uint64(len(frames)) + 1,
				Records: appendRow(nil, s.Name, row),
			})
		}
	}
	return chunk.Encode(frames)
}

func floorMilliseconds(ns int64) int64 { return floor(ns, time.Millisecond) / int64(time.Millisecond) }

func appendRow(all []protocol.Record, name string, row *Row) []protocol.Record {
	add := func(field byte, v protocol.Value) {
		all = append(all, protocol.Record{Name: letterName(name, field), Value: v, Time: row.Start, Absolute: true})
	}
	add(letterCount, protocol.Int(int64(row.Count)))
	add(letterLast, row.Last)
	counter := row.Last.IsNumber() && row.Numbers == 0 || row.Increase != 0
	if counter {
		add(letterIncrease, protocol.Float(row.Increase))
	}
	if row.Numbers != usualNumbers(row.Count, row.Last, counter) {
		add(letterNumbers, protocol.Int(int64(row.Numbers)))
	}
	if row.Numbers > 0 {
		appendNumbers(add, row)
	}
	if row.Resets != 0 {
		add(letterResets, protocol.Int(int64(row.Resets)))
	}
	if row.Last.IsBool() || row.On != 0 {
		add(letterOn, protocol.Int(row.On))
	}
	return all
}

// appendNumbers adds what is known of a row's numbers alone.
func appendNumbers(add func(byte, protocol.Value), row *Row) {
	if row.Min != row.Last {
		add(letterMin, row.Min)
	}
	if row.Max != row.Last {
		add(letterMax, row.Max)
	}
	switch above, ok := row.above(); {
	case !ok:
		add(letterSum, protocol.Float(row.Sum))
	case above != 0:
		add(letterAbove, protocol.Float(above))
	}
}

// usualNumbers is how many numbers a row has, unless it says otherwise: all its
// samples, if the last is one and no counter's.
func usualNumbers(count int, last protocol.Value, counter bool) int {
	if last.IsNumber() && !counter {
		return count
	}
	return 0
}

func letterName(name string, field byte) string { return name + "#" + string(rune(field)) }

// above is the sum less the least number so many times: it does not jump when
// a sample more or less falls into the row. Not ok where that is not exact.
func (r *Row) above() (x float64, ok bool) {
	base, ok := r.base()
	if !ok {
		return 0, false
	}
	var t total
	t.add(r.Sum)
	t.add(-base)
	x = t.value()
	return x, t.rest == 0 && same(sumAbove(base, x), r.Sum)
}

// base is the sum if all numbers were the least.
func (r *Row) base() (float64, bool) {
	units, places, ok := decimal(number(r.Min), 0)
	product := float64(units) * float64(r.Numbers)
	return product / powersOfTen[places], ok && math.Abs(product) < maxUnits
}

func sumAbove(base, above float64) float64 {
	var t total
	t.add(base)
	t.add(above)
	return t.value()
}

func same(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

// openChunk packs the rows of a chunk anew.
func openChunk(b []byte, span time.Duration) (all []Column, err error) {
	c, err := chunk.Open(b)
	if err != nil {
		return nil, err
	}
	for _, s := range c.Series() {
		name, ok := strings.CutSuffix(s.Name, letterName("", letterCount))
		if !ok {
			continue
		}
		rows, err := unpackRows(c, name, span)
		if err != nil {
			return nil, err
		}
		column, err := Pack(Series{name, rows}, span)
		if err != nil {
			return nil, err
		}
		all = append(all, column)
	}
	slices.SortFunc(all, func(a, b Column) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

func unpackRows(c *chunk.Chunk, name string, span time.Duration) ([]Row, error) {
	counts, err := c.Samples(letterName(name, letterCount))
	if err != nil {
		return nil, err
	}
	rows := make([]packedRow, len(counts))
	for i, s := range counts {
		if i > 0 && s.Time <= counts[i-1].Time {
			return nil, chunk.ErrDamaged
		}
		rows[i].Row = Row{Start: s.Time, End: s.Time + int64(span), Count: int(s.Value.Bits())}
	}
	for _, field := range []byte{letterLast, letterIncrease, letterResets, letterOn, letterNumbers, letterMin, letterMax, letterSum, letterAbove} {
		samples, err := c.Samples(letterName(name, field))
		if err != nil {
			return nil, err
		}
		if !setField(rows, samples, field) {
			return nil, chunk.ErrDamaged
		}
	}
	all := make([]Row, len(rows))
	for i := range rows {
		all[i] = rows[i].whole()
	}
	return all, nil
}

// packedRow is a row of which some fields were told.
type packedRow struct {
	Row
	told  uint32 // a bit for each field
	above float64
}

func (p *packedRow) has(field byte) bool { return p.told&(1<<(field-'a')) != 0 }

// whole sets what was left out.
func (p *packedRow) whole() Row {
	r := p.Row
	if !p.has(letterNumbers) {
		r.Numbers = usualNumbers(r.Count, r.Last, p.has(letterIncrease))
	}
	if r.Numbers == 0 {
		return r
	}
	if !p.has(letterMin) {
		r.Min = r.Last
	}
	if !p.has(letterMax) {
		r.Max = r.Last
	}
	if !p.has(letterSum) {
		base, _ := r.base()
		r.Sum = sumAbove(base, p.above)
	}
	return r
}

// setField sets one field of the rows that have it.
func setField(rows []packedRow, samples []chunk.Sample, field byte) bool {
	i := 0
	for _, s := range samples {
		for i < len(rows) && rows[i].Start < s.Time {
			i++
		}
		if i == len(rows) || rows[i].Start != s.Time {
			return false
		}
		rows[i].set(field, s.Value)
	}
	return true
}

func (p *packedRow) set(field byte, v protocol.Value) {
	p.told |= 1 << (field - 'a')
	switch field {
	case letterLast:
		p.Last = v
	case letterIncrease:
		p.Increase = v.AsFloat()
	case letterResets:
		p.Resets = int(v.Bits())
	case letterOn:
		p.On = int64(v.AsFloat())
	case letterNumbers:
		p.Numbers = int(v.Bits())
	case letterMin:
		p.Min = v
	case letterMax:
		p.Max = v
	case letterSum:
		p.Sum = v.AsFloat()
	case letterAbove:
		p.above = v.AsFloat()
	}
}
