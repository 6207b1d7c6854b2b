// Package rangecoder writes decisions in as many bits as they are surprising: a
// binary range coder (after Schindler and the carry-less coder of the PAQ
// family), in which each decision narrows [low, high] in proportion to its
// probability, and what models of these probabilities are made of. All
// arithmetic is on integers, so every machine agrees.
package rangecoder

// Probabilities are in so many bits.
const (
	ProbabilityBits = 16
	Even            = 1 << (ProbabilityBits - 1) // the probability 1/2
)

// Encoder writes decisions.
type Encoder struct {
	low, high uint32
	out       []byte
	from      int // where in out its bytes begin
}

// NewEncoder appends to out.
func NewEncoder(out []byte) Encoder {
	return Encoder{high: 1<<32 - 1, out: out, from: len(out)}
}

// Encode writes one decision. p is the probability of a one, above 0 and below
// 1<<ProbabilityBits.
func (e *Encoder) Encode(bit int, p uint32) {
	middle := e.low + uint32(uint64(e.high-e.low)*uint64(p)>>ProbabilityBits)
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

// Finish writes the fewest bytes that, with zeros behind them, lie within
// [low, high], and returns all bytes.
func (e *Encoder) Finish() []byte {
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
func (e *Encoder) trim() []byte {
	for len(e.out) > e.from && e.out[len(e.out)-1] == 0 {
		e.out = e.out[:len(e.out)-1]
	}
	return e.out
}

// Decoder reads what an Encoder wrote. Behind the end of its bytes it reads zeros.
type Decoder struct {
	low, high, code uint32
	in              []byte
}

// NewDecoder reads from in.
func NewDecoder(in []byte) Decoder {
	d := Decoder{high: 1<<32 - 1, in: in}
	for range 4 {
		d.shift()
	}
	return d
}

// shift takes the next byte, zero behind the end.
func (d *Decoder) shift() {
	d.code <<= 8
	if len(d.in) > 0 {
		d.code |= uint32(d.in[0])
		d.in = d.in[1:]
	}
}

// Decode reads the decision that was written with the probability p of a one.
func (d *Decoder) Decode(p uint32) (bit int) {
	middle := d.low + uint32(uint64(d.high-d.low)*uint64(p)>>ProbabilityBits)
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
