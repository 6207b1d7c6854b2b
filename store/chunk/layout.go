package chunk

import (
	"encoding/binary"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
)

// How a series' times are known, the lowest bits of its column's first byte.
const (
	timesShared  = iota // those of the frames
	timesOffsets        // differences to these
	timesOwn
	timesMask = 3
	manyMetas = 4 // a flag: the metas are counted and a column tells which
)

// timesGain is how much shorter the adaptive coder has to make the frames' times:
// every series is read after them, and the jitter of a network is hardly foreseen.
const timesGain = 48

// layout writes everything but the checksum.
func (e *encoder) layout(frames []Frame) []byte {
	times := e.momentColumns()
	origins := e.originColumns(frames)
	columns := make([][]byte, len(e.series))
	records := 0
	for i, g := range e.series {
		columns[i] = e.seriesColumn(g)
		records += len(g.values)
	}
	b := []byte{e.version()}
	b = binary.AppendUvarint(b, uint64(len(frames)))
	b = binary.AppendUvarint(b, uint64(records))
	b = binary.AppendUvarint(b, uint64(len(e.series)))
	if records == 0 {
		e.all = bounds{}
	}
	unit := e.unit()
	b = binary.AppendVarint(b, e.all.first)
	b = binary.AppendUvarint(b, unit)
	b = binary.AppendUvarint(b, (uint64(e.all.last)-uint64(e.all.first))/unit)
	b = binary.AppendUvarint(b, uint64(len(times)))
	b = binary.AppendUvarint(b, uint64(len(origins)))
	before := ""
	for i, g := range e.series {
		shared := sharedPrefix(before, g.name)
		b = binary.AppendUvarint(b, uint64(shared))
		b = appendText(b, g.name[shared:])
		before = g.name
		b = binary.AppendUvarint(b, uint64(len(g.values)))
		b = binary.AppendUvarint(b, (uint64(g.bounds.first)-uint64(e.all.first))/unit)
		b = binary.AppendUvarint(b, (uint64(e.all.last)-uint64(g.bounds.last))/unit)
		b = binary.AppendUvarint(b, uint64(len(columns[i])))
	}
	b = append(b, times...)
	b = append(b, origins...)
	return append(b, slices.Concat(columns...)...)
}

// version is the oldest that has all that is used.
func (e *encoder) version() byte {
	if e.steady {
		return Version
	}
	return 1
}

// sharedPrefix is how many bytes a and b begin with alike.
func sharedPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// unit is the greatest in which all bounds are whole.
func (e *encoder) unit() uint64 {
	unit := uint64(e.all.last) - uint64(e.all.first)
	for _, g := range e.series {
		unit = gcd(unit, uint64(g.bounds.first)-uint64(e.all.first))
		unit = gcd(unit, uint64(e.all.last)-uint64(g.bounds.last))
	}
	return max(unit, 1)
}

// momentColumns is the times and the shapes of the frames.
func (e *encoder) momentColumns() []byte {
	if len(e.times) == 0 {
		return nil
	}
	times := e.column(e.times, true, timesGain)
	e.steady = times[0] == methodSteady
	b := appendSection(nil, times)
	b = binary.AppendUvarint(b, uint64(len(e.shapes)))
	for i := range e.shapes {
		b = e.shapes[i].append(b)
	}
	return append(b, e.ints(e.shape, true)...)
}

// seriesColumn is everything about one series.
func (e *encoder) seriesColumn(g *gathered) []byte {
	how, times := e.timesColumn(g)
	b := []byte{how}
	if len(g.metas) > 1 {
		b[0] |= manyMetas
		b = binary.AppendUvarint(b, uint64(len(g.metas)))
	}
	for _, m := range g.metas {
		b = append(b, m.flags)
		b = appendText(b, m.unit)
	}
	if len(g.metas) > 1 {
		b = e.appendInts(b, g.meta)
	}
	if how != timesShared {
		b = appendSection(b, times)
	}
	return append(b, e.values(g.values)...)
}

func (e *encoder) timesColumn(g *gathered) (how byte, b []byte) {
	if !slices.ContainsFunc(g.offsets, func(o int64) bool { return o != 0 }) {
		return timesShared, nil
	}
	offsets, own := e.ints(g.offsets, true), e.ints(g.times, true)
	if len(own) < len(offsets) {
		return timesOwn, own
	}
	return timesOffsets, offsets
}

