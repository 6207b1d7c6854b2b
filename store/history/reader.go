package history

import (
	"bytes"
	"cmp"
	"iter"
	"slices"

	"github.com/hearthgate/hearthgate/store/chunk"
	bolt "go.etcd.io/bbolt"
)

// Reader reads within one transaction. What it gives is the caller's to keep.
type Reader struct {
	Tx       *bolt.Tx
	Counters Counters // nil: nothing is known
	Damage   Damage   // nil: nobody is told
}

// Query asks for one series.
type Query struct {
	Device, Name string
	From, To     int64 // ns since 1970; To is not in it

	// Fresh is what the series said since the last sealing, whatever the time, in
	// the order of the log.
	Fresh []chunk.Sample
}

// heavy is how many samples of one series and day are looked at together; of
// more the hours are, one by one.
const heavy = 1 << 19

// Samples gives the samples of a series in the order of their times, many at
// once. Of equal times the last one said counts. It holds a day of one series in
// memory.
func (r *Reader) Samples(q Query) iter.Seq[[]chunk.Sample] {
	return func(yield func([]chunk.Sample) bool) {
		for d := range r.rawDays(q) {
			all := r.sources(q.Device, d)
			all.fresh = q.Fresh
			for s := range all.windows(q.Name, d, q.From, q.To) {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// rawDays are those in the span of q of which there may be samples.
func (r *Reader) rawDays(q Query) iter.Seq[day] {
	return func(yield func(day) bool) {
		if q.From >= q.To {
			return
		}
		from, to := dayOf(q.From), dayOf(q.To-1)
		days := append(r.shelves(Raw, from, to), r.shelves(pieces, from, to)...)
		for _, s := range q.Fresh {
			if s.Time >= q.From && s.Time < q.To {
				days = append(days, dayOf(s.Time))
			}
		}
		slices.Sort(days)
		for _, d := range slices.Compact(days) {
			if !yield(d) {
				return
			}
		}
	}
}

// shelves are the first days of a level's buckets that have something of the
// days from from to to.
func (r *Reader) shelves(l Level, from, to day) (all []day) {
	b := r.Tx.Bucket(buckets[l])
	if b == nil || from > to {
		return nil
	}
	c, end := b.Cursor(), l.bucket(to)
	for k, _ := c.Seek(l.bucket(from)); k != nil && bytes.Compare(k, end) <= 0; k, _ = c.Next() {
		if first, _, ok := l.span(k); ok {
			all = append(all, first)
		}
	}
	return all
}

// sources is all that is raw of one device and day, in the order of the log.
type sources struct {
	chunks []source
	fresh  []chunk.Sample
}

type source struct {
	part
	*chunk.Chunk // nil: damaged
	piece        bool
}

// sources opens everything of a device and day.
func (r *Reader) sources(device string, d day) (all sources) {
	for _, l := range []Level{Raw, pieces} {
		s := openShelf(r.Tx, l, d)
		parts := s.parts
		if l == pieces {
			parts = s.pieces
		}
		for _, p := range parts(device) {
			c, err := chunk.Open(p.value)
			if err != nil {
				r.damage(s.where(p.key), err)
			}
			all.chunks = append(all.chunks, source{p, c, l == pieces})
		}
	}
	return all
}

func (r *Reader) damage(where string, err error) {
	if r.Damage != nil {
		r.Damage(where, err)
	}
}

// windows gives the samples of one series of day d with from <= time < to in
// order, as a rule all at once.
func (s *sources) windows(name string, d day, from, to int64) iter.Seq[[]chunk.Sample] {
	return func(yield func([]chunk.Sample) bool) {
		if s.count(name) <= heavy {
			if all := s.samples(name, d, from, to); len(all) > 0 {
				yield(all)
			}
			return
		}
		const hour = dayLength / 24
		for t := d.start(); t < d.end(); t += hour {
			begin, end := max(from, t), min(to, t+hour)
			if t == d.start() {
				begin = from // of the first day of all there may be more before it
			}
			if t+hour == d.end() {
				end = to
			}
			if begin >= end {
				continue
			}
			if all := s.samples(name, d, begin, end); len(all) > 0 && !yield(all) {
				return
			}
		}
	}
}

// count is how many samples of a series there are, those that count no more
// included.
func (s *sources) count(name string) int {
	n := len(s.fresh)
	for _, c := range s.chunks {
		if c.Chunk == nil {
			continue
		}
		for i := range c.Series() {
			if c.Series()[i].Name == name {
				n += c.Series()[i].Count
			}
		}
	}
	return n
}

// samples are those of day d with from <= time < to.
func (s *sources) samples(name string, d day, from, to int64) (all []chunk.Sample) {
	add := func(more []chunk.Sample) {
		if all == nil { // as a rule that is it: in place
			all = more[:0:len(more)]
		}
		for _, v := range more {
			if v.Time >= from && v.Time < to && dayOf(v.Time) == d {
				all = append(all, v)
			}
		}
	}
	for _, c := range s.chunks {
		if c.Chunk == nil || !overlaps(c.Chunk, name, from, to) {
			continue
		}
		more, err := c.Samples(name)
		if err == nil { // with a right checksum it cannot fail
			add(more)
		}
	}
	if all == nil {
		all = make([]chunk.Sample, 0, len(s.fresh)) // which is the caller's
	}
	add(s.fresh)
	return lastOfEach(all)
}

func overlaps(c *chunk.Chunk, name string, from, to int64) bool {
	for _, s := range c.Series() {
		if s.Name == name {
			return s.First < to && s.Last >= from
		}
	}
	return false
}

// lastOfEach puts samples in the order of their times; of equal ones the last
// stays.
func lastOfEach(all []chunk.Sample) []chunk.Sample {
	byTime := func(a, b chunk.Sample) int { return cmp.Compare(a.Time, b.Time) }
	if !slices.IsSortedFunc(all, byTime) {
		slices.SortStableFunc(all, byTime)
	}
	kept := all[:0]
	for _, v := range all {
		if n := len(kept); n > 0 && kept[n-1].Time == v.Time {
			kept[n-1] = v
		} else {
			kept = append(kept, v)
		}
	}
	return kept
}
