package chunk

import (
	"math"

	"github.com/hearthgate/hearthgate/protocol"
)

// halfFloat is the number of an IEEE 754 half.
func halfFloat(b uint16) float64 {
	return protocol.MakeValue(protocol.Float16, uint64(b), "").AsFloat()
}

// halfBits is the half next to f; of two, the even one.
func halfBits(f float64) uint16 {
	sign := uint16(math.Float64bits(f) >> 48 & 0x8000)
	f = math.Abs(f)
	switch {
	case math.IsNaN(f):
		return sign | 0x7e00
	case f >= 65520:
		return sign | 0x7c00
	case f < 1.0/(1<<14): // subnormal: multiples of 2^-24
		return sign | uint16(math.RoundToEven(f*(1<<24)))
	}
	fraction, exponent := math.Frexp(f) // fraction in [1/2, 1)
	// Rounded up to 2048 it carries into the exponent, as it should.
	return sign | (uint16(exponent+13)<<10 + uint16(math.RoundToEven(fraction*2048)))
}
