package rollup

import (
	"encoding/binary"

	"github.com/hearthgate/hearthgate/store/octets"
)

// noise is bits that are kept as they are, the lowest first: those that are written,
// or those to read.
type noise struct {
	octets.BitWriter

	bits []byte
	at   int // bit to read next
}

// read is the next n bits, at most 64; zeros behind the end.
func (s *noise) read(n int) (x uint64) {
	if n > 56 {
		x = s.read(n - 56)
		return x | s.read(56)<<(n-56)
	}
	from := s.at >> 3
	if from+8 <= len(s.bits) {
		x = binary.LittleEndian.Uint64(s.bits[from:])
	} else if from < len(s.bits) {
		var end [8]byte
		copy(end[:], s.bits[from:])
		x = binary.LittleEndian.Uint64(end[:])
	}
	x = x >> (s.at & 7) & (1<<n - 1)
	s.at += n
	return x
}
