package chunk

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A column of floats begins with its form. Most floats of a home are decimals
// or means of a few decimals: integers, once multiplied by the right number.
const (
	formRaw   = iota // the bits, in the order of the numbers
	formRatio        // integers divided by q·10^k
)

// ratio makes floats of integers: the float next to n/(q·10^k), or, with
// digits, the float next to the decimal with so many significant digits that is
// next to n/(q·10^k), as a mean that was printed and read again.
type ratio struct {
	width     int // of the float, 16, 32 or 64 bits
	q         uint64
	k, digits int
	divisor   float64
	whole     uint64 // q·10^k, for digits
}

const (
	maxExponent = 18 // of 10^k
	maxQ        = 1 << 16
	maxWhole    = 1 << 53 // floats hold integers below it exactly
	printed     = 15      // digits that every float64 keeps
)

var powersOfTen = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

func makeRatio(width int, q uint64, k, digits int) ratio {
	r := ratio{width: width, q: q, k: k, digits: digits, divisor: float64(q) * float64(powersOfTen[k])}
	if over, whole := bits.Mul64(q, powersOfTen[k]); over == 0 {
		r.whole = whole
	}
	return r
}

// bits is the float of n.
func (t *ratio) bits(n int64) uint64 {
	f := float64(n) / t.divisor
	if t.digits != 0 {
		f = t.rounded(n)
	}
	return floatBits(f, t.width)
}

// integer is the n whose float has these bits, if there is one.
func (t *ratio) integer(b uint64, f float64) (n int64, ok bool) {
	x := math.RoundToEven(f * t.divisor)
	if !(math.Abs(x) < maxWhole) {
		return 0, false
	}
	n = int64(x)
	return n, t.bits(n) == b
}

// rounded is n/whole in t.digits digits; on a tie the even last digit.
func (t *ratio) rounded(n int64) float64 {
	size := magnitude(n)
	if size == 0 || t.whole == 0 {
		return 0
	}
	// 10^places ≤ so much that the quotient keeps its digits and no more.
	places := t.digits
	for q := size / t.whole; q > 0; q /= 10 {
		places--
	}
	if size < t.whole {
		for x := size; x <= math.MaxUint64/10 && x*10 < t.whole; x *= 10 {
			places++
		}
	}
	if places < 0 || places >= len(powersOfTen) {
		return 0
	}
	high, low := bits.Mul64(size, powersOfTen[places])
	if high >= t.whole {
		return 0
	}
	quotient, rest := bits.Div64(high, low, t.whole)
	if half := t.whole - rest; rest > half || rest == half && quotient&1 == 1 {
		quotient++
	}
	f := float64(quotient) / float64(powersOfTen[places])
	if n < 0 {
		return -f
	}
	return f
}

// exception is a float that a column's ratio does not give.
type exception struct {
	at   int
	bits uint64
}

// scaled is the integers of a column under t, and what does not fit; there the
// integer before is repeated. It gives up beyond limit exceptions.
func (t *ratio) scaled(b []uint64, f []float64, limit int) (n []int64, except []exception, ok bool) {
	n = make([]int64, len(b))
	last := int64(0)
	for i := range b {
		x, fits := t.integer(b[i], f[i])
		if !fits {
			if len(except) == limit {
				return nil, nil, false
			}
			except = append(except, exception{i, b[i]})
			x = last
		}
		n[i], last = x, x
	}
	return n, except, true
}

// floats is the smallest column for floats of the width with these bits.
func (e *encoder) floats(b []uint64, width int) []byte {
	f := make([]float64, len(b))
	for i := range b {
		f[i] = bitsFloat(b[i], width)
	}
	t, plain := likelyDecimal(b, f, width)
	best := []byte(nil)
	if plain {
		best = e.scaledColumn(t, b, f, len(b)/8+2)
	}
	// A decimal of few digits is as good as it gets.
	if best != nil && t.k <= width/8-2 {
		return best
	}
	if raw := e.ints(ordered(b, width), true); best == nil || len(raw)+1 < len(best) {
		best = append([]byte{formRaw}, raw...)
	}
	if width != 64 {
		return best
	}
	if t, ok := likelyMean(b, f); ok {
		if mean := e.scaledColumn(t, b, f, len(b)/8+2); mean != nil && len(mean) < len(best) {
			best = mean
		}
	}
	return best
}

// scaledColumn is nil if too many floats do not fit.
func (e *encoder) scaledColumn(t ratio, b []uint64, f []float64, limit int) []byte {
	n, except, ok := t.scaled(b, f, limit)
	if !ok {
		return nil
	}
	out := binary.AppendUvarint([]byte{formRatio}, t.q)
	out = append(out, byte(t.k), byte(t.digits))
	out = binary.AppendUvarint(out, uint64(len(except)))
	last := 0
	for _, x := range except {
		out = binary.AppendUvarint(out, uint64(x.at-last))
		out = appendFixed(out, x.bits, width8(t.width))
		last = x.at
	}
	return append(out, e.ints(n, true)...)
}

