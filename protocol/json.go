package protocol

import (
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends v as a JSON value. Integers keep all their digits. The
// zero Value, NaN and the infinities, which no frame carries, are null.
func (v Value) AppendJSON(b []byte) []byte {
	switch {
	case v.kind == Str:
		return appendJSONText(b, v.text)
	case v.kind == None || !v.finite():
		return append(b, "null"...)
	}
	return v.appendPlain(b)
}

// AppendSenML appends the label and the value as a member of a JSON record
// (RFC 8428 §4.3): "vb" of a bool, "vs" of a text, "v" of a number.
func (v Value) AppendSenML(b []byte) []byte {
	switch {
	case v.IsBool():
		b = append(b, `"vb":`...)
	case v.IsText():
		b = append(b, `"vs":`...)
	default:
		b = append(b, `"v":`...)
	}
	return v.AppendJSON(b)
}

// AppendSeconds appends a time or span in ns as seconds, with at least one decimal
// and no digit lost.
func AppendSeconds(b []byte, ns int64) []byte {
	whole, rest := ns/1e9, ns%1e9
	if ns < 0 {
		b, whole, rest = append(b, '-'), -whole, -rest
	}
	b = append(strconv.AppendInt(b, whole, 10), '.')
	var digits [9]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + rest%10)
		rest /= 10
	}
	n := len(digits)
	for n > 1 && digits[n-1] == '0' {
		n--
	}
	return append(b, digits[:n]...)
}

// appendJSONText appends s as a JSON string (RFC 8259 §7).
func appendJSONText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r) // a broken byte becomes U+FFFD
			i += n
			continue
		}
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
		i++
	}
	return append(b, '"')
}