// moments are the times and the shapes of all frames.
type moments struct {
	times  []int64
	shapes []shape
	shape  []int64 // of each frame, which one
}

func (c *Chunk) readMoments() (*moments, bool) {
	if c.moments != nil {
		return c.moments, true
	}
	m := &moments{}
	if c.frames > 0 && !c.momentColumns(m) || c.frames == 0 && len(c.series) > 0 {
		return nil, false
	}
	c.moments = m
	return m, true
}

func (c *Chunk) momentColumns(m *moments) (ok bool) {
	r := newReader(c.times)
	if m.times, ok = c.decoder.ints(r.Section(), c.frames); !ok {
		return false
	}
	m.shapes = make([]shape, r.count())
	for i := range m.shapes {
		if !c.readShape(&r, &m.shapes[i]) {
			return false
		}
	}
	m.shape, ok = c.decoder.ints(r.B, c.frames)
	return ok && c.counts(m)
}

func (c *Chunk) readShape(r *reader, s *shape) bool {
	s.runs = make([]run, r.count())
	next := int64(0)
	for i := range s.runs {
		series, more := next+r.Varint(), r.Uvarint()
		if series < 0 || series >= int64(len(c.series)) || more >= uint64(c.records) {
			return false
		}
		s.runs[i] = run{int(series), int(more) + 1}
		if s.length += s.runs[i].length; s.length > c.records {
			return false
		}
		next = series + 1
	}
	return !r.Bad
}

// counts reports whether the frames have as many records of each series as the
// header says.
func (c *Chunk) counts(m *moments) bool {
	left := make([]int, len(c.series))
	for i := range left {
		left[i] = c.series[i].Count
	}
	for _, which := range m.shape {
		if uint64(which) >= uint64(len(m.shapes)) {
			return false
		}
		for _, run := range m.shapes[which].runs {
			if left[run.series] -= run.length; left[run.series] < 0 {
				return false
			}
		}
	}
	return !slices.ContainsFunc(left, func(n int) bool { return n != 0 })
}

// column is one series, decoded.
type column struct {
	times  []int64 // unless own, after those of the frames
	own    bool
	values []protocol.Value
	metas  []meta
	meta   []int64 // of each record, which one; nil: the only one
}

func (c *Chunk) column(i int) (col column, ok bool) {
	n := c.series[i].Count
	r := newReader(c.columns[i])
	how := r.Byte()
	if how > timesMask|manyMetas {
		return col, false
	}
	if !c.readMetas(&r, &col, n, how&manyMetas != 0) {
		return col, false
	}
	col.own = how&timesMask == timesOwn
	if col.times, ok = c.readTimes(&r, n, how&timesMask); !ok {
		return col, false
	}
	col.values, ok = c.decoder.values(r.B, n)
	return col, ok && !r.Bad
}

func (c *Chunk) readMetas(r *reader, col *column, n int, many bool) (ok bool) {
	count := 1
	if many {
		count = r.count()
	}
	col.metas = make([]meta, count)
	for i := range col.metas {
		col.metas[i] = meta{flags: r.Byte(), unit: r.text()}
	}
	if !many {
		return !r.Bad
	}
	if col.meta, ok = c.decoder.ints(r.Section(), n); !ok {
		return false
	}
	return !r.Bad && !slices.ContainsFunc(col.meta, func(m int64) bool { return uint64(m) >= uint64(count) })
}

// readTimes is the series' times, or what they are after those of the frames.
func (c *Chunk) readTimes(r *reader, n int, how byte) (times []int64, ok bool) {
	switch how {
	case timesOwn, timesOffsets:
		return c.decoder.ints(r.Section(), n)
	case timesShared:
		return make([]int64, n), true
	}
	return nil, false
}

// addTo adds to the times of a series' records those of their frames.
func (m *moments) addTo(times []int64, series int) {
	lengths := make([]int, len(m.shapes)) // of the series in each shape
	for i := range m.shapes {
		for _, run := range m.shapes[i].runs {
			if run.series == series {
				lengths[i] += run.length
			}
		}
	}
	at := 0
	for f, which := range m.shape {
		for range lengths[which] {
			times[at] += m.times[f]
			at++
		}
	}
}

// decoder is the working memory of one Chunk.
type decoder struct{ model model }
