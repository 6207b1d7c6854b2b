package chunk

import (
	"encoding/binary"
	"math"

	"github.com/hearthgate/hearthgate/protocol"
)

// A column of values begins with how their kinds are known: one kind for all,
// its number; or a rule that tells it from the number, since encoders of CBOR
// choose the shortest form; or written down.
const (
	kindsInteger    = 16 // Uint, or Neg below zero
	kindsShortest64 = 17 // of float64s the narrowest width that is exact
	kindsWhole64    = 18 // the same, and whole numbers as integers
	kindsMixed64    = 19 // whole numbers as integers, others as they are
	kindsShortest32 = 20 // the same three of float32s
	kindsWhole32    = 21
	kindsMixed32    = 22
	kindsWritten    = 31
)

// values is the column of v, which is not empty.
func (e *encoder) values(v []protocol.Value) []byte {
	mask := 0
	for i := range v {
		mask |= 1 << v[i].Kind()
	}
	if mask&(mask-1) == 0 {
		k := v[0].Kind()
		return append([]byte{byte(k)}, e.payload(v, k)...)
	}
	const integers = 1<<protocol.Uint | 1<<protocol.Neg
	if mask&^integers == 0 {
		if n, ok := asIntegers(v); ok {
			return append([]byte{kindsInteger}, e.ints(n, true)...)
		}
	}
	const floats = 1<<protocol.Float16 | 1<<protocol.Float32 | 1<<protocol.Float64
	if mask&^(integers|floats) == 0 && mask&floats != 0 {
		for _, rule := range likelyRules(mask&integers != 0, mask&(1<<protocol.Float64) != 0) {
			if b, ok := asFloats(v, rule); ok {
				return append([]byte{byte(rule)}, e.floats(b, ruleWidth(rule))...)
			}
		}
	}
	return e.written(v, mask)
}

// likelyRules are the rules that may give the kinds of a column with integers,
// with floats of 64 bits.
func likelyRules(integers, wide bool) []int {
	switch {
	case integers && wide:
		return []int{kindsMixed64, kindsWhole64}
	case integers:
		return []int{kindsMixed32, kindsWhole32, kindsWhole64}
	case wide:
		return []int{kindsShortest64}
	}
	return []int{kindsShortest32, kindsShortest64}
}

func ruleWidth(rule int) int {
	if rule >= kindsShortest32 {
		return 32
	}
	return 64
}

// asIntegers are the numbers of a column of Uint and Neg, if they fit.
func asIntegers(v []protocol.Value) (n []int64, ok bool) {
	n = make([]int64, len(v))
	for i := range v {
		b := v[i].Bits()
		if b > math.MaxInt64 {
			return nil, false
		}
		n[i] = int64(b)
		if v[i].Kind() == protocol.Neg {
			n[i] = -1 - n[i]
		}
	}
	return n, true
}

// asFloats are the bits of the numbers in the rule's width, if the rule gives
// exactly these values.
func asFloats(v []protocol.Value, rule int) (b []uint64, ok bool) {
	b = make([]uint64, len(v))
	width := ruleWidth(rule)
	for i := range v {
		b[i] = floatBits(v[i].AsFloat(), width)
		if ruledValue(b[i], rule) != v[i] {
			return nil, false
		}
	}
	return b, true
}

// ruledValue is the value that a rule makes of a float.
func ruledValue(b uint64, rule int) protocol.Value {
	width := ruleWidth(rule)
	f := bitsFloat(b, width)
	const bound = 1 << 63
	if shortest := rule == kindsShortest64 || rule == kindsShortest32; !shortest && f == math.Trunc(f) && f >= -bound && f < bound && (f != 0 || !math.Signbit(f)) {
		return protocol.Int(int64(f))
	}
	switch rule {
	case kindsMixed64:
		return protocol.Float(f)
	case kindsMixed32:
		return protocol.MakeValue(protocol.Float32, b, "")
	}
	if h := halfBits(f); halfFloat(h) == f {
		return protocol.MakeValue(protocol.Float16, uint64(h), "")
	}
	if s := float32(f); float64(s) == f {
		return protocol.MakeValue(protocol.Float32, uint64(math.Float32bits(s)), "")
	}
	return protocol.Float(f)
}