func width8(width int) int { return width / 8 }

// likelyDecimal finds the smallest power of ten that makes integers of (nearly)
// all floats.
func likelyDecimal(b []uint64, f []float64, width int) (t ratio, ok bool) {
	t = makeRatio(width, 1, 0, 0)
	misfits := 0
	for i := range b {
		if _, fits := t.integer(b[i], f[i]); fits {
			continue
		}
		u, found := t, false
		for u.k < maxExponent && !found {
			u = makeRatio(width, 1, u.k+1, 0)
			_, found = u.integer(b[i], f[i])
		}
		if found {
			t = u
		} else if misfits++; misfits > len(b)/8+1 {
			return t, false
		}
	}
	return t, true
}

// meansOf are the numbers of readings, times some powers of ten, that are tried
// for a column of means.
var meansOf = [...]uint64{3, 6, 7, 9, 11, 12, 13, 21}

// likelyMean finds the ratio under which a part of the column costs least.
func likelyMean(b []uint64, f []float64) (best ratio, ok bool) {
	const looked, misfit = 256, 80 // floats; bits that one costs
	step := (len(b) + looked - 1) / looked
	least := math.Inf(1)
	n := 0
	for i := 0; i < len(b); i += step {
		n++
	}
	for _, digits := range []int{0, printed} {
		for _, q := range meansOf {
			for k := range 5 {
				t := makeRatio(64, q, k, digits)
				cost := math.Log2(t.divisor) * float64(n)
				misfits := 0
				for i := 0; i < len(b) && cost < least && misfits <= n/4+1; i += step {
					if _, fits := t.integer(b[i], f[i]); !fits {
						cost += misfit
						misfits++
					}
				}
				if cost < least && misfits <= n/8+1 {
					best, least, ok = t, cost, true
				}
			}
		}
	}
	return best, ok
}

// floats reads a column of n floats: their bits.
func (d *decoder) floats(b []byte, n, width int) ([]uint64, bool) {
	r := newReader(b)
	switch r.Byte() {
	case formRaw:
		v, ok := d.ints(r.B, n)
		return disordered(v, width), ok
	case formRatio:
		return d.readRatio(&r, n, width)
	}
	return nil, false
}

func (d *decoder) readRatio(r *reader, n, width int) ([]uint64, bool) {
	q, k, digits := r.Uvarint(), r.Byte(), r.Byte()
	if q == 0 || q > maxQ || k > maxExponent || digits > printed {
		return nil, false
	}
	t := makeRatio(width, q, int(k), int(digits))
	except := make([]exception, r.count())
	at := uint64(0)
	for i := range except {
		at += r.Uvarint()
		if at >= uint64(n) || at > math.MaxInt32 {
			return nil, false
		}
		except[i] = exception{int(at), r.fixed(width8(width))}
	}
	if r.Bad {
		return nil, false
	}
	v, ok := d.ints(r.B, n)
	if !ok {
		return nil, false
	}
	out := make([]uint64, n)
	if digits == 0 && width == 64 { // the common case, without calls
		for i, x := range v {
			out[i] = math.Float64bits(float64(x) / t.divisor)
		}
	} else {
		for i, x := range v {
			out[i] = t.bits(x)
		}
	}
	for _, x := range except {
		out[x.at] = x.bits
	}
	return out, true
}

// ordered turns the bits of floats into integers that have the floats' order.
func ordered(b []uint64, width int) []int64 {
	v := make([]int64, len(b))
	up := 64 - width
	for i, x := range b {
		s := int64(x<<up) >> up
		v[i] = s ^ int64(uint64(s>>63)>>1>>up) // of a negative all bits but the sign
	}
	return v
}

// disordered is the way back.
func disordered(v []int64, width int) []uint64 {
	out := make([]uint64, len(v))
	up := 64 - width
	for i, x := range v {
		out[i] = uint64(x^int64(uint64(x>>63)>>1>>up)) << up >> up
	}
	return out
}

func bitsFloat(b uint64, width int) float64 {
	switch width {
	case 16:
		return halfFloat(uint16(b))
	case 32:
		return float64(math.Float32frombits(uint32(b)))
	}
	return math.Float64frombits(b)
}

func floatBits(f float64, width int) uint64 {
	switch width {
	case 16:
		return uint64(halfBits(f))
	case 32:
		return uint64(math.Float32bits(float32(f)))
	}
	return math.Float64bits(f)
}
