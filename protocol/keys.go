package protocol

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/hearthgate/hearthgate/internal/cbor"
)

var errTwice = errors.New("a record has a label twice")

// keySet finds a key that a map has twice. The small integers, which are all
// that the protocol uses, are bits; of the others only the places are kept, and
// sorted at the end, so that a map full of strange keys stays cheap.
type keySet struct {
	b     []byte
	small uint64 // bit n: key n; bit 32+n: key -1-n
	other []int  // offsets of the other keys
}

// start empties the set for the next map in b.
func (s *keySet) start(b []byte) { s.b, s.small, s.other = b, 0, s.other[:0] }

// add notes the key with that head, which stands at that offset. It is false
// if the key is a small integer that was there before.
func (s *keySet) add(h cbor.Head, at int) bool {
	if h.Major > cbor.Neg || h.Arg >= 32 {
		s.other = append(s.other, at)
		return true
	}
	bit := uint64(1) << (h.Arg + 32*uint64(h.Major))
	if s.small&bit != 0 {
		return false
	}
	s.small |= bit
	return true
}

// repeated reports whether one of the other keys was added twice.
func (s *keySet) repeated() bool {
	if len(s.other) < 2 {
		return false
	}
	slices.SortFunc(s.other, s.compare)
	for i := 1; i < len(s.other); i++ {
		if s.compare(s.other[i-1], s.other[i]) == 0 {
			return true
		}
	}
	return false
}

// compare orders keys by value: 1 is the same key in one byte and in nine.
func (s *keySet) compare(i, j int) int {
	a, b := cbor.NewReader(s.b, i), cbor.NewReader(s.b, j)
	ha, _ := a.Head() // the keys have been passed over once, so they can be read
	hb, _ := b.Head()
	if c := cmp.Or(cmp.Compare(ha.Major, hb.Major), cmp.Compare(ha.Arg, hb.Arg)); c != 0 {
		return c
	}
	switch ha.Major {
	case cbor.Bytes, cbor.Text:
		return bytes.Compare(s.b[a.Offset():a.Offset()+int(ha.Arg)], s.b[b.Offset():b.Offset()+int(hb.Arg)])
	case cbor.Array, cbor.Map, cbor.Simple:
		a, b = cbor.NewReader(s.b, i), cbor.NewReader(s.b, j)
		_, _ = a.Skip(), b.Skip()
		return bytes.Compare(s.b[i:a.Offset()], s.b[j:b.Offset()])
	}
	return 0
}
