package cbor

import (
	"encoding/binary"
	"math"
)

// appendHead appends a type and its argument in the fewest bytes (RFC 8949 §4.2.1).
func appendHead(b []byte, m Major, arg uint64) []byte {
	first := byte(m) << 5
	switch {
	case arg < 24:
		return append(b, first|byte(arg))
	case arg <= math.MaxUint8:
		return append(b, first|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, first|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, first|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(b, first|27), arg)
}

// AppendUint appends an unsigned integer.
func AppendUint(b []byte, u uint64) []byte { return appendHead(b, Uint, u) }

// AppendNeg appends the negative integer -1 - n.
func AppendNeg(b []byte, n uint64) []byte { return appendHead(b, Neg, n) }

// AppendInt appends an integer.
func AppendInt(b []byte, i int64) []byte {
	if i < 0 {
		return AppendNeg(b, uint64(-1-i))
	}
	return AppendUint(b, uint64(i))
}

// AppendText appends a text. That it is UTF-8 is the caller's word.
func AppendText(b []byte, s string) []byte {
	return append(appendHead(b, Text, uint64(len(s))), s...)
}

// AppendBytes appends a byte string.
func AppendBytes(b, s []byte) []byte {
	return append(appendHead(b, Bytes, uint64(len(s))), s...)
}

// AppendBool appends true or false.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, byte(Simple)<<5|InfoTrue)
	}
	return append(b, byte(Simple)<<5|InfoFalse)
}

// AppendArray appends the head of an array; n items have to follow.
func AppendArray(b []byte, n int) []byte { return appendHead(b, Array, uint64(n)) }

// AppendMap appends the head of a map; n pairs have to follow.
func AppendMap(b []byte, n int) []byte { return appendHead(b, Map, uint64(n)) }

// AppendFloat16 appends a half from its bits.
func AppendFloat16(b []byte, bits uint16) []byte {
	return binary.BigEndian.AppendUint16(append(b, byte(Simple)<<5|InfoFloat16), bits)
}

// AppendFloat32 appends a single from its bits.
func AppendFloat32(b []byte, bits uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, byte(Simple)<<5|InfoFloat32), bits)
}

// AppendFloat64 appends a double from its bits.
func AppendFloat64(b []byte, bits uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, byte(Simple)<<5|InfoFloat64), bits)
}
