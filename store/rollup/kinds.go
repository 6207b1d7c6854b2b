package rollup

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/octets"
)

// likelyLong is what a row of decimals takes at most, in bytes, as a rule; of
// longer ones a chunk may be shorter.
const likelyLong = 5

// packColumn packs the rows of a series: in the form of its kind, if that gives
// exactly these rows, else as a chunk.
func packColumn(rows []Row, span time.Duration) ([]byte, error) {
	best := packKind(rows, span)
	if best != nil && len(best) <= likelyLong*len(rows)+16 {
		return best, nil
	}
	any, err := packAny(rows)
	if err != nil {
		return nil, err
	}
	if best == nil || len(any) < len(best) {
		return any, nil
	}
	return best, nil
}

// packKind is nil where the rows are not all of one kind.
func packKind(rows []Row, span time.Duration) []byte {
	if len(rows) == 0 || rows[0].Start%int64(span) != 0 {
		return nil
	}
	f, ok := findForm(rows, span)
	if !ok {
		return nil
	}
	b := f.append(nil)
	c := newCoder(len(rows))
	t := f.track()
	for i := range rows {
		p := f.point(&rows[i])
		f.code(&t, c, &p)
		t.next(&p)
	}
	b = c.appendTo(b)
	if got, err := unpackColumn(b, len(rows), span); err != nil || !slices.EqualFunc(rows, got, sameRow) {
		return nil
	}
	return b
}

// sameRow compares bits.
func sameRow(a, b Row) bool {
	sums := same(a.Sum, b.Sum) && same(a.Increase, b.Increase)
	a.Sum, a.Increase, b.Sum, b.Increase = 0, 0, 0, 0
	return sums && a == b
}

// form is how the rows of a column are whole numbers.
type form struct {
	kind  byte
	span  int64
	index int64 // of the first row
	scale chunk.Scale
	first int64 // the last value of the first row
	step  int64 // of the values' distances from it; of a bool's, ns

	// except are values that the scale does not give, of all that a row has: of a
	// counter the last one, else last, least and greatest.
	except []chunk.Exception
}

// findForm looks for the form that may fit the rows.
func findForm(rows []Row, span time.Duration) (f form, ok bool) {
	f = form{span: int64(span), index: rows[0].Start / int64(span), step: 1}
	values := make([]protocol.Value, 0, 3*len(rows))
	step := uint64(0)
	switch r := &rows[0]; {
	case r.Last.IsBool():
		f.kind = columnSwitch
		for i := range rows {
			step = gcd(uint64(rows[i].On), step)
		}
		f.step = max(int64(step), 1)
		return f, true
	case r.Last.IsNumber() && r.Numbers == 0:
		f.kind = columnCounter
		for i := range rows {
			values = append(values, rows[i].Last)
		}
	default:
		f.kind = columnNumbers
		for i := range rows {
			values = append(values, rows[i].Last, rows[i].Min, rows[i].Max)
		}
	}
	var n []int64
	if f.scale, n, f.except, ok = chunk.FindScale(values); !ok {
		return f, false
	}
	f.first = n[0]
	for _, x := range n {
		step = gcd(magnitude(x-f.first), step)
	}
	f.step = max(int64(step), 1)
	return f, true
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (f *form) append(b []byte) []byte {
	b = append(b, f.kind)
	b = binary.AppendVarint(b, f.index)
	b = binary.AppendUvarint(b, uint64(f.step))
	if f.kind != columnSwitch {
		b = f.scale.Append(b)
		b = binary.AppendVarint(b, f.first)
		b = f.appendExceptions(b)
	}
	return b
}

func readForm(b []byte, span time.Duration) (f form, rest []byte, ok bool) {
	f = form{span: int64(span), kind: b[0]}
	r := octets.Reader{B: b[1:]}
	f.index = r.Varint()
	f.step = int64(r.Uvarint())
	if f.kind != columnSwitch {
		if f.scale, r.B, ok = chunk.ReadScale(r.B); !ok {
			return f, nil, false
		}
		f.first = r.Varint()
		f.readExceptions(&r)
	}
	return f, r.B, !r.Bad && f.kind <= columnSwitch
}

func (f *form) appendExceptions(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(f.except)))
	last := 0
	for _, x := range f.except {
		b = binary.AppendUvarint(b, uint64(x.At-last))
		b = binary.LittleEndian.AppendUint64(b, x.Bits)
		last = x.At
	}
	return b
}

