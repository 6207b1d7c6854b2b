package chunk

import (
	"encoding/binary"
	"math"

	"github.com/hearthgate/hearthgate/store/octets"
)

// reader takes a chunk apart.
type reader struct{ octets.Reader }

func newReader(b []byte) reader { return reader{octets.Reader{B: b}} }

// count is a number of things of which each takes at least one of the bytes
// that are left, so that nobody allocates for a lie.
func (r *reader) count() int {
	n := r.Uvarint()
	if n > uint64(len(r.B)) {
		r.Bad, r.B = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) text() string { return string(r.Section()) }

func (r *reader) fixed(n int) (bits uint64) {
	t := r.Take(uint64(n))
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
