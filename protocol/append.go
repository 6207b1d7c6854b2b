package protocol

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/hearthgate/hearthgate/internal/cbor"
)

// Append appends the bytes of f to b: deterministic (RFC 8949 §4.2.1 key order
// and shortest integers), defaults left out. The gateway's frames and the
// device's are both written by it. Records in telemetry and results keep the
// width of their values; those of a command are sent as Value.Normal.
//
// A Describe with Raw is written as Raw, so that its hash stays what it was;
// clear Raw after a change.
func Append(b []byte, f Frame) []byte {
	b = cbor.AppendUint(cbor.AppendArray(b, 2), uint64(f.Type()))
	switch f := f.(type) {
	case Ping:
		return pairsOf(b).uint(1, f.Token).end()
	case Pong:
		return pairsOf(b).uint(1, f.Token).uintUnless(2, uint64(f.Time), 0).end()
	case Bye:
		return pairsOf(b).textUnlessEmpty(1, f.Reason).uintUnless(2, f.Seconds, 0).end()
	case Error:
		return pairsOf(b).uint(1, uint64(f.Code)).textUnlessEmpty(2, f.Message).
			uintUnless(3, f.Seq, 0).boot(4, f.Boot).end()
	case *Hello:
		return appendHello(b, f)
	case *Describe:
		return f.appendBody(b)
	case *Telemetry:
		p := pairsOf(b).uint(1, f.Seq)
		p = p.key(2)
		p.b = appendRecords(p.b, f.Records)
		return p.boot(3, f.Boot).uintUnless(4, f.Age, 0).flag(5, f.Uncertain).end()
	case *Result:
		p := pairsOf(b).uint(1, f.ID).uintUnless(2, uint64(f.Code), 0).textUnlessEmpty(3, f.Message)
		if len(f.Records) > 0 {
			p = p.key(4)
			p.b = appendRecords(p.b, f.Records)
		}
		return p.end()
	case Log:
		return pairsOf(b).uintUnless(1, f.Level, 1).text(2, f.Text).end()
	case *Welcome:
		return appendWelcome(b, f)
	case Ack:
		return pairsOf(b).uint(1, f.Seq).boot(2, f.Boot).end()
	case *Command:
		p := pairsOf(b).uint(1, f.ID)
		p = p.key(2)
		p.b = appendWishes(p.b, f.Records)
		return p.uint(3, f.Left).uintUnless(4, max(f.Attempt, 1), 1).end()
	case *Grant:
		return appendGrant(b, f)
	case Reveal:
		return pairsOf(b).bytes(1, f.Nonce[:]).end()
	}
	panic("protocol: a frame of another package")
}

// pairs writes a map whose size is known only at its end. The protocol's maps
// have at most 23 pairs, so the head is one byte and is filled in then. Keys are
// written in ascending order by whoever calls. It goes by value, so that a frame
// is written without memory of its own.
type pairs struct {
	b    []byte
	head int // where the map begins
	n    int
}

func pairsOf(b []byte) pairs { return pairs{b: cbor.AppendMap(b, 0), head: len(b)} }

// end fills in the head.
func (p pairs) end() []byte {
	p.b[p.head] |= byte(p.n)
	return p.b
}

func (p pairs) key(k uint64) pairs {
	p.b = cbor.AppendUint(p.b, k)
	p.n++
	return p
}

func (p pairs) uint(k, u uint64) pairs {
	p = p.key(k)
	p.b = cbor.AppendUint(p.b, u)
	return p
}

func (p pairs) uintUnless(k, u, absent uint64) pairs {
	if u == absent {
		return p
	}
	return p.uint(k, u)
}

func (p pairs) text(k uint64, s string) pairs {
	p = p.key(k)
	p.b = cbor.AppendText(p.b, s)
	return p
}

func (p pairs) textUnlessEmpty(k uint64, s string) pairs {
	if s == "" {
		return p
	}
	return p.text(k, s)
}

func (p pairs) bytes(k uint64, s []byte) pairs {
	p = p.key(k)
	p.b = cbor.AppendBytes(p.b, s)
	return p
}

func (p pairs) bytesUnlessNil(k uint64, s []byte) pairs {
	if s == nil {
		return p
	}
	return p.bytes(k, s)
}

func (p pairs) boot(k uint64, boot *Boot) pairs {
	if boot == nil {
		return p
	}
	return p.bytes(k, boot[:])
}

func (p pairs) hash(k uint64, hash *Hash) pairs {
	if hash == nil {
		return p
	}
	return p.bytes(k, hash[:])
}

func (p pairs) flag(k uint64, v bool) pairs {
	if v {
		p = p.key(k)
		p.b = cbor.AppendBool(p.b, v)
	}
	return p
}

func (p pairs) number(k uint64, n *float64) pairs {
	if n != nil {
		p = p.key(k)
		p.b = appendValue(p.b, Float(*n).Normal())
	}
	return p
}

func (p pairs) texts(k uint64, list []string) pairs {
	if len(list) == 0 {
		return p
	}
	p = p.key(k)
	p.b = cbor.AppendArray(p.b, len(list))
	for _, s := range list {
		p.b = cbor.AppendText(p.b, s)
	}
	return p
}

func appendHello(b []byte, h *Hello) []byte {
	p := pairsOf(b).bytes(1, h.Boot[:]).hash(2, h.Description).textUnlessEmpty(3, h.Firmware).
		uintUnless(4, h.WakeInterval, 0).uintUnless(5, cmp.Or(h.MaxFrame, DefaultFrame), DefaultFrame)
	if h.Clock != nil {
		p = p.uint(6, uint64(*h.Clock))
	}
	if len(h.Boots) > 0 {
		p = p.key(7)
		p.b = cbor.AppendArray(p.b, len(h.Boots))
		for _, boot := range h.Boots {
			p.b = cbor.AppendBytes(p.b, boot[:])
		}
	}
	return p.uintUnless(8, h.Heartbeat, 0).bytesUnlessNil(9, h.Commitment).hash(10, h.CA).end()
}

