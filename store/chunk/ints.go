package chunk

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// A column of integers begins with its method, its first value and, unless all
// are equal, the step: the greatest common divisor of the distances from the
// first. What the methods encode are the distances in steps, which begin with
// a zero that is not written. Arithmetic wraps at 64 bits, so any bits will do.
const (
	methodConstant     = iota // nothing more
	methodRuns                // values and lengths of runs, each a column
	methodPacked              // distances, bit-packed in blocks
	methodPackedDelta         // their differences
	methodPackedDelta2        // the differences of these
	methodAdaptive            // the same three, through the range coder
	methodAdaptiveDelta
	methodAdaptiveDelta2
	methodDictionary // distinct values in order, and for each place which it is; both columns
	methodSteady     // distances from a clock that follows them
)

// leastAdaptive is how many integers a column has at least before the range
// coder is tried: it has to learn first.
const leastAdaptive = 12

// appendInts appends v, which is not empty, as a section in the smallest form.
func (e *encoder) appendInts(b []byte, v []int64) []byte {
	return appendSection(b, e.ints(v, true))
}

// usualGain is how much shorter the adaptive coder has to make a column, in 32nds
// of its length: packed columns are read several times faster, and a few per cent
// are not worth giving that up.
const usualGain = 33

// ints is the smallest column for v. Only one that is not nested may be made of
// other columns.
func (e *encoder) ints(v []int64, nest bool) []byte { return e.column(v, nest, usualGain) }

func (e *encoder) column(v []int64, nest bool, gain int) []byte {
	first := v[0]
	y, step := steps(v)
	head := func(method byte) []byte {
		b := binary.AppendVarint([]byte{method}, first)
		if method != methodConstant {
			b = binary.AppendUvarint(b, step)
		}
		return b
	}
	if step == 0 {
		return head(methodConstant)
	}
	order := bestPacking(y)
	best := appendPacked(head(methodPacked+byte(order)), y, order)
	if len(y) >= leastAdaptive {
		order := likelyOrder(y)
		if a := e.appendAdaptive(head(methodAdaptive+byte(order)), y, order); len(a)*gain/32 < len(best) {
			best = a
		}
	}
	if gain == timesGain && len(y) >= leastSteady {
		if s := appendSteady(head(methodSteady), y); len(s) < len(best) {
			best = s
		}
	}
	if !nest {
		return best
	}
	if starts := runs(y); len(starts)*4 < len(y) {
		if r := e.appendRuns(head(methodRuns), y, starts); len(r) < len(best) {
			best = r
		}
	}
	if d := e.appendDictionary(head(methodDictionary), y); d != nil && len(d) < len(best) {
		best = d
	}
	return best
}

// steps is the distances of v from its first in units of their greatest common
// divisor; a divisor of 0 means that all are equal.
func steps(v []int64) (y []int64, step uint64) {
	first := v[0]
	y = make([]int64, len(v))
	for i, x := range v {
		y[i] = int64(uint64(x) - uint64(first))
		if m := magnitude(y[i]); step != 1 && m != 0 {
			step = gcd(m, step)
		}
	}
	if step > 1 && step <= math.MaxInt64 {
		for i := range y {
			y[i] /= int64(step)
		}
	} else if step > math.MaxInt64 { // 2^63: all distances are it or 0
		step = 1
	}
	return y, step
}

// runs is where in y runs of equal values begin.
func runs(y []int64) (starts []int64) {
	for i := range y {
		if i == 0 || y[i] != y[i-1] {
			starts = append(starts, int64(i))
		}
	}
	return starts
}

// appendRuns appends the number of runs, their values and where each begins.
func (e *encoder) appendRuns(b []byte, y, starts []int64) []byte {
	b = binary.AppendUvarint(b, uint64(len(starts)))
	values := make([]int64, len(starts))
	for i, at := range starts {
		values[i] = y[at]
	}
	b = appendSection(b, e.ints(values, false))
	return append(b, e.ints(starts, false)...)
}

