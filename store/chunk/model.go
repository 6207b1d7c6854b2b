package chunk

import "math/bits"

// A model says how likely the next decision is a one. Several contexts each
// keep a table of probabilities that learn from what came; a small network
// mixes their opinions, weighing those more that were right (logistic mixing, as
// in Mahoney's PAQ). All arithmetic is on integers, so every machine agrees.

const (
	contexts   = 3
	leastTable = 8 // bits of a slot's number; more for longer columns
	mostTable  = 14
	tableRoom  = 2
	countLimit = 255 // a slot's probability becomes the mean of so many decisions
	mixers     = 16
	startScale = 1 << 16 * 4 / 10
	learning   = 16
)

// slot is a probability in the upper 22 bits and a count of decisions below.
type slot uint32

const freshSlot = slot(1 << 31)

type model struct {
	table   []slot // of all contexts, one behind the other
	width   int    // bits of a slot's number within its context
	weights [mixers][contexts]int32

	hashes [contexts]uint32 // of the sample
	// of the decision that predict was asked for
	slots  [contexts]uint32
	inputs [contexts]int32
	mixer  int
	chance int32
}

// reset forgets everything. n is how long the column is: a short one touches
// few slots, and clearing many would take longer than reading it.
func (m *model) reset(n int) {
	m.width = min(max(bits.Len(uint(n))+tableRoom, leastTable), mostTable)
	size := contexts << m.width
	if cap(m.table) < size {
		m.table = make([]slot, size)
	}
	m.table = m.table[:size]
	for i := range m.table[:64] {
		m.table[i] = freshSlot
	}
	for n := 64; n < size; n *= 2 {
		copy(m.table[n:], m.table[:n])
	}
	for i := range m.weights {
		for j := range m.weights[i] {
			m.weights[i][j] = startScale
		}
	}
}

// predict is the probability that the decision at node is a one. mixer, below
// mixers, chooses whose weights count. Written out for three contexts: most of
// the time of reading a column is spent here.
func (m *model) predict(node uint32, mixer int) uint32 {
	m.mixer = mixer & (mixers - 1)
	w := &m.weights[m.mixer]
	node *= 0x9e3779b1
	shift := (32 - m.width) & 31
	s0 := (m.hashes[0] + node) * 0x85ebca6b >> shift
	s1 := (m.hashes[1]+node)*0x85ebca6b>>shift + 1<<(m.width&31)
	s2 := (m.hashes[2]+node)*0x85ebca6b>>shift + 2<<(m.width&31)
	m.slots = [contexts]uint32{s0, s1, s2}
	i0 := int32(stretchTable[m.table[s0]>>20])
	i1 := int32(stretchTable[m.table[s1]>>20])
	i2 := int32(stretchTable[m.table[s2]>>20])
	m.inputs = [contexts]int32{i0, i1, i2}
	dot := int64(i0)*int64(w[0]) + int64(i1)*int64(w[1]) + int64(i2)*int64(w[2])
	m.chance = squash(int32(dot >> 16))
	return uint32(m.chance)
}

// learn tells what the decision was.
func (m *model) learn(bit int) {
	wrong := (int32(bit)<<probabilityBits - m.chance) >> 1 * (learning >> 3)
	w := &m.weights[m.mixer&(mixers-1)]
	w[0] += (m.inputs[0]*wrong + 1<<13) >> 14
	w[1] += (m.inputs[1]*wrong + 1<<13) >> 14
	w[2] += (m.inputs[2]*wrong + 1<<13) >> 14
	m.table[m.slots[0]] = m.table[m.slots[0]].learn(bit)
	m.table[m.slots[1]] = m.table[m.slots[1]].learn(bit)
	m.table[m.slots[2]] = m.table[m.slots[2]].learn(bit)
}

func (s slot) learn(bit int) slot {
	n := s & 1023
	p := int64(s >> 10)
	p += (int64(bit)<<22 - int64(bit) - p) * int64(rateTable[n&255]) >> 16
	return slot(p)<<10 | (n + (n-countLimit)>>31)
}

// rateTable[n] is 65536/(n+1.5): how far a probability goes towards what came
// when it has seen n decisions.
var rateTable = func() (t [countLimit + 1]uint16) {
	for n := range t {
		t[n] = uint16(2 * 65536 / (2*n + 3))
	}
	return t
}()

// logistic is 65535/(1+exp(-x)) at x = -8, -7.5 … 8.
var logistic = [...]int32{22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24742, 32768,
	40793, 47910, 53580, 57723, 60564, 62427, 63614, 64356, 64815, 65096, 65268, 65373, 65437, 65475, 65499, 65513}

// squash turns a logit, in 256ths, into a probability.
func squash(x int32) int32 {
	x = min(max(x, -2047), 2047)
	part := x & 127
	at := x>>7 + 16
	return (logistic[at]*(128-part) + logistic[at+1]*part) >> 7
}

// stretchTable is the inverse of squash for probabilities in 4096ths.
var stretchTable = func() (t [4096]int16) {
	x := int32(-2047)
	for p := range t {
		for x < 2047 && squash(x) < int32(p)<<4+8 {
			x++
		}
		t[p] = int16(x)
	}
	return t
}()
