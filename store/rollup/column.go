package rollup

import "math/bits"

// The rows of one series are a column. Its first byte says of what kind they are.
const (
	columnAny     = iota // rows of anything, as a chunk
	columnNumbers        // of numbers alone
	columnCounter        // of a counter
	columnSwitch         // of a bool
)

// The fields of a row that are written, each foreseen in a way of its own.
const (
	fieldStill   = iota // nothing changed since the row before: that is all of it
	fieldRegular        // right behind the row before, of as many samples, without rounding or resets
	fieldGap
	fieldCount
	fieldLast
	fieldLow
	fieldHigh
	fieldSum
	fieldRounding
	fieldResets
	fieldOn
	fields
)

// point is a row in whole numbers: values are distances from the column's first in
// its steps.
type point struct {
	index           int64 // of its start, in spans since 1970
	count           int64
	last, low, high int64
	sum             int64 // of a counter: what it rose
	rounding        int64 // how far the float is from the one that sum gives
	resets          int64
}

// track is what is known of the rows before.
type track struct {
	step  int64 // of a counter's values
	whole int64 // of a bool: all of the span

	begun        bool
	before       point
	count2       int64 // the count before that
	rise, rise2  int64 // of the last two values
	below, above int64 // how far the numbers left the way from last to last
	mean2        int64 // twice the mean of the row before
	residual     int64
	stillness    int64 // a bit for each row
	regular      int64 // likewise
}

// numbers writes or reads a row of numbers.
func (t *track) numbers(c *coder, p *point) {
	b := &t.before
	still := t.still(c, p, p.low == p.last && p.high == p.last && p.sum == p.count*p.last)
	if still {
		p.low, p.high, p.sum = p.last, p.last, p.count*p.last
		t.rise, t.rise2, t.below, t.above, t.mean2 = 0, t.rise, 0, 0, 2*p.last
		return
	}
	t.moment(c, p)
	width := b.high - b.low
	offset := t.mean2 - 2*b.last
	c.foresee(fieldLast, t.rise*64+bound(t.rise2, 30), bound(offset, 40), (length(width)*32+sign(offset)*8+sign(t.rise))*64+bound(t.below, 3)*8+bound(t.above, 3))
	rise := c.number(fieldLast, p.last-b.last)
	p.last = b.last + rise

	lower, upper := min(p.last, b.last), max(p.last, b.last)
	way := bound(rise, 20)
	c.foresee(fieldLow, way, t.below*64+t.above, length(width)*32+length(rise))
	below := c.number(fieldLow, lower-p.low)
	p.low = lower - below
	c.foresee(fieldHigh, way*64+below, t.above*64+t.below, (length(width)*32+length(rise))*8+sign(below))
	above := c.number(fieldHigh, p.high-upper)
	p.high = upper + above

	p.sum = t.sum(c, p, rise)

	t.rise, t.rise2, t.below, t.above = rise, t.rise, below, above
	t.mean2 = 2 * p.sum / max(p.count, 1)
}

// sum writes how far the sum is from where the middle of what is known would put
// it. The least, the greatest and the last number are among those that count; the
// others are between.
func (t *track) sum(c *coder, p *point, rise int64) int64 {
	width := p.high - p.low
	known, free := p.low*p.count, int64(0)
	if width != 0 {
		known, free = known+width, p.count-2
		if p.last != p.low && p.last != p.high {
			known, free = known+p.last-p.low, free-1
		}
	}
	if free <= 0 {
		return known
	}
	twice := (3*(p.low+p.high) + p.last + p.last - rise) / 4 // the mean
	likely := within(free*(twice-2*p.low)/2, free*width)
	c.foresee(fieldSum, width, (length(width)*64+bound(rise, 30))*8+t.residual, (p.last-p.low)*64+width)
	residual := c.number(fieldSum, p.sum-known-likely)
	t.residual = length(residual)
	return known + likely + residual
}

// still is the first decision about a row. It sets what stays.
func (t *track) still(c *coder, p *point, same bool) bool {
	b := &t.before
	same = same && t.begun && p.index == b.index+1 && p.count == b.count && p.last == b.last && p.rounding == 0 && p.resets == 0
	c.foresee(fieldStill, t.stillness&255, b.high-b.low, t.stillness&3*64+bound(t.rise, 20))
	is := c.bit(flag(same), 1, fieldStill*mixers) != 0
	t.stillness = t.stillness<<1 | int64(flag(is))
	if is {
		p.index, p.count, p.last = b.index+1, b.count, b.last
	}
	return is
}

// moment writes when a row is, how many samples it counts, and what is as a rule
// nothing.
func (t *track) moment(c *coder, p *point) {
	b := &t.before
	regular := p.index == b.index+1 && p.count == b.count && p.rounding == 0 && p.resets == 0
	c.foresee(fieldRegular, t.regular&255, b.count-t.count2, b.count)
	is := c.bit(flag(regular), nodeZero, fieldRegular*mixers) != 0
	t.regular = t.regular<<1 | int64(flag(is))
	if is {
		p.index, p.count = b.index+1, b.count
		return
	}
	c.foresee(fieldGap, b.count, 0, 0)
	p.index = b.index + 1 + c.number(fieldGap, p.index-b.index-1)
	c.foresee(fieldCount, b.count-t.count2, b.count, 0)
	p.count = b.count + c.number(fieldCount, p.count-b.count)
	c.foresee(fieldRounding, 0, 0, 0)
	p.rounding = c.number(fieldRounding, p.rounding)
	c.foresee(fieldResets, 0, 0, 0)
	p.resets = c.number(fieldResets, p.resets)
}

// next makes p the row before.
func (t *track) next(p *point) {
	t.count2 = t.before.count
	t.before, t.begun = *p, true
}

// length is how many bits x has, with its sign.
func length(x int64) int64 {
	n := int64(bits.Len64(magnitude(x)))
	if x < 0 {
		return -n
	}
	return n
}

func sign(x int64) int64 { return int64(flag(x > 0) - flag(x < 0)) }

func bound(x, most int64) int64 { return min(max(x, -most), most) }

func within(x, most int64) int64 { return min(max(x, 0), most) }

// counter writes or reads a row of a counter. As a rule it rose by the difference
// of the last values.
func (t *track) counter(c *coder, p *point) {
	b := &t.before
	t.moment(c, p)
	c.foresee(fieldLast, t.rise, length(t.rise-t.rise2), sign(t.rise-t.rise2)*64+length(t.rise))
	rise := t.rise + c.number(fieldLast, p.last-b.last-t.rise)
	p.last = b.last + rise
	likely := rise * t.step
	if !t.begun || p.resets != 0 {
		likely = 0
	}
	c.foresee(fieldSum, p.resets, int64(flag(t.begun)), 0)
	p.sum = likely + c.number(fieldSum, p.sum-likely)
	t.rise, t.rise2 = rise, t.rise
}

// onOff writes or reads a row of a bool.
func (t *track) onOff(c *coder, p *point) {
	b := &t.before
	if t.still(c, p, p.sum == b.last*t.whole) {
		p.sum = b.last * t.whole
		return
	}
	t.moment(c, p)
	c.foresee(fieldLast, b.last, p.count, 0)
	p.last = c.number(fieldLast, p.last)
	likely := int64(0)
	if b.last != 0 {
		likely = t.whole
	}
	c.foresee(fieldOn, b.last*2+p.last, p.count, 0)
	p.sum = likely + c.number(fieldOn, p.sum-likely)
}
