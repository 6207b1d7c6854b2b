package chunk

// A binary range coder (after Schindler and the carry-less coder of the PAQ
// family): each decision narrows [low, high] in proportion to its probability.

const (
	probabilityBits = 16
	even            = 1 << (probabilityBits - 1) // the probability 1/2
)

type rangeEncoder struct {
	low, high uint32
	out       []byte
	from      int // where in out its bytes begin
}

func newRangeEncoder(out []byte) rangeEncoder {
	return rangeEncoder{high: 1<<32 - 1, out: out, from: len(out)}
}

// encode writes one decision. p is the probability of a one, above 0 and below
// 1<<probabilityBits.
func (e *rangeEncoder) encode(bit int, p uint32) {
	middle := e.low + uint32(uint64(e.high-e.low)*uint64(p)>>probabilityBits)
	if bit != 0 {
		e.high = middle
	} else {
		e.low = middle + 1
	}
	for (e.low^e.high)>>24 == 0 {
		e.out = append(e.out, byte(e.high>>24))
		e.low <<= 8
		e.high = e.high<<8 | 255
	}
}

// finish writes the fewest bytes that, with zeros behind them, lie within
// [low, high].
func (e *rangeEncoder) finish() []byte {
	for n := range 4 {
		open := uint64(1)<<(32-8*n) - 1 // what n bytes leave open
		v := (uint64(e.low) + open) &^ open
		if v > uint64(e.high) {
			continue
		}
		for i := range n {
			e.out = append(e.out, byte(v>>(24-8*i)))
		}
		return e.trim()
	}
	e.out = append(e.out, byte(e.low>>24), byte(e.low>>16), byte(e.low>>8), byte(e.low))
	return e.trim()
}

// trim leaves out the zeros that a decoder adds by itself.
func (e *rangeEncoder) trim() []byte {
	for len(e.out) > e.from && e.out[len(e.out)-1] == 0 {
		e.out = e.out[:len(e.out)-1]
	}
	return e.out
}

type rangeDecoder struct {
	low, high, code uint32
	in              []byte
}

func newRangeDecoder(in []byte) rangeDecoder {
	d := rangeDecoder{high: 1<<32 - 1, in: in}
	for range 4 {
		d.shift()
	}
	return d
}

// shift takes the next byte, zero behind the end.
func (d *rangeDecoder) shift() {
	d.code <<= 8
	if len(d.in) > 0 {
		d.code |= uint32(d.in[0])
		d.in = d.in[1:]
	}
}

func (d *rangeDecoder) decode(p uint32) (bit int) {
	middle := d.low + uint32(uint64(d.high-d.low)*uint64(p)>>probabilityBits)
	if d.code <= middle {
		d.high = middle
		bit = 1
	} else {
		d.low = middle + 1
	}
	for (d.low^d.high)>>24 == 0 {
		d.low <<= 8
		d.high = d.high<<8 | 255
		d.shift()
	}
	return bit
}
