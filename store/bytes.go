package store

import (
	"errors"
	"hash/crc32"
	"math"

	"github.com/hearthgate/hearthgate/protocol"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("checksum or structure is wrong")

// reader takes apart what the package wrote. Once something is wrong it is bad
// and reads zeros; it never panics.
type reader struct {
	s   string
	bad bool
}

func (r *reader) presence() PresenceChange {
	return PresenceChange{State: PresenceState(r.text()), Since: r.varint(), Cause: r.text(), NextWake: r.varint()}
}
func (r *reader) value(k protocol.Kind) protocol.Value {
	switch k {
	case protocol.None:
		return protocol.Value{}
	case protocol.Str:
		return protocol.Text(r.text())
	case protocol.Float16:
		return protocol.MakeValue(k, r.fixed(2), "")
	case protocol.Float32:
		return protocol.MakeValue(k, r.fixed(4), "")
	case protocol.Float64:
		return protocol.MakeValue(k, r.fixed(8), "")
	case protocol.Boolean, protocol.Uint, protocol.Neg:
		return protocol.MakeValue(k, r.uvarint(), "")
	}
	r.bad = true
	return protocol.Value{}
}

// take is the next n bytes, none if there are fewer.
func (r *reader) take(n int) string {
	if n < 0 || n > len(r.s) {
		r.bad, r.s = true, ""
		return ""
	}
	t := r.s[:n]
	r.s = r.s[n:]
	return t
}

func (r *reader) byte() byte {
	if t := r.take(1); t != "" {
		return t[0]
	}
	return 0
}

func (r *reader) fixed(n int) (bits uint64) {
	t := r.take(n)
	for i := len(t) - 1; i >= 0; i-- {
		bits = bits<<8 | uint64(t[i])
	}
	return bits
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > math.MaxInt32 {
		r.bad = true
		return ""
	}
	return r.take(int(n))
}

func (r *reader) uvarint() (x uint64) {
	for shift := 0; shift < 64; shift += 7 {
		c := r.byte()
		x |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if shift == 63 && c > 1 {
				r.bad = true
			}
			return x
		}
	}
	r.bad = true
	return 0
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}
