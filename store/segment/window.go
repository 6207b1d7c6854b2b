package segment

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
)

// readAtOnce is how much of a segment is read in one go.
const readAtOnce = 64 << 10

// mostPayload is more than any record has: a length above it is none.
const mostPayload = 1 << 30

// A window is the part of a segment that is in memory while somebody goes through
// it. Blocks that the disk does not give are zeros.
type window struct {
	s     *segment
	reuse bool // what was returned is not kept by anyone: its memory is used again

	b       []byte
	begin   int64 // where in s it lies
	nothing bool  // the disk gave none of it
	err     error // of the first block that it did not give
}

// bytes are n bytes of s at off, fewer at its end, and whatever else of what follows
// is in memory.
func (w *window) bytes(off, n int64) []byte {
	if n = min(n, w.s.size-off); off < w.begin || off+n > w.begin+int64(len(w.b)) {
		w.fill(off, min(max(n, readAtOnce), w.s.size-off))
	}
	return w.b[off-w.begin:]
}

// record are the bytes at off, all of a record if one of m begins there.
func (w *window) record(off int64, m mark) []byte {
	b := w.bytes(off, recordHeader)
	if len(b) < recordHeader || !carries(b, m) {
		return b
	}
	n := int64(binary.LittleEndian.Uint32(b[32:]))
	if n > mostPayload {
		return b[:recordHeader]
	}
	return w.bytes(off, recordHeader+n)
}

func (w *window) fill(off, n int64) {
	if w.begin = off; w.reuse && int64(cap(w.b)) >= n {
		w.b = w.b[:n]
	} else {
		w.b = make([]byte, n)
	}
	w.nothing = false
	got, err := w.s.file.ReadAt(w.b, off)
	if got == len(w.b) || errors.Is(err, io.EOF) {
		clear(w.b[got:])
		return
	}
	w.nothing = true
	for from := 0; from < len(w.b); from += mostBlock {
		part := w.b[from:min(from+mostBlock, len(w.b))]
		n, err := w.s.file.ReadAt(part, off+int64(from))
		if n == len(part) || errors.Is(err, io.EOF) {
			w.nothing = false
			clear(part[n:])
			continue
		}
		clear(part)
		w.err = cmp.Or(w.err, err)
	}
}

// away reports whether the disk does not give what follows either: one that is away
// must not look like a damaged one.
func (w *window) away() bool {
	probe := make([]byte, leastBlock)
	for at := w.begin + int64(len(w.b)); at < w.s.size; at += readAtOnce {
		if n, _ := w.s.file.ReadAt(probe, at); n == len(probe) {
			return false
		}
	}
	return true
}
