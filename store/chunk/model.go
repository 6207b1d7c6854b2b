package chunk

import "math/bits"

// A model says how likely the next decision is a one. Several contexts each
// keep a table of probabilities that learn from what came; a small network
// mixes their opinions, weighing those more that were right (logistic mixing, as
// in Mahoney's PAQ). All arithmetic is on integers, so every machine agrees.

const (
	contexts   = 6
	leastTable = 8 // bits of a slot's number; more for longer columns
	mostTable  = 14
	countLimit = 255 // a slot's probability becomes the mean of so many decisions
	mixers     = 16
	startScale = 1 << 16 * 3 / 10
	learning   = 10
)

// slot is a probability in the upper 22 bits and a count of decisions below.
type slot uint32

const freshSlot = slot(1 << 31)

type model struct {
	tables  [contexts][]slot
	shift   int // of a hash, for a slot's number
	weights [mixers][contexts]int32

	hashes [contexts]uint32 // of the sample
	// of the decision that predict was asked for
	slots  [contexts]*slot
	inputs [contexts]int32
	mixer  *[contexts]int32
	chance int32
}

// reset forgets everything. n is how long the column is: a short one touches
// few slots, and clearing many would take longer than reading it.
func (m *model) reset(n int) {
	width := min(max(bits.Len(uint(n))+3, leastTable), mostTable)
	m.shift = 32 - width
	for i := range m.tables {
		if cap(m.tables[i]) < 1<<width {
			m.tables[i] = make([]slot, 1<<width)
		}
		m.tables[i] = m.tables[i][:1<<width]
		for j := range m.tables[i] {
			m.tables[i][j] = freshSlot
		}
	}
	for i := range m.weights {
		for j := range m.weights[i] {
			m.weights[i][j] = startScale
		}
	}
}

// predict is the probability that the decision at node is a one.
func (m *model) predict(node uint32, mixer int) uint32 {
	w := &m.weights[mixer&(mixers-1)]
	m.mixer = w
	dot := int64(0)
	for i := range m.tables {
		at := (m.hashes[i] + node*0x9e3779b1) * 0x85ebca6b >> m.shift
		s := &m.tables[i][at]
		m.slots[i] = s
		in := int32(stretchTable[*s>>20])
		m.inputs[i] = in
		dot += int64(in) * int64(w[i])
	}
	m.chance = squash(int32(dot >> 16))
	return uint32(m.chance)
}

// learn tells what the decision was.
func (m *model) learn(bit int) {
	wrong := (int32(bit)<<probabilityBits - m.chance) * learning
	for i := range m.tables {
		m.mixer[i] += (m.inputs[i]*wrong>>4 + 1<<13) >> 14
		s := *m.slots[i]
		n := s & 1023
		p := int64(s >> 10)
		p += (int64(bit)<<22 - p) * int64(rateTable[n]) >> 16
		if n < countLimit {
			n++
		}
		*m.slots[i] = slot(min(max(p, 1), 1<<22-1))<<10 | n
	}
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
