package protocol

import (
	"math"
	"strconv"
)

const (
	halfInfinity = 0x7c00
	halfSign     = 0x8000
)

// halfToFloat is the number of an IEEE 754 half (RFC 8949 appendix D).
func halfToFloat(bits uint16) float64 {
	exponent, fraction := int(bits>>10&0x1f), float64(bits&0x3ff)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		f = math.Inf(1)
		if fraction != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(fraction+1024, exponent-25)
	}
	if bits&halfSign != 0 {
		return math.Copysign(f, -1)
	}
	return f
}

// appendHalf writes a half in the fewest digits that give it back.
func appendHalf(b []byte, bits uint16) []byte {
	magnitude := bits &^ halfSign
	if magnitude == 0 || magnitude >= halfInfinity {
		return strconv.AppendFloat(b, halfToFloat(bits), 'f', -1, 64)
	}
	return appendFloat(b, math.Copysign(shortestHalf(magnitude), halfToFloat(bits)), 64)
}

// shortestHalf finds the decimal with the fewest digits, and the nearest of
// these, that is read back as the half with these bits (positive, finite, not
// zero). Five digits always do.
//
// A decimal is read back if it lies between the middles to both neighbours; on
// a middle the even neighbour wins. The middles are exact in a float64, and no
// decimal of so few digits is nearer to one than a float64 tells apart.
func shortestHalf(bits uint16) float64 {
	f := halfToFloat(bits)
	low, high := (f+halfToFloat(bits-1))/2, 65520.0
	if bits+1 < halfInfinity {
		high = (f + halfToFloat(bits+1)) / 2
	}
	even := bits&1 == 0
	for digits := 1; digits < 5; digits++ {
		exponent := int(math.Floor(math.Log10(f))) + 1 - digits
		nearest := math.RoundToEven(f * math.Pow10(-exponent))
		// Below a power of two the middle is nearer than above, so the second
		// nearest may fit where the nearest does not.
		for _, d := range [3]float64{nearest, nearest + 1, nearest - 1} {
			c, _ := strconv.ParseFloat(strconv.FormatFloat(d, 'f', -1, 64)+"e"+strconv.Itoa(exponent), 64)
			if low < c && c < high || even && (c == low || c == high) {
				return c
			}
		}
	}
	c, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'e', 4, 64), 64)
	return c
}