// appendDictionary is nil where the values hardly repeat.
func (e *encoder) appendDictionary(b []byte, y []int64) []byte {
	table := slices.Clone(y)
	slices.Sort(table)
	table = slices.Compact(table)
	if len(table)*2 > len(y) && len(table) > 16 || len(table) < 3 {
		return nil
	}
	index := make(map[int64]int64, len(table))
	for i, x := range table {
		index[x] = int64(i)
	}
	// Where most integers of the range occur, their places are no shorter.
	if span := uint64(table[len(table)-1]) - uint64(table[0]); span/4 < uint64(len(table)) {
		return nil
	}
	places := make([]int64, len(y))
	for i, x := range y {
		places[i] = index[x]
	}
	b = binary.AppendUvarint(b, uint64(len(table)))
	b = appendSection(b, e.ints(table, false))
	return append(b, e.ints(places, false)...)
}

// residual is what order leaves of y[i]: the value itself, the difference from
// the one before, or how much that differs from the difference before.
func residual(y []int64, i, order int) int64 {
	switch {
	case order == 0:
		return y[i]
	case order == 1 || i == 1:
		return y[i] - y[i-1]
	}
	return y[i] - 2*y[i-1] + y[i-2]
}

// likelyOrder guesses which order's residuals are the smallest: by the sum of
// their lengths in bits.
func likelyOrder(y []int64) int {
	var sum [3]int
	least, most := spread(y)
	middle := least + int64((uint64(most)-uint64(least))/2)
	for i := 1; i < len(y); i++ {
		sum[0] += bits.Len64(magnitude(y[i] - middle))
		sum[1] += bits.Len64(magnitude(residual(y, i, 1)))
		sum[2] += bits.Len64(magnitude(residual(y, i, 2)))
	}
	best := 0
	for order := 1; order < 3; order++ {
		if sum[order] < sum[best] {
			best = order
		}
	}
	return best
}

// decoder's side.

// ints reads a column of n integers. n is at most MaxRecords.
func (d *decoder) ints(b []byte, n int) ([]int64, bool) {
	return d.column(b, n, true)
}

func (d *decoder) column(b []byte, n int, nest bool) ([]int64, bool) {
	if n == 0 {
		return nil, true
	}
	r := newReader(b)
	method := r.Byte()
	first, step := r.Varint(), uint64(0)
	if method != methodConstant {
		step = r.Uvarint()
	}
	if r.Bad {
		return nil, false
	}
	ok := true
	y := make([]int64, n)
	switch method {
	case methodConstant:
	case methodPacked, methodPackedDelta, methodPackedDelta2:
		ok = readPacked(&r, y, int(method-methodPacked))
	case methodAdaptive, methodAdaptiveDelta, methodAdaptiveDelta2:
		ok = d.readAdaptive(&r, y, int(method-methodAdaptive))
	case methodSteady:
		ok = readSteady(&r, y)
	case methodRuns:
		ok = nest && d.readRuns(&r, y)
	case methodDictionary:
		ok = nest && d.readDictionary(&r, y)
	default:
		ok = false
	}
	if !ok {
		return nil, false
	}
	for i, x := range y {
		y[i] = int64(uint64(x)*step + uint64(first))
	}
	return y, true
}

func (d *decoder) readRuns(r *reader, y []int64) bool {
	n := r.Uvarint()
	if n == 0 || n > uint64(len(y)) {
		return false
	}
	values, ok1 := d.column(r.Section(), int(n), false)
	starts, ok2 := d.column(r.B, int(n), false)
	if !ok1 || !ok2 || starts[0] != 0 {
		return false
	}
	for i, at := range starts {
		end := int64(len(y))
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		if at < 0 || at >= end || end > int64(len(y)) {
			return false
		}
		for j := at; j < end; j++ {
			y[j] = values[i]
		}
	}
	return true
}

func (d *decoder) readDictionary(r *reader, y []int64) bool {
	n := r.Uvarint()
	if n == 0 || n > uint64(len(y)) {
		return false
	}
	table, ok1 := d.column(r.Section(), int(n), false)
	places, ok2 := d.column(r.B, len(y), false)
	if !ok1 || !ok2 {
		return false
	}
	for i, p := range places {
		if uint64(p) >= n {
			return false
		}
		y[i] = table[p]
	}
	return true
}