func (f *form) readExceptions(r *octets.Reader) {
	n := r.Uvarint()
	if n > uint64(len(r.B)) {
		r.Bad = true
		return
	}
	f.except = make([]chunk.Exception, n)
	at := uint64(0)
	for i := range f.except {
		at += r.Uvarint()
		if at > 3*maxRows {
			r.Bad = true
			return
		}
		f.except[i].At = int(at)
		if b := r.Take(8); b != nil {
			f.except[i].Bits = binary.LittleEndian.Uint64(b)
		}
	}
}

// restore puts the exceptions into their rows.
func (f *form) restore(rows []Row) (ok bool) {
	each := 3
	if f.kind == columnCounter {
		each = 1
	}
	for _, x := range f.except {
		if x.At/each >= len(rows) {
			return false
		}
		r := &rows[x.At/each]
		*[]*protocol.Value{&r.Last, &r.Min, &r.Max}[x.At%each] = f.scale.Float(x.Bits)
	}
	return true
}

// track is at the beginning.
func (f *form) track() track {
	return track{step: f.step, whole: f.span / max(f.step, 1), before: point{index: f.index - 1}}
}

func (f *form) code(t *track, c *coder, p *point) {
	switch f.kind {
	case columnNumbers:
		t.numbers(c, p)
	case columnCounter:
		t.counter(c, p)
	default:
		t.onOff(c, p)
	}
}

// integer is a value's distance from the first, in steps.
func (f *form) integer(v protocol.Value) int64 {
	n, _ := f.scale.Integer(number(v))
	return (n - f.first) / f.step
}

func (f *form) value(n int64) protocol.Value { return f.scale.Value(n*f.step + f.first) }

// point is a row as whole numbers. Where that is not exact, what is read differs.
func (f *form) point(r *Row) point {
	p := point{index: r.Start / f.span, count: int64(r.Count), resets: int64(r.Resets)}
	switch f.kind {
	case columnNumbers:
		p.last, p.low, p.high = f.integer(r.Last), f.integer(r.Min), f.integer(r.Max)
		n, _ := f.scale.Integer(r.Sum)
		p.sum = (n - p.count*f.first) / f.step
		p.rounding = int64(math.Float64bits(r.Sum) - math.Float64bits(f.scale.Sum(p.sum*f.step+p.count*f.first)))
	case columnCounter:
		p.last = f.integer(r.Last)
		n, _ := f.scale.Integer(r.Increase)
		p.sum = n
		p.rounding = int64(math.Float64bits(r.Increase) - math.Float64bits(f.scale.Sum(n)))
	default:
		p.last, p.sum = int64(flag(r.Last.AsBool())), r.On/f.step
	}
	return p
}

// row is the row of a point.
func (f *form) row(p *point) (r Row, ok bool) {
	most := math.MaxInt64/f.span - 1
	if p.count < 1 || p.count > math.MaxInt32 || p.resets < 0 || p.resets > math.MaxInt32 || p.index < -most || p.index > most {
		return r, false
	}
	r = Row{Start: p.index * f.span, End: (p.index + 1) * f.span, Count: int(p.count), Resets: int(p.resets)}
	switch f.kind {
	case columnNumbers:
		r.Numbers = r.Count
		r.Last, r.Min, r.Max = f.value(p.last), f.value(p.low), f.value(p.high)
		r.Sum = f.float(p.sum*f.step+p.count*f.first, p.rounding)
	case columnCounter:
		r.Last = f.value(p.last)
		r.Increase = f.float(p.sum, p.rounding)
	default:
		r.Last, r.On = protocol.Bool(p.last != 0), p.sum*f.step
	}
	return r, true
}

func (f *form) float(n, rounding int64) float64 {
	return math.Float64frombits(math.Float64bits(f.scale.Sum(n)) + uint64(rounding))
}

func unpackColumn(b []byte, n int, span time.Duration) ([]Row, error) {
	if len(b) == 0 {
		return nil, chunk.ErrDamaged
	}
	if b[0] == columnAny {
		return unpackAny(b[1:], n, span)
	}
	f, rest, ok := readForm(b, span)
	if !ok {
		return nil, chunk.ErrDamaged
	}
	c, ok := newReader(n, rest)
	if !ok {
		return nil, chunk.ErrDamaged
	}
	t := f.track()
	rows := make([]Row, n)
	for i := range rows {
		var p point
		f.code(&t, c, &p)
		if p.index <= t.before.index && i > 0 {
			return nil, chunk.ErrDamaged
		}
		if rows[i], ok = f.row(&p); !ok {
			return nil, chunk.ErrDamaged
		}
		t.next(&p)
	}
	if !f.restore(rows) {
		return nil, chunk.ErrDamaged
	}
	return rows, nil
}
