package chunk

import (
	"encoding/binary"
	"math"
)

// reader takes bytes apart. Once something is wrong it is bad and reads zeros;
// it never panics.
type reader struct {
	b   []byte
	bad bool
}

// take is the next n bytes, none if there are fewer.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	t := r.b[:n:n]
	r.b = r.b[n:]
	return t
}

func (r *reader) byte() byte {
	if t := r.take(1); t != nil {
		return t[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) varint() int64 {
	x := r.uvarint()
	return int64(x>>1) ^ -int64(x&1)
}

// count is a number of things of which each takes at least one of the bytes
// that are left, so that nobody allocates for a lie.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

// section is bytes that say their length.
func (r *reader) section() []byte { return r.take(r.uvarint()) }

func (r *reader) text() string { return string(r.section()) }

func (r *reader) fixed(n int) (bits uint64) {
	t := r.take(uint64(n))
	for i := len(t) - 1; i >= 0; i-- {
		bits = bits<<8 | uint64(t[i])
	}
	return bits
}

func appendSection(b, section []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(section))), section...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendFixed(b []byte, bits uint64, n int) []byte {
	for range n {
		b = append(b, byte(bits))
		bits >>= 8
	}
	return b
}

// floorDiv is a/b rounded down.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// magnitude is |x|, also of the one integer whose negative does not fit.
func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// spread is the least and the greatest of v.
func spread(v []int64) (least, most int64) {
	least, most = math.MaxInt64, math.MinInt64
	for _, x := range v {
		least, most = min(least, x), max(most, x)
	}
	return least, most
}
