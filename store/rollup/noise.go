package rollup

import "encoding/binary"

// noise is bits that are kept as they are, the lowest first.
type noise struct {
	b  []byte
	at int // bit to read next

	last uint64 // bits that are not in b yet
	n    int    // how many
}

// write appends the lower n bits of x, at most 64.
func (s *noise) write(x uint64, n int) {
	for n > 0 {
		part := min(n, 64-s.n)
		s.last |= x & (1<<part - 1) << s.n
		s.n += part
		if s.n == 64 {
			s.b = binary.LittleEndian.AppendUint64(s.b, s.last)
			s.last, s.n = 0, 0
		}
		x >>= part
		n -= part
	}
}

// finish is all that was written, padded to a byte.
func (s *noise) finish() []byte {
	for ; s.n > 0; s.n -= 8 {
		s.b = append(s.b, byte(s.last))
		s.last >>= 8
	}
	return s.b
}

// read is the next n bits, at most 64; zeros behind the end.
func (s *noise) read(n int) (x uint64) {
	if n > 56 {
		x = s.read(n - 56)
		return x | s.read(56)<<(n-56)
	}
	from := s.at >> 3
	if from+8 <= len(s.b) {
		x = binary.LittleEndian.Uint64(s.b[from:])
	} else if from < len(s.b) {
		var end [8]byte
		copy(end[:], s.b[from:])
		x = binary.LittleEndian.Uint64(end[:])
	}
	x = x >> (s.at & 7) & (1<<n - 1)
	s.at += n
	return x
}
