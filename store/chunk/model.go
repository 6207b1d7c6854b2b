package chunk

import (
	"math/bits"

	"github.com/hearthgate/hearthgate/store/rangecoder"
)

// A model says how likely the next decision is a one. Several contexts each
// keep a table of probabilities that learn from what came; a small network
// mixes their opinions, weighing those more that were right (logistic mixing, as
// in Mahoney's PAQ). All arithmetic is on integers, so every machine agrees.

const (
	contexts   = 3
	leastTable = 8 // bits of a slot's number; more for longer columns
	mostTable  = 14
	tableRoom  = 2
	mixers     = 16
	startScale = 1 << 16 * 4 / 10
	learning   = 16
)

type model struct {
	table   []rangecoder.Slot // of all contexts, one behind the other
	width   int               // bits of a slot's number within its context
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
		m.table = make([]rangecoder.Slot, size)
	}
	m.table = m.table[:size]
	for i := range m.table[:64] {
		m.table[i] = rangecoder.Fresh
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
	i0 := int32(rangecoder.Stretch[m.table[s0]>>20])
	i1 := int32(rangecoder.Stretch[m.table[s1]>>20])
	i2 := int32(rangecoder.Stretch[m.table[s2]>>20])
	m.inputs = [contexts]int32{i0, i1, i2}
	dot := int64(i0)*int64(w[0]) + int64(i1)*int64(w[1]) + int64(i2)*int64(w[2])
	m.chance = rangecoder.Squash(int32(dot >> 16))
	return uint32(m.chance)
}

// learn tells what the decision was.
func (m *model) learn(bit int) {
	wrong := (int32(bit)<<rangecoder.ProbabilityBits - m.chance) >> 1 * (learning >> 3)
	w := &m.weights[m.mixer&(mixers-1)]
	w[0] += (m.inputs[0]*wrong + 1<<13) >> 14
	w[1] += (m.inputs[1]*wrong + 1<<13) >> 14
	w[2] += (m.inputs[2]*wrong + 1<<13) >> 14
	m.table[m.slots[0]] = m.table[m.slots[0]].Learn(bit)
	m.table[m.slots[1]] = m.table[m.slots[1]].Learn(bit)
	m.table[m.slots[2]] = m.table[m.slots[2]].Learn(bit)
}
