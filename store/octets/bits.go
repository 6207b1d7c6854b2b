package octets

import "encoding/binary"

// BitWriter writes the lowest bit first.
type BitWriter struct {
	B    []byte // what is written of it, behind what was there before
	last uint64 // bits that are not in B yet
	n    int    // how many
}

// Write appends the lower n bits of x, at most 64.
func (w *BitWriter) Write(x uint64, n int) {
	for n > 0 {
		part := min(n, 64-w.n)
		w.last |= x & (1<<part - 1) << w.n
		w.n += part
		if w.n == 64 {
			w.B = binary.LittleEndian.AppendUint64(w.B, w.last)
			w.last, w.n = 0, 0
		}
		x >>= part
		n -= part
	}
}

// Finish is all that was written, padded to a byte.
func (w *BitWriter) Finish() []byte {
	for ; w.n > 0; w.n -= 8 {
		w.B = append(w.B, byte(w.last))
		w.last >>= 8
	}
	return w.B
}
