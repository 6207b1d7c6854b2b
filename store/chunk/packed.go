package chunk

import (
	"encoding/binary"
	"math/bits"
)

// Bit packing: the residuals in blocks, each with its least value and the width
// of what lies above it.
const blockLength = 128

// bestPacking is the order whose blocks take the fewest bytes.
func bestPacking(y []int64) (order int) {
	size := 0
	for o := range 3 {
		s := 0
		for from := 1; from < len(y); from += blockLength {
			to := min(from+blockLength, len(y))
			least, width := frame(y, from, to, o)
			s += 1 + (bits.Len64(uint64(least)<<1^uint64(least>>63))+6)/7 + ((to-from)*width+7)/8
		}
		if o == 0 || s < size {
			order, size = o, s
		}
	}
	return order
}

// frame is the least residual between from and to and how many bits the others
// need above it.
func frame(y []int64, from, to, order int) (least int64, width int) {
	least = residual(y, from, order)
	most := least
	for i := from + 1; i < to; i++ {
		r := residual(y, i, order)
		least, most = min(least, r), max(most, r)
	}
	return least, bits.Len64(uint64(most) - uint64(least))
}

func appendPacked(b []byte, y []int64, order int) []byte {
	for from := 1; from < len(y); from += blockLength {
		to := min(from+blockLength, len(y))
		least, width := frame(y, from, to, order)
		b = binary.AppendVarint(b, least)
		b = append(b, byte(width))
		if width > 0 {
			b = appendBits(b, y, from, to, order, least, width)
		}
	}
	return b
}

// appendBits writes the lowest bit first.
func appendBits(b []byte, y []int64, from, to, order int, least int64, width int) []byte {
	var low uint64
	n := 0
	for i := from; i < to; i++ {
		x := uint64(residual(y, i, order)) - uint64(least)
		low |= x << n
		n += width
		if n >= 64 {
			b = binary.LittleEndian.AppendUint64(b, low)
			n -= 64
			low = x >> (width - n) // 0 where n is 0 and width 64
		}
	}
	for ; n > 0; n -= 8 {
		b = append(b, byte(low))
		low >>= 8
	}
	return b
}

func readPacked(r *reader, y []int64, order int) bool {
	for from := 1; from < len(y); from += blockLength {
		block := y[from:min(from+blockLength, len(y))]
		least, width := r.Varint(), int(r.Byte())
		if width > 64 {
			return false
		}
		b := r.Take(uint64(len(block)*width+7) / 8)
		if r.Bad {
			return false
		}
		readBits(b, block, uint64(least), width)
	}
	integrate(y, order)
	return true
}

func readBits(b []byte, out []int64, least uint64, width int) {
	mask := uint64(1)<<width - 1
	at := 0 // bit
	for i := range out {
		byteAt := at >> 3
		var x uint64
		if byteAt+8 <= len(b) {
			x = binary.LittleEndian.Uint64(b[byteAt:]) >> (at & 7)
			if width > 57 && byteAt+8 < len(b) {
				x |= uint64(b[byteAt+8]) << (64 - at&7) // nothing where at&7 is 0
			}
		} else {
			for j := len(b) - 1; j >= byteAt; j-- {
				x = x<<8 | uint64(b[j])
			}
			x >>= at & 7
		}
		out[i] = int64(x&mask + least)
		at += width
	}
}

// integrate turns residuals back into values, in place; y[0] is 0.
func integrate(y []int64, order int) {
	switch order {
	case 1:
		at := int64(0)
		for i, r := range y {
			at += r
			y[i] = at
		}
	case 2:
		var at, slope int64
		for i, r := range y {
			slope += r
			at += slope
			y[i] = at
		}
	}
}
