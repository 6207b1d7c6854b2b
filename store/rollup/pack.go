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

// Rows are packed as a chunk (store/chunk/FORMAT.md) in which the rows of one
// span are a frame and each field of a row is a record: its name that of the
// series, a '#', which no name has, and a letter. What has its default is left
// out.
const (
	fieldCount    = 'c'
	fieldLast     = 'l'
	fieldNumbers  = 'n' // unless it is the count, or 0 without a minimum
	fieldMin      = 'a'
	fieldMax      = 'z'
	fieldSum      = 's' // unless the next gives it exactly
	fieldAbove    = 'b' // the sum less the minimum for each of the numbers
	fieldIncrease = 'i'
	fieldResets   = 'r'
	fieldOn       = 'o'
)

var errOrder = errors.New("rollup: the rows of a series are not in order")

// Pack packs rows of the same span, as a rule those of a device in a day.
func Pack(series []Series) ([]byte, error) {
	frames := map[int64]*chunk.Frame{}
	for _, s := range series {
		for i, row := range s.Rows {
			if i > 0 && row.Start <= s.Rows[i-1].Start {
				return nil, fmt.Errorf("%w: %s", errOrder, s.Name)
			}
			f := frames[row.Start]
			if f == nil {
				f = &chunk.Frame{Received: floorMilliseconds(row.Start)}
				frames[row.Start] = f
			}
			f.Records = appendRow(f.Records, s.Name, &row)
		}
	}
	starts := make([]int64, 0, len(frames))
	for start := range frames {
		starts = append(starts, start)
	}
	slices.Sort(starts)
	all := make([]chunk.Frame, len(starts))
	for i, start := range starts {
		all[i] = *frames[start]
		all[i].Seq = uint64(i) + 1
	}
	return chunk.Encode(all)
}

func floorMilliseconds(ns int64) int64 { return floor(ns, time.Millisecond) / int64(time.Millisecond) }

func appendRow(all []protocol.Record, name string, row *Row) []protocol.Record {
	add := func(field byte, v protocol.Value) {
		all = append(all, protocol.Record{Name: fieldName(name, field), Value: v, Time: row.Start, Absolute: true})
	}
	add(fieldCount, protocol.Int(int64(row.Count)))
	add(fieldLast, row.Last)
	if row.Numbers > 0 {
		if row.Numbers != row.Count {
			add(fieldNumbers, protocol.Int(int64(row.Numbers)))
		}
		add(fieldMin, row.Min)
		add(fieldMax, row.Max)
		if above, ok := row.above(); ok {
			add(fieldAbove, protocol.Float(above))
		} else {
			add(fieldSum, protocol.Float(row.Sum))
		}
	}
	if counter := row.Last.IsNumber() && row.Numbers == 0; counter || row.Increase != 0 {
		add(fieldIncrease, protocol.Float(row.Increase))
	}
	if row.Resets != 0 {
		add(fieldResets, protocol.Int(int64(row.Resets)))
	}
	if row.Last.IsBool() || row.On != 0 {
		add(fieldOn, protocol.Int(row.On))
	}
	return all
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
	rows := make([]Row, len(counts))
	for i, s := range counts {
		if i > 0 && s.Time <= counts[i-1].Time {
			return nil, chunk.ErrDamaged
		}
		rows[i] = Row{Start: s.Time, End: s.Time + int64(span), Count: int(s.Value.Bits())}
	}
	for _, field := range []byte{fieldLast, fieldMin, fieldNumbers, fieldMax, fieldSum, fieldAbove, fieldIncrease, fieldResets, fieldOn} {
		samples, err := c.Samples(fieldName(name, field))
		if err != nil {
			return nil, err
		}
		if !setField(rows, samples, field) {
			return nil, chunk.ErrDamaged
		}
	}
	return rows, nil
}

// setField sets one field of the rows that have it.
func setField(rows []Row, samples []chunk.Sample, field byte) bool {
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

func (r *Row) set(field byte, v protocol.Value) {
	switch field {
	case fieldLast:
		r.Last = v
	case fieldMin:
		r.Min, r.Numbers = v, r.Count
	case fieldNumbers:
		r.Numbers = int(v.Bits())
	case fieldMax:
		r.Max = v
	case fieldSum:
		r.Sum = v.AsFloat()
	case fieldAbove:
		base, _ := r.base()
		r.Sum = sumAbove(base, v.AsFloat())
	case fieldIncrease:
		r.Increase = v.AsFloat()
	case fieldResets:
		r.Resets = int(v.Bits())
	case fieldOn:
		r.On = int64(v.AsFloat())
	}
}
