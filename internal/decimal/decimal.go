// Package decimal rounds numbers as they are written. 2.675 to two places is
// 2.68, although the float64 of that name is a little less.
package decimal

import (
	"math"
	"strconv"
	"strings"
)

// Append appends the decimal s rounded to that many places, half away from zero
// and not padded. One so large that it has no decimals may be written with an
// exponent and stays as it is.
func Append(b []byte, s string, places int) []byte {
	if e := strings.IndexAny(s, "eE"); e >= 0 {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Abs(f) >= 1 {
			return append(b, s...)
		}
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	whole, fraction, ok := strings.Cut(s, ".")
	if !ok || len(fraction) <= places {
		return append(b, s...)
	}
	start := len(b)
	b = append(b, whole...)
	b = append(b, fraction[:places]...)
	if fraction[places] >= '5' {
		b = increment(b, start)
	}
	// Put the point back, without zeros behind it.
	digits := len(b) - places
	end := len(b)
	for end > digits && b[end-1] == '0' {
		end--
	}
	if end > digits {
		b = append(b, 0)
		copy(b[digits+1:], b[digits:])
		b[digits] = '.'
		end++
	}
	b = b[:end]
	if string(b[start:]) == "-0" {
		b = append(b[:start], '0')
	}
	return b
}

// increment adds one to the decimal digits in b[start:], which may have a sign.
func increment(b []byte, start int) []byte {
	if b[start] == '-' {
		start++
	}
	for i := len(b) - 1; i >= start; i-- {
		if b[i] < '9' {
			b[i]++
			return b
		}
		b[i] = '0'
	}
	b = append(b, 0)
	copy(b[start+1:], b[start:])
	b[start] = '1'
	return b
}
