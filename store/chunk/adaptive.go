package chunk

import (
	"encoding/binary"
	"math/bits"

	"github.com/hearthgate/hearthgate/store/rangecoder"
)

// The adaptive method writes each residual as a few decisions that a model
// foresees: the length of its magnitude in bits (a walk down a tree), its sign,
// and the bits below the leading one. The first of these are foreseen, too, the
// rest is taken as noise.

const foreseenBits = 3 // of a magnitude, below its leading one

// Nodes of a residual's decisions. Those of lengths and magnitudes follow.
const (
	nodeSign      = 1 << 8
	nodeMagnitude = 1 << 12
)

// history is what the contexts are made of.
type history struct {
	x1, x2 int64 // values before
	r1, r2 int64 // residuals before
}

// hashContexts sets the contexts for the next residual.
func (h *history) hashContexts(m *model) {
	const k = 0x9e3779b97f4a7c15
	mix := func(i, x uint64) uint32 { return uint32((x*k + i) * 0xbf58476d1ce4e5b9 >> 32) }
	m.hashes = [contexts]uint32{
		0,
		mix(1, uint64(h.r1)*31+uint64(h.r2)),
		mix(2, uint64(h.x1)),
	}
}

func (h *history) add(x, r int64) {
	h.x1, h.x2 = x, h.x1
	h.r1, h.r2 = r, h.r1
}

// foresee is what the residual would be from what came before.
func (h *history) foresee(order int) int64 {
	switch order {
	case 1:
		return h.x1
	case 2:
		return 2*h.x1 - h.x2
	}
	return 0
}

// appendAdaptive appends how many bits the longest residual's length has and
// the decisions.
func (e *encoder) appendAdaptive(b []byte, y []int64, order int) []byte {
	middle := int64(0)
	if order == 0 {
		least, most := spread(y)
		middle = least + int64((uint64(most)-uint64(least))/2)
		b = binary.AppendVarint(b, middle)
	}
	longest := 0
	for i := 1; i < len(y); i++ {
		longest = max(longest, bits.Len64(magnitude(residualAround(y, i, order, middle))))
	}
	depth := bits.Len8(uint8(longest))
	b = append(b, byte(depth))
	e.model.reset(len(y))
	w := writer{Encoder: rangecoder.NewEncoder(b), model: &e.model}
	var h history
	for i := 1; i < len(y); i++ {
		h.hashContexts(&e.model)
		r := y[i] - h.foresee(order) - middle
		w.residual(r, depth)
		h.add(y[i], r)
	}
	return w.Finish()
}

func residualAround(y []int64, i, order int, middle int64) int64 {
	switch {
	case order == 0:
		return y[i] - middle
	case order == 1 || i == 1:
		return y[i] - y[i-1]
	}
	return y[i] - 2*y[i-1] + y[i-2]
}

type writer struct {
	rangecoder.Encoder
	model *model
}

func (w *writer) bit(bit int, node uint32, mixer int) {
	w.Encode(bit, w.model.predict(node, mixer))
	w.model.learn(bit)
}

func (w *writer) residual(r int64, depth int) {
	size := magnitude(r)
	length := bits.Len64(size)
	node := uint32(1)
	for i := depth - 1; i >= 0; i-- {
		bit := length >> i & 1
		w.bit(bit, node, depth-1-i)
		node = node<<1 | uint32(bit)
	}
	if length == 0 {
		return
	}
	bit := int(uint64(r) >> 63)
	w.bit(bit, nodeSign+uint32(length), 8)
	node = nodeMagnitude | uint32(length)<<5 | uint32(bit)<<4 | 1
	i := length - 2
	for n := 0; i >= 0 && n < foreseenBits; n++ {
		bit := int(size >> i & 1)
		w.bit(bit, node, 9+n)
		node = node&^15 | node<<1&15 | uint32(bit)
		i--
	}
	for ; i >= 0; i-- {
		w.Encode(int(size>>i&1), rangecoder.Even)
	}
}

func (d *decoder) readAdaptive(r *reader, y []int64, order int) bool {
	middle := int64(0)
	if order == 0 {
		middle = r.Varint()
	}
	depth := int(r.Byte())
	if r.Bad || depth > 7 {
		return false
	}
	d.model.reset(len(y))
	s := scanner{Decoder: rangecoder.NewDecoder(r.B), model: &d.model}
	var h history
	for i := 1; i < len(y); i++ {
		h.hashContexts(&d.model)
		r := s.residual(depth)
		y[i] = h.foresee(order) + middle + r
		h.add(y[i], r)
	}
	return true
}

type scanner struct {
	rangecoder.Decoder
	model *model
}

func (s *scanner) bit(node uint32, mixer int) int {
	bit := s.Decode(s.model.predict(node, mixer))
	s.model.learn(bit)
	return bit
}

func (s *scanner) residual(depth int) int64 {
	node := uint32(1)
	for i := range depth {
		node = node<<1 | uint32(s.bit(node, i))
	}
	length := min(int(node&^(1<<depth)), 64)
	if length == 0 {
		return 0
	}
	sign := s.bit(nodeSign+uint32(length), 8)
	node = nodeMagnitude | uint32(length)<<5 | uint32(sign)<<4 | 1
	size := uint64(1)
	i := length - 2
	for n := 0; i >= 0 && n < foreseenBits; n++ {
		bit := s.bit(node, 9+n)
		node = node&^15 | node<<1&15 | uint32(bit)
		size = size<<1 | uint64(bit)
		i--
	}
	for ; i >= 0; i-- {
		size = size<<1 | uint64(s.Decode(rangecoder.Even))
	}
	if sign != 0 {
		return -int64(size)
	}
	return int64(size)
}
