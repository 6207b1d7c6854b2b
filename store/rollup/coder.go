package rollup

import (
	"encoding/binary"
	"math/bits"

	"github.com/hearthgate/hearthgate/store/octets"
	"github.com/hearthgate/hearthgate/store/rangecoder"
)

// A coder writes whole numbers, or reads them: one function then describes both
// ways of a format. Each number is a few decisions that a model foresees from what
// was written before (the contexts): several tables of probabilities learn from
// what came, and a small network for each decision of each field mixes their
// opinions (logistic mixing, as in Mahoney's PAQ).
type coder struct {
	reading bool
	encoder rangecoder.Encoder
	decoder rangecoder.Decoder
	noise   noise

	table   []rangecoder.Slot // of all contexts, one behind the other
	width   int               // bits of a slot's number within its context
	weights [fields * mixers][contexts]int32
	means   [fields]int64 // of the numbers' magnitudes, lately, in 16ths

	hashes [contexts]uint32 // of the number
}

const (
	contexts     = 4 // one of them nothing
	mixers       = 10
	leastTable   = 10 // bits of a slot's number; more for longer columns
	mostTable    = 13
	tableRoom    = 3
	startWeight  = 1 << 16 * 3 / 10
	foreseenBits = 2 // of a magnitude, below its leading one
)

// Nodes of a number's decisions.
const (
	nodeZero      = 1
	nodeSign      = 2
	nodeLength    = 1 << 4
	nodeMagnitude = 1 << 8
)

// newReader reads a column of n rows.
func newReader(n int, b []byte) (c *coder, ok bool) {
	r := octets.Reader{B: b}
	decisions := r.Take(r.Uvarint())
	c = newCoder(n)
	c.reading, c.decoder, c.noise = true, rangecoder.NewDecoder(decisions), noise{bits: r.B}
	return c, !r.Bad
}

// appendTo appends what was written.
func (c *coder) appendTo(b []byte) []byte {
	decisions := c.encoder.Finish()
	b = binary.AppendUvarint(b, uint64(len(decisions)))
	b = append(b, decisions...)
	return append(b, c.noise.Finish()...)
}

// newCoder writes a column of n rows.
func newCoder(n int) *coder {
	c := &coder{encoder: rangecoder.NewEncoder(nil)}
	c.width = min(max(bits.Len(uint(n))+tableRoom, leastTable), mostTable)
	c.table = make([]rangecoder.Slot, contexts<<c.width)
	for i := range c.table[:64] {
		c.table[i] = rangecoder.Fresh
	}
	for n := 64; n < len(c.table); n *= 2 {
		copy(c.table[n:], c.table[:n])
	}
	for i := range c.weights {
		c.weights[i] = [contexts]int32{startWeight, startWeight, startWeight, startWeight}
	}
	return c
}

// foresee sets the contexts for the next number.
func (c *coder) foresee(field int, c1, c2, c3 int64) {
	const k = 0x9e3779b97f4a7c15
	mix := func(i int, x int64) uint32 {
		return uint32((uint64(x)*k + uint64(field*contexts+i)) * 0xbf58476d1ce4e5b9 >> 32)
	}
	c.hashes = [contexts]uint32{mix(0, 0), mix(1, c1), mix(2, c2), mix(3, c3)}
}

// noiseBits is how many of the lower bits of numbers are noise, if they have that
// magnitude in the mean.
func noiseBits(mean int64) int {
	n := bits.Len64(uint64(mean))
	if n > 4 {
		return n - 2
	}
	return max(0, n-3)
}

// number writes x, or gives the one that was written. The lower bits of numbers
// that are large as a rule are noise.
func (c *coder) number(field int, x int64) int64 {
	low := noiseBits(c.means[field] >> 4)
	x = c.foreseen(x>>low, field*mixers)<<low | int64(c.bits(uint64(x), low))
	c.means[field] += (int64(min(magnitude(x), 1<<40))<<4 - c.means[field]) >> 3
	return x
}

func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

// foreseen writes whether x is 0, its sign, how many bits its magnitude has, and
// these below the leading one.
func (c *coder) foreseen(x int64, m int) int64 {
	if c.bit(flag(x == 0), nodeZero, m) != 0 {
		return 0
	}
	sign := c.bit(flag(x < 0), nodeSign, m+1)
	size := magnitude(x)
	length := bits.Len64(size)
	n := 1
	for ; n < 64; n++ {
		if c.bit(flag(n == length), nodeLength|uint32(n)<<1|uint32(sign), m+min(n, 6)+1) != 0 {
			break
		}
	}
	node := uint32(nodeMagnitude | n<<5 | sign<<4 | 1)
	read := uint64(1)
	rest := n - 1
	for i := range min(rest, foreseenBits) {
		rest--
		bit := c.bit(int(size>>rest&1), node, m+8+i)
		node = node&^15 | node<<1&15 | uint32(bit)
		read = read<<1 | uint64(bit)
	}
	read = read<<rest | c.bits(size, rest)
	if sign != 0 {
		return -int64(read)
	}
	return int64(read)
}

// bits is so many lower bits of x, which nobody foresees.
func (c *coder) bits(x uint64, n int) uint64 {
	if n == 0 {
		return 0
	}
	if c.reading {
		return c.noise.read(n)
	}
	c.noise.Write(x, n)
	return x & (1<<n - 1)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// bit is one decision. Written out for four contexts: most of the time of reading
// rows is spent here.
func (c *coder) bit(bit int, node uint32, mixer int) int {
	w := &c.weights[mixer]
	node *= 0x9e3779b1
	shift := (32 - c.width) & 31
	s0 := &c.table[(c.hashes[0]+node)*0x85ebca6b>>shift]
	s1 := &c.table[(c.hashes[1]+node)*0x85ebca6b>>shift+1<<(c.width&31)]
	s2 := &c.table[(c.hashes[2]+node)*0x85ebca6b>>shift+2<<(c.width&31)]
	s3 := &c.table[(c.hashes[3]+node)*0x85ebca6b>>shift+3<<(c.width&31)]
	i0 := int32(rangecoder.Stretch[*s0>>20])
	i1 := int32(rangecoder.Stretch[*s1>>20])
	i2 := int32(rangecoder.Stretch[*s2>>20])
	i3 := int32(rangecoder.Stretch[*s3>>20])
	dot := int64(i0)*int64(w[0]) + int64(i1)*int64(w[1]) + int64(i2)*int64(w[2]) + int64(i3)*int64(w[3])
	chance := rangecoder.Squash(int32(dot >> 16))
	if c.reading {
		bit = c.decoder.Decode(uint32(chance))
	} else {
		c.encoder.Encode(bit, uint32(chance))
	}
	wrong := (int32(bit)<<rangecoder.ProbabilityBits - chance) >> 1 * 2
	w[0] += (i0*wrong + 1<<13) >> 14
	w[1] += (i1*wrong + 1<<13) >> 14
	w[2] += (i2*wrong + 1<<13) >> 14
	w[3] += (i3*wrong + 1<<13) >> 14
	*s0, *s1, *s2, *s3 = s0.Learn(bit), s1.Learn(bit), s2.Learn(bit), s3.Learn(bit)
	return bit
}
