package mqtt

import (
	"math"
	"strconv"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
)

// appendState appends the plain text of a value as a state topic carries it.
func appendState(b []byte, v protocol.Value, precision *int) []byte {
	switch {
	case v.IsBool():
		if v.AsBool() {
			return append(b, "ON"...)
		}
		return append(b, "OFF"...)
	case v.IsText():
		if v.AsText() == "" {
			return append(b, "None"...) // an empty retained payload would delete the topic
		}
		return append(b, v.AsText()...)
	}
	return appendNumber(b, v, precision)
}

// appendNumber appends the shortest decimal that gives the number back in the
// width in which it was received, rounded to precision and not padded. The
// decimal is rounded, not the binary number behind it: 2.675 to two places is
// 2.68 although the float64 of that name is a little less.
func appendNumber(b []byte, v protocol.Value, precision *int) []byte {
	s := v.String()
	if precision == nil || *precision < 0 || v.Kind() == protocol.Uint || v.Kind() == protocol.Neg {
		return append(b, s...)
	}
	if e := strings.IndexAny(s, "eE"); e >= 0 {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Abs(f) >= 1 {
			return append(b, s...) // so large that it has no decimals
		}
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	return appendRounded(b, s, *precision)
}

// appendRounded rounds a decimal without exponent, half away from zero.
func appendRounded(b []byte, s string, places int) []byte {
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

// appendSeconds appends a time in ns as seconds with at least one decimal and
// as many as it has.
func appendSeconds(b []byte, ns int64) []byte {
	if ns < 0 {
		b = append(b, '-')
		ns = -ns
	}
	b = strconv.AppendInt(b, ns/1e9, 10)
	b = append(b, '.')
	var frac [9]byte
	rest := ns % 1e9
	for i := 8; i >= 0; i-- {
		frac[i] = byte('0' + rest%10)
		rest /= 10
	}
	n := 9
	for n > 1 && frac[n-1] == '0' {
		n--
	}
	return append(b, frac[:n]...)
}
