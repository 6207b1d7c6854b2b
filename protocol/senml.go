package protocol

import (
	"math"
	"math/bits"

	"github.com/hearthgate/hearthgate/internal/cbor"
)

// The labels of a SenML record in CBOR (RFC 8428 §6).
const (
	labelBaseVersion = -1
	labelBaseName    = -2
	labelBaseTime    = -3
	labelBaseUnit    = -4
	labelBaseValue   = -5
	labelBaseSum     = -6
	labelName        = 0
	labelUnit        = 1
	labelValue       = 2
	labelText        = 3
	labelBool        = 4
	labelSum         = 5
	labelTime        = 6
	labelUpdateTime  = 7
	labelData        = 8
)

const (
	senmlVersion = 10
	// relativeBelow: a time below it counts from now (RFC 8428 §4.5.3).
	relativeBelow = 1 << 28
	second        = int64(1e9) // ns
)

// records reads a list of records and resolves them (RFC 8428 §4.6).
func (f *fields) records(k int) ([]Record, *Refusal) {
	r := f.reader(k)
	n, err := r.Array()
	if err != nil {
		return nil, &Refusal{Code: Malformed, Message: f.key(k) + " is not an array"}
	}
	if n > f.limits.Records {
		return nil, &Refusal{Code: TooLarge, Message: number(n) + " records, at most " + number(f.limits.Records)}
	}
	p := pack{textLimit: f.limits.Text}
	records := make([]Record, n)
	for i := range records {
		if bad := p.next(&r, &records[i]); bad != nil {
			bad.Message = "record " + number(i) + ": " + bad.Message
			return nil, bad
		}
	}
	return records, nil
}

// pack is the state of a SenML pack while its records are resolved: the base
// fields that are in force.
type pack struct {
	textLimit int
	name      []byte
	time      Value
	unit      string
	value     Value
}

// entry is what one record says for itself.
type entry struct {
	name    []byte
	unit    string
	hasUnit bool
	value   Value
	time    Value
}

// wrong refuses what is inside a record or a component.
func wrong(why string) *Refusal { return &Refusal{Code: InvalidRecord, Message: why} }

// next reads one record. Base fields hold from their own record on, wherever in
// it they stand, so the record is read to its end before it is resolved.
func (p *pack) next(r *cbor.Reader, to *Record) *Refusal {
	pairs, err := r.Map()
	if err != nil {
		return wrong("not a map")
	}
	var e entry
	for range pairs {
		label, known, bad := readLabel(r)
		if bad == nil && known {
			bad = p.field(r, &e, label)
		} else if bad == nil {
			_ = r.Skip() // has been passed over before
		}
		if bad != nil {
			return bad
		}
	}
	return p.resolve(&e, to)
}

// readLabel reads the key of one field. known is false for a label that a
// future version of SenML may give a meaning and that may be ignored.
func readLabel(r *cbor.Reader) (label int64, known bool, bad *Refusal) {
	if r.Peek() == cbor.Text {
		name, err := r.Text()
		if err != nil || len(name) > 0 && name[len(name)-1] == '_' {
			return 0, false, wrong("a label that ends in _ must be understood, and is not")
		}
		return 0, false, nil
	}
	h, err := r.Head()
	if err != nil || h.Major > cbor.Neg {
		return 0, false, wrong("a label is neither integer nor text")
	}
	if h.Arg > labelData {
		return 0, false, nil
	}
	if h.Major == cbor.Neg {
		return -1 - int64(h.Arg), true, nil
	}
	return int64(h.Arg), true, nil
}

