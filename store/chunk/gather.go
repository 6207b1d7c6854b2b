package chunk

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
)

// encoder holds what one call of Encode gathers.
type encoder struct {
	places map[string]int // of series, by name
	series []*gathered
	all    bounds

	times  []int64 // of frames: of its first record, else its receipt
	shapes []shape
	shape  []int64 // of each frame, which one

	model  model
	steady bool // the frames' times are written with methodSteady
}

// gathered is what the frames say of one series.
type gathered struct {
	name    string
	bounds  bounds
	values  []protocol.Value
	times   []int64
	offsets []int64 // times less those of the frames
	metas   []meta
	meta    []int64 // of each record, which one
}

// meta is what hardly ever changes from record to record.
type meta struct {
	unit  string
	flags byte
}

const (
	flagUnfit = 1 << iota
	flagLate
)

// shape is which series a frame's records belong to, in their order.
type shape struct {
	runs   []run
	length int
}

type run struct{ series, length int }

var errRelative = errors.New("chunk: a record has a relative time; resolve the frame first")

// gather takes the frames apart into columns.
func (e *encoder) gather(frames []Frame) error {
	if len(frames) > MaxFrames {
		return ErrTooLarge
	}
	e.all = noBounds()
	known := map[string]int64{}
	var key []byte
	records := 0
	for i := range frames {
		f := &frames[i]
		if records += len(f.Records); records > MaxRecords {
			return ErrTooLarge
		}
		at := milliseconds(f.Received)
		if len(f.Records) > 0 {
			at = f.Records[0].Time
		}
		e.times = append(e.times, at)
		s := shape{length: len(f.Records)}
		for j := range f.Records {
			r := &f.Records[j]
			if !r.Absolute {
				return errRelative
			}
			place, err := e.place(r.Name)
			if err != nil {
				return err
			}
			e.series[place].add(r, at)
			e.all.add(r.Time)
			s.add(place)
		}
		key = s.append(key[:0])
		which, ok := known[string(key)]
		if !ok {
			which = int64(len(e.shapes))
			known[string(key)] = which
			e.shapes = append(e.shapes, s)
		}
		e.shape = append(e.shape, which)
	}
	return nil
}

func (e *encoder) place(name string) (int, error) {
	at, ok := e.places[name]
	if !ok {
		if len(e.series) == MaxSeries || len(name) > maxName {
			return 0, ErrTooLarge
		}
		at = len(e.series)
		e.places[name] = at
		e.series = append(e.series, &gathered{name: name, bounds: noBounds()})
	}
	return at, nil
}

func (g *gathered) add(r *protocol.Record, frame int64) {
	m := meta{unit: r.Unit}
	if r.Unfit {
		m.flags |= flagUnfit
	}
	if r.Late {
		m.flags |= flagLate
	}
	which := slices.Index(g.metas, m)
	if which < 0 {
		which = len(g.metas)
		g.metas = append(g.metas, m)
	}
	g.bounds.add(r.Time)
	g.values = append(g.values, r.Value)
	g.times = append(g.times, r.Time)
	g.offsets = append(g.offsets, r.Time-frame)
	g.meta = append(g.meta, int64(which))
}

func (s *shape) add(series int) {
	if n := len(s.runs); n > 0 && s.runs[n-1].series == series {
		s.runs[n-1].length++
		return
	}
	s.runs = append(s.runs, run{series, 1})
}

// append writes the runs. Most frames name their series in the same order, so
// what is written of a series is how far it is from the one that follows.
func (s *shape) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.runs)))
	next := 0
	for _, r := range s.runs {
		b = binary.AppendVarint(b, int64(r.series-next))
		b = binary.AppendUvarint(b, uint64(r.length-1))
		next = r.series + 1
	}
	return b
}
