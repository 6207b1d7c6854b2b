package store

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/rollup"
	bolt "go.etcd.io/bbolt"
)

// Looking back reads what is sealed and what is in the log alone as one. The log
// is read first; then, in a transaction of the database, only that counts of it
// which is not sealed as of that transaction. So it does not matter when sealing
// happens.

// Sample is one value of history. Time is ns since 1970.
type Sample = chunk.Sample

// Row is what a value did in a span: count, least, greatest and mean number, the
// last value, a counter's increase, a boolean's time on.
type Row = rollup.Row

// Level is how fine history is.
type Level = history.Level

// The levels, the finest first.
const (
	Raw         = history.Raw
	FiveMinutes = history.FiveMinutes
	Hours       = history.Hours
	Days        = history.Days
)

// pageOfSamples is how many records one transaction gives.
const pageOfSamples = 20_000

// fresh is a sample that was in the log alone a moment ago.
type fresh struct {
	Sample
	pos Position
}

// freshOf are those of one name between two times, in the order of the log.
func (s *Store) freshOf(device, name string, from, to int64) (all []fresh, err error) {
	for {
		all = nil
		err := s.unsealed(device, from, to, func(e *Entry) {
			if e.Uncertain {
				return
			}
			for i := range e.Records {
				if r := &e.Records[i]; r.Name == name && r.Time >= from && r.Time < to {
					all = append(all, fresh{Sample{Time: r.Time, Value: r.Value}, e.Pos})
				}
			}
		})
		if !errors.Is(err, errElsewhere) {
			return all, err
		}
	}
}

// seeHistory calls f with a reader of what is sealed, and with the fresh samples
// that are not.
func (s *Store) seeHistory(all []fresh, f func(r *history.Reader, fresh []Sample)) error {
	return s.file.view(func(tx *bolt.Tx) error {
		sealed, _, err := getSealed(tx)
		if err != nil {
			return err
		}
		var rest []Sample
		for _, v := range all {
			if v.pos > sealed {
				rest = append(rest, v.Sample)
			}
		}
		f(&history.Reader{Tx: tx, Counters: s.counter, Damage: s.historyDamaged}, rest)
		return nil
	})
}

// historyDamaged counts and reports a damaged part of the history, once.
func (s *Store) historyDamaged(where string, err error) {
	if _, again := s.badParts.LoadOrStore(where, true); !again {
		s.file.damage(where, err)
	}
}

// History returns the values of one name with from <= time < to, in the order
// of their times; of equal times the last one said counts. At most limit
// samples (0 = all), the earliest.
func (s *Store) History(ctx context.Context, device, name string, from, to time.Time, limit int) ([]Sample, error) {
	q := history.Query{Device: device, Name: name, From: nanos(from), To: nanos(to)}
	unsealed, err := s.freshOf(device, name, q.From, q.To)
	if err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = math.MaxInt
	}
	places := mostDamagedPlaces
	return s.samplesAround(ctx, q, unsealed, limit, &places)
}

// mostDamagedPlaces of the file's structure are read around.
const mostDamagedPlaces = 64

// samplesAround is samples that leaves out the days which cannot be read.
func (s *Store) samplesAround(ctx context.Context, q history.Query, unsealed []fresh, limit int, places *int) ([]Sample, error) {
	all, err := s.samples(ctx, q, unsealed, limit)
	if err == nil || !corrupt(err) {
		return all, err
	}
	s.historyDamaged("history", err)
	middle := q.From/2 + q.To/2
	if *places--; *places < 0 || middle-q.From < int64(12*time.Hour) {
		return nil, nil
	}
	q.To, middle = middle, q.To
	all, err = s.samplesAround(ctx, q, unsealed, limit, places)
	if err != nil || len(all) == limit {
		return all, err
	}
	q.From, q.To = q.To, middle
	rest, err := s.samplesAround(ctx, q, unsealed, limit-len(all), places)
	return append(all, rest...), err
}

// samples reads a page at a time.
func (s *Store) samples(ctx context.Context, q history.Query, unsealed []fresh, limit int) (kept []Sample, err error) {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		more = false
		page := min(limit, len(kept)+pageOfSamples)
		err := s.seeHistory(unsealed, func(r *history.Reader, fresh []Sample) {
			q.Fresh = fresh
			for all := range r.Samples(q) {
				n := min(len(all), page-len(kept))
				if kept = join(kept, all[:n]); n < len(all) {
					more = true
					break
				}
			}
		})
		if err != nil {
			return nil, err
		}
		if more = more && len(kept) < limit; more {
			q.From = kept[len(kept)-1].Time + 1
		}
	}
	return kept, nil
}

// join is append to what may be nothing yet: then nothing is copied.
func join(all, more []Sample) []Sample {
	if all == nil {
		return more
	}
	return append(all, more...)
}

// Rows returns the rows of one name that overlap the span: where the level asked
// for is not kept any more, longer ones. Each says its start and end.
func (s *Store) Rows(ctx context.Context, device, name string, from, to time.Time, level Level) (rows []Row, err error) {
	q := history.Query{Device: device, Name: name, From: nanos(from), To: nanos(to)}
	unsealed, err := s.freshOf(device, name, math.MinInt64, math.MaxInt64) // late ones count in rows of their time
	if err != nil {
		return nil, err
	}
	err = s.seeHistory(unsealed, func(r *history.Reader, fresh []Sample) {
		q.Fresh = fresh
		rows = readRows(ctx, r, q, level)
	})
	return rows, errors.Join(err, ctx.Err())
}

func readRows(ctx context.Context, r *history.Reader, q history.Query, level Level) (rows []Row) {
	for row := range r.Rows(q, level) {
		if len(rows) == cap(rows) { // append alone grows by a quarter: a year would be copied five times
			rows = slices.Grow(rows, max(64, len(rows)))
		}
		if rows = append(rows, row); len(rows)%1024 == 0 && ctx.Err() != nil {
			break
		}
	}
	return rows
}

// Chart is a span of one value, as fine as a picture of some width can show.
type Chart struct {
	Level   Level
	Samples []Sample // of level Raw
	Rows    []Row    // of the others
}

// mostOfChart is how many samples a chart has; more are shown as rows.
const mostOfChart = 20_000

// Chart returns a span with at least two points for each of width pixels, if that
// many are kept: samples, or rows of the coarsest level that has them.
func (s *Store) Chart(ctx context.Context, device, name string, from, to time.Time, width int) (c Chart, err error) {
	q := history.Query{Device: device, Name: name, From: nanos(from), To: nanos(to)}
	unsealed, err := s.freshOf(device, name, math.MinInt64, math.MaxInt64)
	if err != nil {
		return c, err
	}
	err = s.seeHistory(unsealed, func(r *history.Reader, fresh []Sample) {
		q.Fresh = fresh
		c.Level = r.Pick(q, max(width, 1))
		if c.Level == Raw {
			for all := range r.Samples(q) {
				if c.Samples = join(c.Samples, all); len(c.Samples) > mostOfChart {
					c.Level, c.Samples = FiveMinutes, nil
					break
				}
			}
		}
		if c.Level != Raw {
			c.Rows = readRows(ctx, r, q, c.Level)
		}
	})
	return c, errors.Join(err, ctx.Err())
}

// nanos is t in ns since 1970, at the ends of what int64 can say when t is
// beyond them (the zero Time is).
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case s <= math.MinInt64/1_000_000_000:
		return math.MinInt64
	case s >= math.MaxInt64/1_000_000_000:
		return math.MaxInt64
	}
	return t.UnixNano()
}
