package octets_test

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"github.com/hearthgate/hearthgate/store/octets"
)

// What was written comes back; behind its end, and behind a length that is a lie, the
// reader is bad for good.
func TestBytesAreTakenApart(t *testing.T) {
	b := binary.AppendUvarint([]byte{7}, math.MaxUint64)
	b = binary.AppendVarint(b, math.MinInt64)
	b = append(b, 3, 'a', 'b', 'c')
	r := octets.Reader{B: b}
	if x, u, v, s := r.Byte(), r.Uvarint(), r.Varint(), r.Section(); x != 7 || u != math.MaxUint64 || v != math.MinInt64 || string(s) != "abc" {
		t.Errorf("got %d %d %d %q", x, u, v, s)
	}
	if r.Bad || len(r.B) > 0 {
		t.Errorf("bad %v, %d bytes are left", r.Bad, len(r.B))
	}
	if x := r.Byte(); x != 0 || !r.Bad {
		t.Errorf("behind the end is %d, bad %v", x, r.Bad)
	}
	for _, damaged := range [][]byte{
		{4, 'a', 'b', 'c'}, // shorter than it says
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'}, // 2^64-1 bytes
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 'a'}, // no number of 64 bits
		{0x80}, // a number that does not end
	} {
		r := octets.Reader{B: damaged}
		if s := r.Section(); s != nil || !r.Bad || r.Byte() != 0 || r.Uvarint() != 0 {
			t.Errorf("% x: read %q, bad %v", damaged, s, r.Bad)
		}
	}
}

// The lowest bit is the first, over the ends of bytes and of words.
func TestBitsAreWrittenLowestFirst(t *testing.T) {
	w := octets.BitWriter{B: []byte{0xee}}
	w.Write(0b101, 3)
	w.Write(0xffff, 4) // of which four count
	w.Write(math.MaxUint64-1, 64)
	w.Write(1, 2)
	if got, want := hex.EncodeToString(w.Finish()), "ee7dffffffffffffffff00"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