// appendWelcome always says 1 to 6, so that a device needs no defaults for what
// it works with.
func appendWelcome(b []byte, w *Welcome) []byte {
	p := pairsOf(b).text(1, w.Device).uint(2, uint64(w.Time)).uint(3, w.Heartbeat).
		uint(4, w.Settled).uint(5, w.Window).uint(6, w.MaxFrame).
		flag(7, w.Describe).uintUnless(8, w.Waiting, 0).uintUnless(9, w.Status, 0).
		uintUnless(10, uint64(w.Durability), 0).bytesUnlessNil(11, w.Nonce)
	if len(w.Boots) > 0 {
		p = p.key(12)
		p.b = cbor.AppendArray(p.b, len(w.Boots))
		for _, s := range w.Boots {
			p.b = cbor.AppendBytes(cbor.AppendArray(p.b, 2), s.Boot[:])
			p.b = cbor.AppendUint(p.b, s.Seq)
		}
	}
	return p.end()
}

func appendGrant(b []byte, g *Grant) []byte {
	return pairsOf(b).textUnlessEmpty(1, g.Device).textUnlessEmpty(2, g.Token).bytesUnlessNil(3, g.CA).
		textUnlessEmpty(4, g.ServerName).texts(5, g.URLs).bytesUnlessNil(6, g.NextCA).end()
}

func (d *Describe) appendBody(b []byte) []byte {
	if d.Raw != nil {
		return append(b, d.Raw...)
	}
	p := pairsOf(b).textUnlessEmpty(1, d.Model).textUnlessEmpty(2, d.Manufacturer).textUnlessEmpty(3, d.Serial).
		textUnlessEmpty(5, d.Hardware).textUnlessEmpty(6, d.Name)
	p = p.key(7)
	p.b = cbor.AppendArray(p.b, len(d.Components))
	for i := range d.Components {
		p.b = appendComponent(p.b, &d.Components[i])
	}
	return p.textUnlessEmpty(8, d.Area).end()
}

func appendComponent(b []byte, c *Component) []byte {
	p := pairsOf(b).text(1, c.ID).text(2, c.Kind).textUnlessEmpty(3, c.Name).textUnlessEmpty(4, c.Unit).
		textUnlessEmpty(5, c.Class).textUnlessEmpty(6, c.Category).
		number(7, c.Min).number(8, c.Max).number(9, c.Step).texts(10, c.Options)
	if c.Precision != nil {
		p = p.uint(11, uint64(*c.Precision))
	}
	p = p.textUnlessEmpty(12, c.StateClass).uintUnless(13, c.Freshness, 0)
	if c.Attributes != nil {
		p = p.key(14)
		p.b = appendAttributes(p.b, c.Attributes)
	}
	return p.flag(15, c.Hidden).end()
}

// appendAttributes writes the shorter names first: the order of their bytes on
// the wire, which begin with the length (RFC 8949 §4.2.1).
func appendAttributes(b []byte, all map[string]Attribute) []byte {
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	b = cbor.AppendMap(b, len(names))
	for _, name := range names {
		a := all[name]
		b = pairsOf(cbor.AppendText(b, name)).
			number(7, a.Min).number(8, a.Max).number(9, a.Step).texts(10, a.Options).end()
	}
	return b
}

// appendRecords writes what was measured: values in their own width, with time
// and unit where there are any.
func appendRecords(b []byte, records []Record) []byte {
	b = cbor.AppendArray(b, len(records))
	for i := range records {
		r := &records[i]
		p := pairsOf(b).text(labelName, r.Name).textUnlessEmpty(labelUnit, r.Unit).value(r.Value)
		if r.Time != 0 || r.Absolute {
			p = p.key(labelTime)
			p.b = appendTime(p.b, r)
		}
		b = p.end()
	}
	return b
}

// appendWishes writes the records of a command: only name and value.
func appendWishes(b []byte, records []Record) []byte {
	b = cbor.AppendArray(b, len(records))
	for i := range records {
		b = pairsOf(b).text(labelName, records[i].Name).value(records[i].Value.Normal()).end()
	}
	return b
}

func (p pairs) value(v Value) pairs {
	switch {
	case v.IsText():
		p = p.key(labelText)
	case v.IsBool():
		p = p.key(labelBool)
	default:
		p = p.key(labelValue)
	}
	p.b = appendValue(p.b, v)
	return p
}

func appendValue(b []byte, v Value) []byte {
	switch v.kind {
	case Boolean:
		return cbor.AppendBool(b, v.bits != 0)
	case Neg:
		return cbor.AppendNeg(b, v.bits)
	case Float16:
		return cbor.AppendFloat16(b, uint16(v.bits))
	case Float32:
		return cbor.AppendFloat32(b, uint32(v.bits))
	case Float64:
		return cbor.AppendFloat64(b, v.bits)
	case Str:
		return cbor.AppendText(b, v.text)
	}
	return cbor.AppendUint(b, v.bits)
}

// appendTime writes ns as seconds: whole ones as an integer, others as the
// nearest 64-bit float, which for a relative time must not round up to where
// absolute times begin.
func appendTime(b []byte, r *Record) []byte {
	whole, rest := r.Time/second, r.Time%second
	if rest == 0 {
		return cbor.AppendInt(b, whole)
	}
	t := float64(whole) + float64(rest)/1e9
	if !r.Absolute {
		t = min(t, math.Nextafter(relativeBelow, 0))
	}
	return cbor.AppendFloat64(b, math.Float64bits(t))
}
