package history

import (
	"math"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

// Place is where Frames goes on. The zero Place is the beginning.
type Place struct {
	day    day
	begun  bool
	device string
	frames int // of the device and day that are done
}

// Frames calls f with what was said from from to before to, of one device or
// ("") of all: day by day, within a day device by device, each in the order of the
// log. A frame has those of its records that are in the span. It returns after
// the chunk in which it has given atLeast records, with the place to go on at and
// more set; so a long export needs no long transaction. Between two calls pieces
// may be merged; only what retention takes meanwhile may shift the place.
func (r *Reader) Frames(device string, from, to int64, at Place, atLeast int, f func(device string, frame chunk.Frame) error) (next Place, more bool, err error) {
	if from >= to {
		return at, false, nil
	}
	atLeast = max(atLeast, 1)
	first, given := dayOf(from), 0
	if at.begun {
		first = at.day
	}
	days := append(r.shelves(Raw, first, dayOf(to-1)), r.shelves(pieces, first, dayOf(to-1))...)
	slices.Sort(days)
	for _, d := range slices.Compact(days) {
		if !at.begun || at.day != d {
			at = Place{day: d, begun: true}
		}
		for _, name := range r.devices(d, device, at.device) {
			if name != at.device {
				at.device, at.frames = name, 0
			}
			n, done, err := r.deviceFrames(&at, from, to, atLeast-given, f)
			if given += n; err != nil || !done || given >= atLeast {
				return at, true, err
			}
		}
	}
	return at, false, nil
}

// devices are those with something of day d, from one on, or the one wanted.
func (r *Reader) devices(d day, wanted, from string) []string {
	if wanted != "" {
		return []string{wanted}
	}
	raw, late := openShelf(r.Tx, Raw, d), openShelf(r.Tx, pieces, d)
	all := append(raw.devices(), late.unmerged()...)
	slices.Sort(all)
	all = slices.Compact(all)
	i, _ := slices.BinarySearch(all, from)
	return all[i:]
}

// devices are those that have a value.
func (s *shelf) devices() (all []string) {
	if s.b == nil {
		return nil
	}
	c := s.b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if name, _, ok := parseKey(k); ok && (len(all) == 0 || all[len(all)-1] != name) {
			all = append(all, name)
		}
	}
	return all
}

// unmerged are the devices that have pieces which are not merged, in order.
func (s *shelf) unmerged() (all []string) {
	if s.b == nil {
		return nil
	}
	newest := map[string]uint32{}
	c := s.b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if batch, name, _, ok := parsePieceKey(k); ok && batch != markBatch {
			newest[name] = batch
		}
	}
	for name, batch := range newest {
		if batch > merged(s.b, name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// deviceFrames goes through what at's device said on its day, behind what is done.
func (r *Reader) deviceFrames(at *Place, from, to int64, atLeast int, f func(string, chunk.Frame) error) (given int, done bool, err error) {
	all := r.sources(at.device, at.day)
	behind := 0
	for _, c := range all.chunks {
		if c.Chunk == nil {
			continue
		}
		n, _ := c.Len()
		if behind += n; behind <= at.frames {
			continue
		}
		if given >= atLeast {
			return given, false, nil
		}
		frames, err := c.Frames()
		if err != nil { // with a right checksum it cannot fail
			r.damage(at.device+" on "+at.day.String(), err)
			continue
		}
		for _, frame := range frames[max(0, at.frames-(behind-n)):] {
			if frame.Records = inside(frame.Records, from, to); len(frame.Records) > 0 {
				given += len(frame.Records)
				if err := f(at.device, frame); err != nil {
					return given, false, err
				}
			}
			at.frames++
		}
	}
	at.frames = math.MaxInt
	return given, true, nil
}

// inside are the records of a span, as a rule all.
func inside(records []protocol.Record, from, to int64) []protocol.Record {
	out := func(r protocol.Record) bool { return r.Time < from || r.Time >= to }
	if !slices.ContainsFunc(records, out) {
		return records
	}
	return slices.DeleteFunc(slices.Clone(records), out)
}
