package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"unsafe"
)

// The bytes of a segment; FORMAT.md draws them, a test decodes the examples
// there.
const (
	headerSize   = 56
	headerSpace  = 4096 // the records begin here
	recordHeader = 36
	leastBlock   = 512  // records begin at multiples of a sector
	mostBlock    = 4096 // as large as sectors get
	zeros        = 256 << 10
)

var (
	headerMagic = []byte("HGS\x01") // with the version of the format
	recordMagic = []byte("HGR\x01")
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

// mark is what every record of one use of a segment carries. The generation is
// random, so that neither stale bytes nor bytes that a device sent inside of a
// record are taken for a record.
type mark struct{ epoch, generation uint64 }

// header is what stands at the beginning of a segment.
type header struct {
	mark
	sequence uint64 // of segments, in the order of their use
	first    uint64 // number of the first record
	size     uint64
	block    uint32
}

func padded(n, block int) int64 { return int64((n + block - 1) / block * block) }

// aligned is a buffer of n zero bytes that direct writes accept, b if it is
// large enough.
func aligned(b []byte, n int) []byte {
	if cap(b) < n {
		room := max(n, 64<<10)
		b = make([]byte, room+mostBlock)
		skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (mostBlock - 1)
		b = b[skip : skip+room : skip+room]
	}
	b = b[:n]
	clear(b)
	return b
}

// encodeHeader fills b, which is as long as a block.
func encodeHeader(b []byte, h header) {
	copy(b[4:], headerMagic)
	binary.LittleEndian.PutUint64(b[8:], h.epoch)
	binary.LittleEndian.PutUint64(b[16:], h.generation)
	binary.LittleEndian.PutUint64(b[24:], h.sequence)
	binary.LittleEndian.PutUint64(b[32:], h.first)
	binary.LittleEndian.PutUint64(b[40:], h.size)
	binary.LittleEndian.PutUint32(b[48:], h.block)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:headerSize], castagnoli))
}

func decodeHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || !bytes.Equal(b[4:8], headerMagic) ||
		binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:headerSize], castagnoli) {
		return h, false
	}
	h.epoch = binary.LittleEndian.Uint64(b[8:])
	h.generation = binary.LittleEndian.Uint64(b[16:])
	h.sequence = binary.LittleEndian.Uint64(b[24:])
	h.first = binary.LittleEndian.Uint64(b[32:])
	h.size = binary.LittleEndian.Uint64(b[40:])
	h.block = binary.LittleEndian.Uint32(b[48:])
	return h, h.block == leastBlock || h.block == mostBlock
}

// encodeRecord fills b, which is zero and long enough.
func encodeRecord(b []byte, m mark, number uint64, payload []byte) {
	copy(b[4:], recordMagic)
	binary.LittleEndian.PutUint64(b[8:], m.epoch)
	binary.LittleEndian.PutUint64(b[16:], m.generation)
	binary.LittleEndian.PutUint64(b[24:], number)
	binary.LittleEndian.PutUint32(b[32:], uint32(len(payload)))
	copy(b[recordHeader:], payload)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:recordHeader+len(payload)], castagnoli))
}

// found is what decodeRecord finds at a place.
type found int

const (
	nothing found = iota // zeros, or stale bytes
	torn                 // a record began here, but it is not whole
	record
)

// decodeRecord looks for a record at the beginning of b.
func decodeRecord(b []byte, m mark) (number uint64, payload []byte, what found) {
	if len(b) < recordHeader || !carries(b, m) {
		return 0, nil, nothing
	}
	number = binary.LittleEndian.Uint64(b[24:])
	length := binary.LittleEndian.Uint32(b[32:])
	if uint64(length) > uint64(len(b)-recordHeader) {
		return number, nil, torn
	}
	end := recordHeader + int(length)
	if binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:end], castagnoli) {
		return number, nil, torn
	}
	return number, b[recordHeader:end], record
}

// looksLike reports whether b begins as a record of this epoch does.
func looksLike(b []byte, epoch uint64) bool {
	return bytes.Equal(b[4:8], recordMagic) && binary.LittleEndian.Uint64(b[8:]) == epoch
}

// generation is that of the record at the beginning of b.
func generation(b []byte) uint64 { return binary.LittleEndian.Uint64(b[16:]) }

// carries reports whether b begins as a record of this mark does.
func carries(b []byte, m mark) bool { return looksLike(b, m.epoch) && generation(b) == m.generation }
