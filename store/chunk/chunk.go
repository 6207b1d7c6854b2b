// Package chunk packs what one device said in a span of time, an hour or a day,
// into one compressed block, and takes it apart again: all frames exactly as
// they were, or the samples of one series without reading the others.
//
// It knows no files, clocks or goroutines; a store decides what goes into a
// chunk and where chunks are kept. FORMAT.md draws the bytes.
package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/hearthgate/hearthgate/protocol"
)

// Bounds of one chunk. They also bound what a damaged one can make a reader
// allocate: some 100 bytes a record.
const (
	MaxFrames  = 1 << 17
	MaxRecords = 1 << 19
	MaxSeries  = 1 << 12

	// maxName bounds what names that share their beginnings may grow to.
	maxName = 1 << 10
)

// Version is the first byte of a chunk: the newest; 1 is one without methodSteady.
const Version = 2

// Frame is one entry of a device's log: telemetry, or the result of a command.
type Frame struct {
	Received int64 // ms since 1970
	Boot     protocol.Boot
	Seq      uint64
	Command  uint64 // of a result
	// Records have absolute times. Without any, Decode gives nil.
	Records []protocol.Record
}

// Sample is one value of one series. Time is ns since 1970.
type Sample struct {
	Time  int64
	Value protocol.Value
}

// Series is what a chunk tells about one series without decoding it.
type Series struct {
	Name        string
	Count       int
	First, Last int64 // the least and the greatest time, ns since 1970
}

var (
	// ErrDamaged is the error for bytes that are not a whole chunk.
	ErrDamaged = errors.New("chunk is damaged: checksum or structure is wrong")
	// ErrTooLarge is the error for more than one chunk may hold; split it.
	ErrTooLarge = errors.New("too much for one chunk")
	// ErrNewer is the error for a chunk of a later version.
	ErrNewer = errors.New("chunk has a newer format: update hearthgate to read it")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sumLength = 4

// Encode packs the frames, which are in the order of the log. Whatever their
// times, they come back bit for bit and in this order, with their records in
// order.
func Encode(frames []Frame) ([]byte, error) {
	e := &encoder{places: map[string]int{}}
	if err := e.gather(frames); err != nil {
		return nil, err
	}
	b := e.layout(frames)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// Decode gives back the frames that b was made of.
func Decode(b []byte) ([]Frame, error) {
	c, err := Open(b)
	if err != nil {
		return nil, err
	}
	return c.Frames()
}

// Chunk reads one chunk. It keeps the bytes it was opened with, which must not
// change meanwhile. It is not for several goroutines at once.
type Chunk struct {
	series  []Series
	frames  int
	records int

	times, origins []byte
	columns        [][]byte // by series

	moments *moments // of all frames, once needed
	decoder decoder
}

// Open checks b and reads its header.
func Open(b []byte) (*Chunk, error) {
	if len(b) < 1+sumLength {
		return nil, ErrDamaged
	}
	body, sum := b[:len(b)-sumLength], b[len(b)-sumLength:]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return nil, ErrDamaged
	}
	if body[0] > Version {
		return nil, fmt.Errorf("%w (version %d)", ErrNewer, body[0])
	}
	c := &Chunk{}
	if body[0] == 0 || !c.header(body[1:]) {
		return nil, ErrDamaged
	}
	return c, nil
}

// Series is what the chunk holds, in the order in which the names came first.
func (c *Chunk) Series() []Series { return c.series }

// Len is how many frames and records the chunk holds.
func (c *Chunk) Len() (frames, records int) { return c.frames, c.records }

// header reads everything up to the columns and cuts these apart.
func (c *Chunk) header(b []byte) bool {
	r := newReader(b)
	frames, records, series := r.Uvarint(), r.Uvarint(), r.Uvarint()
	if frames > MaxFrames || records > MaxRecords || series > MaxSeries || series > uint64(len(r.B)) {
		return false
	}
	c.frames, c.records = int(frames), int(records)
	first := r.Varint()
	unit := r.Uvarint()
	last := first + int64(r.Uvarint()*unit)
	lengths := []uint64{r.Uvarint(), r.Uvarint()}
	c.series = make([]Series, series)
	total, before := uint64(0), ""
	for i := range c.series {
		s := &c.series[i]
		shared := r.Uvarint()
		if shared > uint64(len(before)) || uint64(len(before)) > maxName {
			return false
		}
		s.Name = before[:shared] + r.text()
		before = s.Name
		n := r.Uvarint()
		if n == 0 || n > records {
			return false
		}
		total += n
		s.Count = int(n)
		s.First = first + int64(r.Uvarint()*unit)
		s.Last = last - int64(r.Uvarint()*unit)
		lengths = append(lengths, r.Uvarint())
	}
	c.times, c.origins = r.Take(lengths[0]), r.Take(lengths[1])
	for _, n := range lengths[2:] {
		c.columns = append(c.columns, r.Take(n))
	}
	return !r.Bad && len(r.B) == 0 && total == records
}

// Samples is what one series said, in the order of the log, which need not be
// that of the times. It is nil for a name that the chunk does not hold.
func (c *Chunk) Samples(name string) ([]Sample, error) {
	for i := range c.series {
		if c.series[i].Name == name {
			return c.samples(i)
		}
	}
	return nil, nil
}

func (c *Chunk) samples(i int) ([]Sample, error) {
	m, ok := c.readMoments()
	if !ok {
		return nil, ErrDamaged
	}
	col, ok := c.column(i)
	if !ok {
		return nil, ErrDamaged
	}
	if !col.own {
		m.addTo(col.times, i)
	}
	all := make([]Sample, len(col.values))
	for j := range all {
		all[j] = Sample{col.times[j], col.values[j]}
	}
	return all, nil
}

// Frames are all that the chunk holds, in the order of the log.
func (c *Chunk) Frames() ([]Frame, error) {
	m, ok := c.readMoments()
	if !ok {
		return nil, ErrDamaged
	}
	frames, ok := c.readOrigins(m)
	if !ok {
		return nil, ErrDamaged
	}
	columns := make([]column, len(c.series))
	for i := range columns {
		if columns[i], ok = c.column(i); !ok {
			return nil, ErrDamaged
		}
	}
	c.assemble(frames, m, columns)
	return frames, nil
}

// assemble deals the records out to their frames.
func (c *Chunk) assemble(frames []Frame, m *moments, columns []column) {
	all := make([]protocol.Record, 0, c.records)
	at := make([]int, len(columns))
	for i := range frames {
		from := len(all)
		for _, run := range m.shapes[m.shape[i]].runs {
			col := &columns[run.series]
			for range run.length {
				j := at[run.series]
				at[run.series]++
				t := col.times[j]
				if !col.own {
					t += m.times[i]
				}
				meta := &col.metas[0]
				if col.meta != nil {
					meta = &col.metas[col.meta[j]]
				}
				all = append(all, protocol.Record{
					Name: c.series[run.series].Name, Unit: meta.unit, Value: col.values[j],
					Time: t, Absolute: true,
					Unfit: meta.flags&flagUnfit != 0, Late: meta.flags&flagLate != 0,
				})
			}
		}
		if len(all) > from {
			frames[i].Records = all[from:len(all):len(all)]
		}
	}
}

// milliseconds is ms in ns, wrapped where that does not fit: only differences
// to it are stored.
func milliseconds(ms int64) int64 { return ms * 1_000_000 }

// bounds is the least and the greatest time.
type bounds struct{ first, last int64 }

func noBounds() bounds { return bounds{math.MaxInt64, math.MinInt64} }

func (b *bounds) add(t int64) { b.first, b.last = min(b.first, t), max(b.last, t) }