// field reads the value of one field into the record or the base.
func (p *pack) field(r *cbor.Reader, e *entry, label int64) (bad *Refusal) {
	switch label {
	case labelBaseVersion:
		if v, err := r.Uint(); err != nil {
			bad = wrong("bver is not an unsigned integer")
		} else if v > senmlVersion {
			bad = wrong("bver is above " + number(senmlVersion))
		}
	case labelBaseName:
		p.name, bad = readBytes(r, "bn")
	case labelBaseTime:
		p.time, bad = readNumber(r, "bt")
	case labelBaseUnit:
		p.unit, bad = p.readText(r, "bu")
	case labelBaseValue:
		p.value, bad = readNumber(r, "bv")
	case labelName:
		e.name, bad = readBytes(r, "n")
	case labelUnit:
		e.hasUnit = true
		e.unit, bad = p.readText(r, "u")
	case labelValue, labelText, labelBool:
		bad = p.readValue(r, e, label)
	case labelTime:
		e.time, bad = readNumber(r, "t")
	case labelUpdateTime:
		_, bad = readNumber(r, "ut")
	case labelBaseSum:
		bad = wrong("a base sum is not taken")
	case labelSum:
		bad = wrong("a sum is not taken")
	case labelData:
		bad = wrong("a data value is not taken")
	default:
		_ = r.Skip() // -7 to -9: not of this version of SenML
	}
	return bad
}

func (p *pack) readValue(r *cbor.Reader, e *entry, label int64) (bad *Refusal) {
	if e.value.kind != None {
		return wrong("several values")
	}
	switch label {
	case labelValue:
		e.value, bad = readNumber(r, "v")
	case labelText:
		var s string
		s, bad = p.readText(r, "vs")
		e.value = Text(s)
	case labelBool:
		v, err := readValue(r)
		if err != nil || !v.IsBool() {
			return wrong("vb is not a bool")
		}
		e.value = v
	}
	return bad
}

func readBytes(r *cbor.Reader, label string) ([]byte, *Refusal) {
	s, err := r.Text()
	if err != nil {
		return nil, wrong(label + " is not a text")
	}
	return s, nil
}

func (p *pack) readText(r *cbor.Reader, label string) (string, *Refusal) {
	s, bad := readBytes(r, label)
	if bad == nil && len(s) > p.textLimit {
		bad = &Refusal{Code: TooLarge, Message: label + " has " + number(len(s)) + " bytes, at most " + number(p.textLimit)}
		s = nil
	}
	return string(s), bad
}

func readNumber(r *cbor.Reader, label string) (Value, *Refusal) {
	v, err := readValue(r)
	switch {
	case err != nil || !v.IsNumber():
		return Value{}, wrong(label + " is not a number")
	case math.IsNaN(v.AsFloat()):
		return Value{}, wrong("NaN")
	case !v.finite():
		return Value{}, wrong("infinity")
	}
	return v, nil
}

// readValue reads a bool or a number. Anything else gives None, or an error.
func readValue(r *cbor.Reader) (Value, error) {
	h, err := r.Head()
	if err != nil {
		return Value{}, err
	}
	switch h.Major {
	case cbor.Uint:
		return Value{kind: Uint, bits: h.Arg}, nil
	case cbor.Neg:
		return Value{kind: Neg, bits: h.Arg}, nil
	case cbor.Simple:
		switch h.Info {
		case cbor.InfoFalse, cbor.InfoTrue:
			return Bool(h.Info == cbor.InfoTrue), nil
		case cbor.InfoFloat16, cbor.InfoFloat32, cbor.InfoFloat64:
			return Value{kind: Float16 + Kind(h.Info-cbor.InfoFloat16), bits: h.Arg}, nil
		}
	}
	return Value{}, nil
}

// resolve applies the base to what the record says.
func (p *pack) resolve(e *entry, to *Record) (bad *Refusal) {
	if to.Name, bad = joinName(p.name, e.name); bad != nil {
		return bad
	}
	to.Unit = p.unit
	if e.hasUnit {
		to.Unit = e.unit
	}
	if to.Value, bad = addBase(p.value, e.value); bad != nil {
		return bad
	}
	to.Time, to.Absolute, bad = addTimes(p.time, e.time)
	return bad
}