// written is the column of kinds, then for each kind, the lowest first, the
// column of its values.
func (e *encoder) written(v []protocol.Value, mask int) []byte {
	kinds := make([]int64, len(v))
	of := map[protocol.Kind][]protocol.Value{}
	for i := range v {
		k := v[i].Kind()
		kinds[i] = int64(k)
		of[k] = append(of[k], v[i])
	}
	b := e.appendInts([]byte{kindsWritten}, kinds)
	for k := protocol.None; k <= protocol.Str; k++ {
		if len(of[k]) > 0 {
			b = appendSection(b, e.payload(of[k], k))
		}
	}
	return b
}

// payload is the column of values of one kind.
func (e *encoder) payload(v []protocol.Value, k protocol.Kind) []byte {
	switch k {
	case protocol.None:
		return nil
	case protocol.Str:
		return e.texts(v)
	}
	b := make([]uint64, len(v))
	for i := range v {
		b[i] = v[i].Bits()
	}
	if width := floatWidth(k); width != 0 {
		return e.floats(b, width)
	}
	n := make([]int64, len(b))
	for i := range b {
		n[i] = int64(b[i])
	}
	return e.ints(n, true)
}

// floatWidth is 0 for what is not a float.
func floatWidth(k protocol.Kind) int {
	switch k {
	case protocol.Float16:
		return 16
	case protocol.Float32:
		return 32
	case protocol.Float64:
		return 64
	}
	return 0
}

// texts is the distinct texts in the order in which they come first, and for
// each value which one it is.
func (e *encoder) texts(v []protocol.Value) []byte {
	known := map[string]int64{}
	var distinct []byte
	places := make([]int64, len(v))
	for i := range v {
		s := v[i].AsText()
		at, ok := known[s]
		if !ok {
			at = int64(len(known))
			known[s] = at
			distinct = appendText(distinct, s)
		}
		places[i] = at
	}
	b := binary.AppendUvarint(nil, uint64(len(known)))
	b = append(b, distinct...)
	return append(b, e.ints(places, true)...)
}

// values reads a column of n values.
func (d *decoder) values(b []byte, n int) ([]protocol.Value, bool) {
	if n == 0 {
		return nil, true
	}
	if len(b) == 0 {
		return nil, false
	}
	out := make([]protocol.Value, n)
	how, b := b[0], b[1:]
	switch {
	case how <= byte(protocol.Str):
		return out, d.readPayload(b, out, protocol.Kind(how))
	case how == kindsInteger:
		v, ok := d.ints(b, n)
		for i, x := range v {
			out[i] = protocol.Int(x)
		}
		return out, ok
	case how >= kindsShortest64 && how <= kindsMixed32:
		v, ok := d.floats(b, n, ruleWidth(int(how)))
		for i, x := range v {
			out[i] = ruledValue(x, int(how))
		}
		return out, ok
	case how == kindsWritten:
		return out, d.readWritten(b, out)
	}
	return nil, false
}

func (d *decoder) readWritten(b []byte, out []protocol.Value) bool {
	r := newReader(b)
	kinds, ok := d.ints(r.Section(), len(out))
	if !ok {
		return false
	}
	var counts [protocol.Str + 1]int
	for _, k := range kinds {
		if k < 0 || k > int64(protocol.Str) {
			return false
		}
		counts[k]++
	}
	var of [protocol.Str + 1][]protocol.Value
	for k, n := range counts {
		if n > 0 {
			of[k] = make([]protocol.Value, n)
			if !d.readPayload(r.Section(), of[k], protocol.Kind(k)) {
				return false
			}
		}
	}
	for i, k := range kinds {
		out[i], of[k] = of[k][0], of[k][1:]
	}
	return true
}

func (d *decoder) readPayload(b []byte, out []protocol.Value, k protocol.Kind) bool {
	switch k {
	case protocol.None:
		return true
	case protocol.Str:
		return d.readTexts(b, out)
	}
	if width := floatWidth(k); width != 0 {
		v, ok := d.floats(b, len(out), width)
		for i, x := range v {
			out[i] = protocol.MakeValue(k, x, "")
		}
		return ok
	}
	v, ok := d.ints(b, len(out))
	for i, x := range v {
		out[i] = protocol.MakeValue(k, uint64(x), "")
	}
	return ok
}

func (d *decoder) readTexts(b []byte, out []protocol.Value) bool {
	r := newReader(b)
	distinct := make([]protocol.Value, r.count())
	for i := range distinct {
		distinct[i] = protocol.Text(r.text())
	}
	if r.Bad {
		return false
	}
	places, ok := d.ints(r.B, len(out))
	for i, p := range places {
		if uint64(p) >= uint64(len(distinct)) {
			return false
		}
		out[i] = distinct[p]
	}
	return ok
}
