// Package rollup turns the samples of a series into rows, one for each 5
// minutes, hour or day in which there was a sample, so that a chart of a year
// reads thousands of rows and not millions of samples. Rows merge into longer
// ones and pack into the blocks of package chunk. It is pure: no files, no
// clock.
package rollup

import (
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

// The spans of rows. They begin at multiples of the span since 1970, UTC.
const (
	FiveMinutes = 5 * time.Minute
	Hour        = time.Hour
	Day         = 24 * time.Hour
)

// Row is what a series said in [Start, End), ns since 1970.
type Row struct {
	Start, End int64
	Count      int            // of samples, at least 1
	Last       protocol.Value // of the latest sample

	// Of the numbers among them; none are counters' (see Series.Counter).
	Numbers  int
	Min, Max protocol.Value // as they were received
	Sum      float64

	// Of a counter: how far it rose since the last sample before the row, and
	// how often it began anew, which is where it falls.
	Increase float64
	Resets   int

	// On is for how long (ns) a bool was true, from Start to End. Before the
	// first sample the value before the row holds, if one is known.
	On int64
}

// Mean is that of the numbers, 0 without any.
func (r *Row) Mean() float64 {
	if r.Numbers == 0 {
		return 0
	}
	return r.Sum / float64(r.Numbers)
}

// Rows rolls samples up, which are in the order of their times, no two with the
// same. before is the series' last value before them, the zero Value if none is
// known; counter says that its state class is total_increasing.
func Rows(samples []chunk.Sample, span time.Duration, counter bool, before protocol.Value) []Row {
	var rows []Row
	for len(samples) > 0 {
		start := floor(samples[0].Time, span)
		end := start + int64(span)
		n := 1
		for n < len(samples) && samples[n].Time < end {
			n++
		}
		row := makeRow(samples[:n], start, end, counter, before)
		rows = append(rows, row)
		samples, before = samples[n:], row.Last
	}
	return rows
}

// floor is the latest multiple of span that is not after t.
func floor(t int64, span time.Duration) int64 {
	rest := t % int64(span)
	if rest < 0 {
		rest += int64(span)
	}
	return t - rest
}

func makeRow(samples []chunk.Sample, start, end int64, counter bool, before protocol.Value) Row {
	row := Row{Start: start, End: end, Count: len(samples), Last: samples[len(samples)-1].Value}
	var sum, increase total
	at := start
	for _, s := range samples {
		switch v := s.Value; {
		case v.IsNumber() && counter:
			row.Resets += increase.rise(before, v)
		case v.IsNumber():
			row.number(v)
			sum.add(number(v))
		}
		row.On += on(before, at, s.Time)
		before, at = s.Value, s.Time
	}
	row.On += on(before, at, end)
	row.Sum, row.Increase = sum.value(), increase.value()
	return row
}

// on is how long v is true from one time to another.
func on(v protocol.Value, from, to int64) int64 {
	if !v.AsBool() {
		return 0
	}
	return to - from
}

func (r *Row) number(v protocol.Value) {
	if r.Numbers == 0 || number(v) < number(r.Min) {
		r.Min = v
	}
	if r.Numbers == 0 || number(v) > number(r.Max) {
		r.Max = v
	}
	r.Numbers++
}

// rise adds how far a counter got from before to v and reports 1 if it began
// anew in between.
func (t *total) rise(before, v protocol.Value) (resets int) {
	switch {
	case !before.IsNumber():
		return 0
	case number(v) < number(before):
		t.add(number(v))
		return 1
	}
	t.add(number(v))
	t.add(-number(before))
	return 0
}

// number is v as its sender meant it: 0.1 in 32 bits is 0.1.
func number(v protocol.Value) float64 { return v.Normal().AsFloat() }

// Merge is the row of both spans and what lies between, where nothing was said.
// b is the later one and was made knowing a's last value.
func Merge(a, b Row) Row {
	row := Row{
		Start: a.Start, End: b.End,
		Count: a.Count + b.Count, Last: b.Last,
		Numbers: a.Numbers + b.Numbers,
		Min:     a.Min, Max: a.Max,
		Resets: a.Resets + b.Resets,
		On:     a.On + on(a.Last, a.End, b.Start) + b.On,
	}
	if a.Numbers == 0 || b.Numbers > 0 && number(b.Min) < number(a.Min) {
		row.Min = b.Min
	}
	if a.Numbers == 0 || b.Numbers > 0 && number(b.Max) > number(a.Max) {
		row.Max = b.Max
	}
	var sum, increase total
	sum.add(a.Sum)
	sum.add(b.Sum)
	increase.add(a.Increase)
	increase.add(b.Increase)
	row.Sum, row.Increase = sum.value(), increase.value()
	return row
}

// Coarsen merges rows, which are in order, into rows of a longer span, a
// multiple of theirs. before is as for Rows.
func Coarsen(rows []Row, span time.Duration, before protocol.Value) []Row {
	var all []Row
	for len(rows) > 0 {
		start := floor(rows[0].Start, span)
		end := start + int64(span)
		row := rows[0]
		n := 1
		for ; n < len(rows) && rows[n].Start < end; n++ {
			row = Merge(row, rows[n])
		}
		row.On += on(before, start, row.Start) + on(row.Last, row.End, end)
		row.Start, row.End = start, end
		all = append(all, row)
		rows, before = rows[n:], row.Last
	}
	return all
}
