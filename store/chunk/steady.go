package chunk

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/hearthgate/hearthgate/store/octets"
)

// Steady: times of what happens every so often, with the jitter of a network. A
// clock follows them, as a loop locks to a phase, and what is written is how far
// each is from it, in Rice's code. That is read as fast as packed bits and takes
// three fifths of them.

const (
	leastSteady = 16 // integers
	maxRice     = 32 // bits that are written as they are
	farAway     = 24 // zeros: what follows is a whole number
)

// clock foresees times, in 256ths of a step.
type clock struct{ at, rate int64 }

func (c *clock) next() int64 { return (c.at + 128) >> 8 }

// tell says how far the time was from the one foreseen.
func (c *clock) tell(off int64) {
	c.at += c.rate + off<<8>>3
	c.rate += off << 8 >> 8
}

// jump sets the clock anew: the one told would take too long to get there.
func (c *clock) jump(y int64) { c.at = y<<8 + c.rate }

// startRate is the mean of the distances that are not far from the middle one, in
// 256ths.
func startRate(y []int64) int64 {
	var some []int64
	for i := 1; i < len(y); i += 1 + len(y)/64 {
		some = append(some, y[i]-y[i-1])
	}
	slices.Sort(some)
	middle := some[len(some)/2]
	sum, n := int64(0), int64(1)
	for i := 1; i < len(y); i++ {
		if d := y[i] - y[i-1]; d > middle/2 && d < middle+middle/2 {
			sum += d - middle
			n++
		}
	}
	return middle<<8 + sum<<8/n
}

// appendSteady appends the rate, how many bits are written as they are, and the
// codes.
func appendSteady(b []byte, y []int64) []byte {
	rate := startRate(y)
	b = binary.AppendVarint(b, rate)
	k := riceBits(y, clock{rate, rate})
	b = append(b, byte(k))
	w := octets.BitWriter{B: b}
	c := clock{rate, rate}
	for _, x := range y[1:] {
		off := x - c.next()
		z := zigzag(off)
		if z>>k >= farAway {
			w.Write(0, farAway)
			w.Write(uint64(x), 64)
			c.jump(x)
			continue
		}
		w.Write(1<<(z>>k), int(z>>k)+1)
		w.Write(z, k)
		c.tell(off)
	}
	return w.Finish()
}

// riceBits is how many bits of a distance are best written as they are.
func riceBits(y []int64, c clock) (best int) {
	all := make([]uint64, 0, len(y))
	for _, x := range y[1:] {
		off := x - c.next()
		if magnitude(off) > uint64(max(c.rate>>9, 64)) { // about what will be far away
			c.jump(x)
			continue
		}
		c.tell(off)
		all = append(all, zigzag(off))
	}
	least := uint64(math.MaxUint64)
	for k := range maxRice + 1 {
		size := uint64(len(all) * (k + 1))
		for _, z := range all {
			size += min(z>>k, farAway+64)
		}
		if size > least {
			break
		}
		best, least = k, size
	}
	return best
}

func zigzag(x int64) uint64 { return uint64(x)<<1 ^ uint64(x>>63) }

func readSteady(r *reader, y []int64) bool {
	rate, k := r.Varint(), uint(r.Byte())
	if r.Bad || k > maxRice {
		return false
	}
	s := bitReader{b: r.B}
	c := clock{rate, rate}
	for i := 1; i < len(y); i++ {
		window := s.peek()
		zeros := bits.TrailingZeros64(window)
		if zeros >= farAway {
			s.at += farAway
			y[i] = int64(s.read(32) | s.read(32)<<32)
			c.jump(y[i])
			continue
		}
		s.at += zeros + 1
		z := uint64(zeros)<<k | s.read(int(k))
		off := int64(z>>1) ^ -int64(z&1)
		y[i] = c.next() + off
		c.tell(off)
	}
	return s.at <= 8*len(s.b)
}

// bitReader reads zeros behind the end.
type bitReader struct {
	b  []byte
	at int // bit
}

// peek is the next bits, 57 at least.
func (r *bitReader) peek() uint64 {
	from := r.at >> 3
	if from+8 <= len(r.b) {
		return binary.LittleEndian.Uint64(r.b[from:]) >> (r.at & 7)
	}
	var end [8]byte
	if from < len(r.b) {
		copy(end[:], r.b[from:])
	}
	return binary.LittleEndian.Uint64(end[:]) >> (r.at & 7)
}

// read is the next n bits, 57 at most.
func (r *bitReader) read(n int) uint64 {
	x := r.peek() & (1<<n - 1)
	r.at += n
	return x
}
