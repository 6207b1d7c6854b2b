package rollup

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

// Series is the rows of one series, in order.
type Series struct {
	Name string
	Rows []Row
}

// Rows are packed as a chunk (store/chunk/FORMAT.md) in which each row is a
// frame, series by series, and each field of a row a record: its name that of
// the series, a '#', which no name has, and a letter. What has its default is
// left out. FORMAT.md has the table.
const (
	fieldCount    = 'c'
	fieldLast     = 'l'
	fieldIncrease = 'i' // of a counter always
	fieldResets   = 'r'
	fieldOn       = 'o' // of a bool always
	fieldNumbers  = 'n' // else see usualNumbers
	fieldMin      = 'a' // else the last
	fieldMax      = 'z' // else the last
	fieldSum      = 's' // else the least for each number and the next field
	fieldAbove    = 'b'
)

var errOrder = errors.New("rollup: the rows of a series are not in order")

// Pack packs rows of the same span, as a rule those of a device in a day.
func Pack(series []Series) ([]byte, error) { return pack(series, chunk.Encode) }

// PackQuick is Pack for rows that are read more often than kept: larger, and
// read several times as fast.
func PackQuick(series []Series) ([]byte, error) { return pack(series, chunk.EncodeQuick) }

func pack(series []Series, encode func([]chunk.Frame) ([]byte, error)) ([]byte, error) {
	var frames []chunk.Frame
	for _, s := range series {
		for i := range s.Rows {
			row := &s.Rows[i]
			if i > 0 && row.Start <= s.Rows[i-1].Start {
				return nil, fmt.Errorf("%w: %s", errOrder, s.Name)
			}
			frames = append(frames, chunk.Frame{
				Received: floorMilliseconds(row.Start), Seq: uint64(len(frames)) + 1,
				Records: appendRow(nil, s.Name, row),
			})
		}
	}
	return encode(frames)
}

func floorMilliseconds(ns int64) int64 { return floor(ns, time.Millisecond) / int64(time.Millisecond) }

func appendRow(all []protocol.Record, name string, row *Row) []protocol.Record {
	add := func(field byte, v protocol.Value) {
		all = append(all, protocol.Record{Name: fieldName(name, field), Value: v, Time: row.Start, Absolute: true})
	}
	add(fieldCount, protocol.Int(int64(row.Count)))
	add(fieldLast, row.Last)
	counter := row.Last.IsNumber() && row.Numbers == 0 || row.Increase != 0
	if counter {
		add(fieldIncrease, protocol.Float(row.Increase))
	}
	if row.Numbers != usualNumbers(row.Count, row.Last, counter) {
		add(fieldNumbers, protocol.Int(int64(row.Numbers)))
	}
	if row.Numbers > 0 {
		appendNumbers(add, row)
	}
	if row.Resets != 0 {
		add(fieldResets, protocol.Int(int64(row.Resets)))
	}
	if row.Last.IsBool() || row.On != 0 {
		add(fieldOn, protocol.Int(row.On))
	}
	return all
}

// appendNumbers adds what is known of a row's numbers alone.
func appendNumbers(add func(byte, protocol.Value), row *Row) {
	if row.Min != row.Last {
		add(fieldMin, row.Min)
	}
	if row.Max != row.Last {
		add(fieldMax, row.Max)
	}
	switch above, ok := row.above(); {
	case !ok:
		add(fieldSum, protocol.Float(row.Sum))
	case above != 0:
		add(fieldAbove, protocol.Float(above))
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

func fieldName(name string, field byte) string { return name + "#" + string(rune(field)) }

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

// Unpack gives the rows back. span is theirs.
func Unpack(b []byte, span time.Duration) ([]Series, error) {
	c, err := chunk.Open(b)
	if err != nil {
		return nil, err
	}
	var all []Series
	for _, s := range c.Series() {
		name, ok := strings.CutSuffix(s.Name, fieldName("", fieldCount))
		if !ok {
			continue
		}
		rows, err := unpackRows(c, name, span)
		if err != nil {
			return nil, err
		}
		all = append(all, Series{name, rows})
	}
	slices.SortFunc(all, func(a, b Series) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// UnpackSeries gives back the rows of one series, none for an unknown name,
// without decoding the others.
func UnpackSeries(b []byte, name string, span time.Duration) ([]Row, error) {
	c, err := chunk.Open(b)
	if err != nil {
		return nil, err
	}
	return unpackRows(c, name, span)
}

func unpackRows(c *chunk.Chunk, name string, span time.Duration) ([]Row, error) {
	counts, err := c.Samples(fieldName(name, fieldCount))
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
	for _, field := range []byte{fieldLast, fieldIncrease, fieldResets, fieldOn, fieldNumbers, fieldMin, fieldMax, fieldSum, fieldAbove} {
		samples, err := c.Samples(fieldName(name, field))
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
	if !p.has(fieldNumbers) {
		r.Numbers = usualNumbers(r.Count, r.Last, p.has(fieldIncrease))
	}
	if r.Numbers == 0 {
		return r
	}
	if !p.has(fieldMin) {
		r.Min = r.Last
	}
	if !p.has(fieldMax) {
		r.Max = r.Last
	}
	if !p.has(fieldSum) {
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
	case fieldLast:
		p.Last = v
	case fieldIncrease:
		p.Increase = v.AsFloat()
	case fieldResets:
		p.Resets = int(v.Bits())
	case fieldOn:
		p.On = int64(v.AsFloat())
	case fieldNumbers:
		p.Numbers = int(v.Bits())
	case fieldMin:
		p.Min = v
	case fieldMax:
		p.Max = v
	case fieldSum:
		p.Sum = v.AsFloat()
	case fieldAbove:
		p.above = v.AsFloat()
	}
}
