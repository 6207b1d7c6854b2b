package chunk

import (
	"encoding/binary"
	"math"

	"github.com/hearthgate/hearthgate/protocol"
)

// Scale is how numbers are integers: which kinds they have and what the integers
// are divided by. It keeps the numbers' order.
type Scale struct {
	kinds byte // as in a column of values: a kind of floats, or a rule
	ratio ratio
}

// Exception is a number that a Scale does not give: that of an index.
type Exception struct {
	At   int
	Bits uint64 // see Scale.Float
}

// FindScale is the Scale of numbers and their integers, if there is one for all
// but a few of them: there is not for texts or noise. The integer of an exception
// is that of the number before.
func FindScale(v []protocol.Value) (s Scale, n []int64, except []Exception, ok bool) {
	mask := 0
	for i := range v {
		mask |= 1 << v[i].Kind()
	}
	const integers = 1<<protocol.Uint | 1<<protocol.Neg
	const floats = 1<<protocol.Float16 | 1<<protocol.Float32 | 1<<protocol.Float64
	switch {
	case mask == 0 || mask&^(integers|floats) != 0:
		return s, nil, nil, false
	case mask&^integers == 0:
		n, ok = asIntegers(v)
		return Scale{kinds: kindsInteger, ratio: makeRatio(64, 1, 0, 0)}, n, nil, ok
	case mask&(mask-1) == 0:
		return findScale(v, int(v[0].Kind()))
	}
	for _, rule := range likelyRules(mask&integers != 0, mask&(1<<protocol.Float64) != 0) {
		if s, n, except, ok := findScale(v, rule); ok {
			return s, n, except, true
		}
	}
	return s, nil, nil, false
}

func findScale(v []protocol.Value, kinds int) (s Scale, n []int64, except []Exception, ok bool) {
	s = Scale{kinds: byte(kinds)}
	b, f := make([]uint64, len(v)), make([]float64, len(v))
	width := s.width()
	for i := range v {
		b[i] = floatBits(v[i].AsFloat(), width)
		f[i] = bitsFloat(b[i], width)
		if s.Float(b[i]) != v[i] {
			return s, nil, nil, false
		}
	}
	if s.ratio, ok = likelyDecimal(b, f, width); ok {
		n, _, ok = s.ratio.scaled(b, f, 0)
	}
	if ok && s.ratio.k <= width/8-2 || width != 64 {
		return s, n, nil, ok
	}
	if mean, likely := likelyMean(b, f); likely {
		if all, misfits, fits := mean.scaled(b, f, len(b)/mostMisfits); fits {
			for _, x := range misfits {
				except = append(except, Exception{x.at, x.bits})
			}
			s.ratio, n, ok = mean, all, true
		}
	}
	return s, n, except, ok
}

// mostMisfits is how many numbers at least there are for each exception.
const mostMisfits = 8

// width is that of the floats, in bits.
func (s *Scale) width() int {
	if w := floatWidth(protocol.Kind(s.kinds)); w != 0 {
		return w
	}
	return ruleWidth(int(s.kinds))
}

// Float is the number of the float with these bits, in the width of the Scale.
func (s *Scale) Float(b uint64) protocol.Value {
	if s.kinds < kindsInteger {
		return protocol.MakeValue(protocol.Kind(s.kinds), b, "")
	}
	return ruledValue(b, int(s.kinds))
}

// Value is the number of an integer.
func (s *Scale) Value(n int64) protocol.Value {
	if s.kinds == kindsInteger {
		return protocol.Int(n)
	}
	return s.Float(s.ratio.bits(n))
}

// Sum is about the sum of numbers whose integers add up to n.
func (s *Scale) Sum(n int64) float64 { return float64(n) / s.ratio.divisor }

// Append writes s down.
func (s *Scale) Append(b []byte) []byte {
	b = append(b, s.kinds)
	if s.kinds == kindsInteger {
		return b
	}
	b = binary.AppendUvarint(b, s.ratio.q)
	return append(b, byte(s.ratio.k), byte(s.ratio.digits))
}

// ReadScale is what Append wrote, and the bytes behind it.
func ReadScale(b []byte) (s Scale, rest []byte, ok bool) {
	r := newReader(b)
	s = Scale{kinds: r.Byte(), ratio: makeRatio(64, 1, 0, 0)}
	switch {
	case r.Bad:
		return s, nil, false
	case s.kinds == kindsInteger:
		return s, r.B, true
	case floatWidth(protocol.Kind(s.kinds)) == 0 && (s.kinds < kindsShortest64 || s.kinds > kindsMixed32):
		return s, nil, false
	}
	q, k, digits := r.Uvarint(), r.Byte(), r.Byte()
	if r.Bad || q == 0 || q > maxQ || k > maxExponent || digits > printed {
		return s, nil, false
	}
	s.ratio = makeRatio(s.width(), q, int(k), int(digits))
	return s, r.B, true
}

// Integer is about the integer whose float f is, or of the sum whose float f is.
func (s *Scale) Integer(f float64) (n int64, ok bool) {
	x := math.RoundToEven(f * s.ratio.divisor)
	return int64(x), math.Abs(x) < maxWhole
}
