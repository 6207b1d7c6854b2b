package protocol

import (
	"math"
	"strconv"
)

// Kind is the type of a value as it came over the wire.
type Kind uint8

// Kinds of values. A number keeps the width in which it was received, so that
// what is read equals what was sent, bit for bit.
const (
	None    Kind = iota
	Boolean      // bits 0 or 1
	Uint         // bits = the integer
	Neg          // the integer is -1 - bits (RFC 8949 §3.1)
	Float16      // bits = IEEE 754 half
	Float32
	Float64
	Str
)

// Value is one value: a bool, a number or a text. It is comparable; two equal
// Values have the same kind and the same bits.
type Value struct {
	kind Kind
	bits uint64
	text string
}

// MakeValue builds a value from its kind and bits (text for Str), as a store
// that wrote them down does. It does not check.
func MakeValue(k Kind, bits uint64, text string) Value { return Value{k, bits, text} }

// Bool, Int, Float and Text make values. Float keeps 64 bits.
func Bool(b bool) Value {
	if b {
		return Value{kind: Boolean, bits: 1}
	}
	return Value{kind: Boolean}
}

// Int makes an integer value.
func Int(i int64) Value {
	if i < 0 {
		return Value{kind: Neg, bits: uint64(-1 - i)}
	}
	return Value{kind: Uint, bits: uint64(i)}
}

// Float makes a 64-bit float value.
func Float(f float64) Value { return Value{kind: Float64, bits: math.Float64bits(f)} }

// Text makes a text value.
func Text(s string) Value { return Value{kind: Str, text: s} }

// Kind is the type of v, None for the zero Value.
func (v Value) Kind() Kind { return v.kind }

// Bits are the raw bits of a bool or number, see the kinds.
func (v Value) Bits() uint64 { return v.bits }

// IsNumber reports whether v is an integer or a float.
func (v Value) IsNumber() bool { return v.kind >= Uint && v.kind <= Float64 }

// IsBool reports whether v is a bool.
func (v Value) IsBool() bool { return v.kind == Boolean }

// IsText reports whether v is a text.
func (v Value) IsText() bool { return v.kind == Str }

// AsBool is the bool of a bool value, false for any other.
func (v Value) AsBool() bool { return v.kind == Boolean && v.bits != 0 }

// AsText is the text of a text value, "" for any other.
func (v Value) AsText() string { return v.text }

// AsFloat is the number as a float64 (an integer beyond 2^53 is rounded), 0 for
// any other value.
func (v Value) AsFloat() float64 {
	switch v.kind {
	case Uint:
		return float64(v.bits)
	case Neg:
		return -1 - float64(v.bits)
	case Float16:
		return halfToFloat(uint16(v.bits))
	case Float32:
		return float64(math.Float32frombits(uint32(v.bits)))
	case Float64:
		return math.Float64frombits(v.bits)
	}
	return 0
}

// finite reports whether v is anything but NaN or an infinity.
func (v Value) finite() bool {
	f := v.AsFloat()
	return !math.IsNaN(f) && !math.IsInf(f, 0)
}

// String is the number as the shortest decimal that gives the received value
// back in its received width, without exponent where that stays readable;
// "true", "false" or the text.
func (v Value) String() string {
	if v.kind == Str {
		return v.text
	}
	return string(v.appendPlain(nil))
}

// appendPlain is String for anything but a text.
func (v Value) appendPlain(b []byte) []byte {
	switch v.kind {
	case Boolean:
		return strconv.AppendBool(b, v.bits != 0)
	case Uint:
		return strconv.AppendUint(b, v.bits, 10)
	case Neg:
		if v.bits == math.MaxUint64 {
			return append(b, "-18446744073709551616"...)
		}
		return strconv.AppendUint(append(b, '-'), v.bits+1, 10)
	case Float16:
		return appendHalf(b, uint16(v.bits))
	case Float32:
		return appendFloat(b, v.AsFloat(), 32)
	case Float64:
		return appendFloat(b, v.AsFloat(), 64)
	}
	return b
}

// appendFloat writes a float in the fewest digits of its width. The bounds of
// plain notation are those of ECMAScript, which JSON's readers know.
func appendFloat(b []byte, f float64, width int) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, f, 'e', -1, width)
	}
	return strconv.AppendFloat(b, f, 'f', -1, width)
}

// maxExact bounds the integers that a float64 holds exactly.
const maxExact = 1 << 53

// Normal is v as the gateway sends it: a number that is whole and within ±2^53
// as an integer, any other number as a 64-bit float whose decimal is the
// shortest of the received width.
func (v Value) Normal() Value {
	if !v.IsNumber() {
		return v
	}
	f := v.AsFloat()
	if math.Abs(f) <= maxExact && f == math.Trunc(f) {
		return Int(int64(f))
	}
	if v.kind == Float16 || v.kind == Float32 {
		// 0.1 as a single is not 0.1 as a double: the shortest decimal is what
		// the sender meant.
		f, _ = strconv.ParseFloat(v.String(), 64)
	}
	return Float(f)
}