// joinName puts base name and name together. Its length is known to be small
// before anything is copied, so that a long base name cannot be multiplied.
func joinName(base, name []byte) (string, *Refusal) {
	if n := len(base) + len(name); n == 0 {
		return "", wrong("no name")
	} else if n > maxRecordName {
		return "", wrong("a name of " + number(n) + " bytes, at most " + number(maxRecordName))
	}
	var joined [maxRecordName]byte
	full := append(append(joined[:0], base...), name...)
	if !validRecordName(full) {
		return "", wrong("the name is not component or component/attribute in [a-z0-9_-]")
	}
	return string(full), nil
}

// addBase adds the base value. A missing value counts as 0 then (RFC 8428
// §4.5.4); the base of texts and bools is nothing. Integers stay integers as
// long as CBOR can hold their sum.
func addBase(base, v Value) (Value, *Refusal) {
	switch {
	case base.kind == None && v.kind == None:
		return v, wrong("no value")
	case base.kind == None || v.kind != None && !v.IsNumber() || base == Int(0) && v.kind != None:
		return v, nil
	case v.kind == None || v == Int(0):
		return base, nil
	}
	if sum, ok := addIntegers(base, v); ok {
		return sum, nil
	}
	sum := Float(base.AsFloat() + v.AsFloat())
	if !sum.finite() {
		return sum, wrong("infinity")
	}
	return sum, nil
}

// addIntegers adds two integers; it is false if one is none or the sum lies
// outside of what CBOR can say, -2^64 to 2^64-1.
func addIntegers(a, b Value) (Value, bool) {
	if a.kind > Neg || b.kind > Neg {
		return Value{}, false
	}
	if a.kind == b.kind {
		// -1-x + -1-y = -1-(x+y+1)
		sum, carry := bits.Add64(a.bits, b.bits, uint64(a.kind-Uint))
		return Value{kind: a.kind, bits: sum}, carry == 0
	}
	if a.kind == Neg {
		a, b = b, a
	}
	// a - (1+y): negative when a ≤ y, and then -1-(y-a)
	if a.bits <= b.bits {
		return Value{kind: Neg, bits: b.bits - a.bits}, true
	}
	return Value{kind: Uint, bits: a.bits - b.bits - 1}, true
}

// addTimes adds base time and time to ns, from the moment of composing or, with
// absolute, since 1970. A narrow float cannot tell the seconds of this century,
// so what makes a time absolute must be an integer or a 64-bit float.
func addTimes(base, t Value) (ns int64, absolute bool, bad *Refusal) {
	b, u := nanoseconds(base), nanoseconds(t)
	ns = addSaturated(b, u)
	absolute = ns >= relativeBelow*second
	if !absolute {
		return ns, false, nil
	}
	small := b < relativeBelow*second && u < relativeBelow*second
	if narrow(base) && (small || b >= relativeBelow*second) || narrow(t) && (small || u >= relativeBelow*second) {
		return 0, false, wrong("an absolute time in a narrow float")
	}
	return ns, true, nil
}

func narrow(v Value) bool { return v.kind == Float16 || v.kind == Float32 }

// nanoseconds turns seconds into ns, as far as an int64 goes. None is 0.
func nanoseconds(v Value) int64 {
	switch v.kind {
	case Uint:
		if v.bits > uint64(math.MaxInt64/second) {
			return math.MaxInt64
		}
		return int64(v.bits) * second
	case Neg:
		if v.bits >= uint64(math.MaxInt64/second) {
			return math.MinInt64
		}
		return (-1 - int64(v.bits)) * second
	}
	whole, fraction := math.Modf(v.AsFloat())
	switch {
	case whole > float64(math.MaxInt64/second):
		return math.MaxInt64
	case whole < float64(math.MinInt64/second):
		return math.MinInt64
	}
	return addSaturated(int64(whole)*second, int64(math.Round(fraction*1e9)))
}

// addSaturated adds; where an int64 ends, the sum stays at its end.
func addSaturated(a, b int64) int64 {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	}
	return sum
}
