package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
)

// chartHeight is in lines.
const chartHeight = 8

// band is what a series said from one moment to another: between low and high.
type band struct {
	from, to  time.Time
	low, high float64
	mean      float64
	count     int
}

// draw shows a series on a terminal: a curve of numbers, a strip of what was on,
// and of words the list.
func (s *series) draw(w io.Writer, width int, zone *time.Location) {
	unit, factor := hass.Unit(s.Unit)
	bands, kind := s.bands(float64(factor))
	if kind == "" {
		s.list(w)
		return
	}
	from, to := bands[0].from, bands[len(bands)-1].to
	fmt.Fprintf(w, "%s %s\n", s.Device, s.Name)
	if kind == "bool" {
		drawStrip(w, bands, from, to, width-1)
		drawTimes(w, "", from, to, width-1, zone)
		fmt.Fprintf(w, "on for %s of %s\n", onFor(bands).Round(time.Second), to.Sub(from).Round(time.Second))
		return
	}
	low, high := bounds(bands)
	number, height := numbersIn(low, high), chartHeight
	if low == high {
		height = 1
	}
	margin := max(len(number(low)), len(number(high)))
	room := max(width-margin-3, 10)
	for i, line := range braille(pixels(bands, from, to, 2*room), low, high, height) {
		label := ""
		switch i {
		case 0:
			label = number(high)
		case height - 1:
			label = number(low)
		}
		fmt.Fprintf(w, "%*s │%s\n", margin, label, line)
	}
	drawTimes(w, strings.Repeat(" ", margin+2), from, to, room, zone)
	fmt.Fprintln(w, strings.TrimSpace(inWords(bands, kind, number)+" "+unit))
}

// inWords is the line below a chart.
func inWords(bands []band, kind string, number func(float64) string) string {
	low, high := bounds(bands)
	n, total, mean := 0, 0.0, 0.0
	for _, b := range bands {
		n, total = n+b.count, total+b.high
	}
	for _, b := range bands {
		mean += b.mean * (float64(b.count) / float64(n))
	}
	switch {
	case kind == "counter":
		return fmt.Sprintf("%d values, in all more by %s", n, number(total))
	case low == high:
		return fmt.Sprintf("%d × %s", n, number(low))
	}
	return fmt.Sprintf("%d values from %s to %s, mean %s", n, number(low), number(high), number(mean))
}

// bands are the points of a chart, and what kind they are of: number, counter,
// bool, or "" for words.
func (s *series) bands(factor float64) (all []band, kind string) {
	for i, v := range s.Samples {
		b := band{from: moment(v.T), count: 1}
		if b.to = b.from; i+1 < len(s.Samples) {
			b.to = moment(s.Samples[i+1].T)
		}
		switch text := string(v.V); {
		case text == "true" || text == "false":
			kind = "bool"
			b.high = map[string]float64{"true": b.to.Sub(b.from).Seconds()}[text]
		default:
			f, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, ""
			}
			kind = "number"
			b.to, b.low, b.high, b.mean = b.from, f*factor, f*factor, f*factor
		}
		all = append(all, b)
	}
	for i := range s.Rows {
		r := &s.Rows[i]
		b := band{from: moment(r.T), to: moment(r.End), count: r.Count}
		switch {
		case r.Mean != "":
			kind = "number"
			b.low, _ = r.Min.Float64()
			b.mean, _ = r.Mean.Float64()
			b.high, _ = r.Max.Float64()
			b.low, b.mean, b.high = b.low*factor, b.mean*factor, b.high*factor
		case r.Increase != "":
			kind = "counter"
			b.high, _ = r.Increase.Float64()
			b.high *= factor
		case r.On != "":
			kind = "bool"
			b.high, _ = r.On.Float64()
		default:
			return nil, ""
		}
		all = append(all, b)
	}
	return all, kind
}

func bounds(bands []band) (low, high float64) {
	low, high = bands[0].low, bands[0].high
	for _, b := range bands {
		low, high = min(low, b.low), max(high, b.high)
	}
	return low, high
}

// numbersIn writes numbers with as many digits behind the point as tell a tenth
// of what lies between two.
func numbersIn(low, high float64) func(float64) string {
	if low == high {
		return shortNumber
	}
	digits := min(max(0, 1-int(math.Floor(math.Log10(high-low)))), 6)
	return func(f float64) string { return strconv.FormatFloat(f, 'f', digits, 64) }
}

// pixel is what one column of dots shows; without anything low is above high.
type pixel struct{ low, high float64 }

func (p pixel) empty() bool { return p.low > p.high }

// pixels puts bands into columns, and lines between them where the next is near.
func pixels(bands []band, from, to time.Time, n int) []pixel {
	all := make([]pixel, n)
	for i := range all {
		all[i] = pixel{math.Inf(1), math.Inf(-1)}
	}
	span := max(to.Sub(from), 1)
	at := func(t time.Time) int { return min(int(float64(t.Sub(from))/float64(span)*float64(n)), n-1) }
	last := -1
	var before float64
	for _, b := range bands {
		first, end := at(b.from), at(b.to.Add(-1))
		if gap := first - last; last >= 0 && gap > 1 && gap <= max(n/8, 2) {
			for x := last + 1; x < first; x++ {
				y := before + (b.mean-before)*float64(x-last)/float64(gap)
				all[x] = pixel{y, y}
			}
		}
		for x := first; x <= max(end, first); x++ {
			all[x] = pixel{min(all[x].low, b.low), max(all[x].high, b.high)}
		}
		last, before = max(end, first), b.mean
	}
	for x := 1; x < n; x++ { // no holes in a steep curve
		if a, b := all[x-1], &all[x]; !a.empty() && !b.empty() {
			b.low, b.high = min(b.low, a.high), max(b.high, a.low)
		}
	}
	return all
}

// dots of a braille character by column and row (Unicode 6.0, U+2800).
var dots = [2][4]rune{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}

// braille draws columns of dots, two to a character, four to a line.
func braille(columns []pixel, low, high float64, height int) []string {
	lines := make([][]rune, height)
	for i := range lines {
		lines[i] = []rune(strings.Repeat("\u2800", (len(columns)+1)/2))
	}
	y := func(v float64) int {
		share := (high/2 - v/2) / (high/2 - low/2) // of the height; halves do not overflow
		if math.IsNaN(share) {
			share = 0.5
		}
		return int(math.Round(share * float64(4*height-1)))
	}
	for x, p := range columns {
		if p.empty() {
			continue
		}
		for row := y(p.high); row <= y(p.low); row++ {
			lines[row/4][x/2] |= dots[x%2][row%4]
		}
	}
	all := make([]string, height)
	for i := range lines {
		all[i] = string(lines[i])
	}
	return all
}

// drawStrip shows how much of the time of each character something was on.
func drawStrip(w io.Writer, bands []band, from, to time.Time, width int) {
	span := max(to.Sub(from), 1)
	on, known := make([]float64, width), make([]bool, width)
	cell := float64(span) / float64(width)
	for _, b := range bands {
		length := float64(b.to.Sub(b.from))
		if length <= 0 {
			continue
		}
		share := b.high * float64(time.Second) / length
		begin, end := float64(b.from.Sub(from))/cell, float64(b.to.Sub(from))/cell
		for x := int(begin); x < width && float64(x) < end; x++ {
			known[x] = true
			on[x] += share * (min(end, float64(x+1)) - max(begin, float64(x)))
		}
	}
	steps := []rune("▁▂▃▄▅▆▇█")
	line := make([]rune, width)
	for x := range line {
		switch {
		case !known[x]:
			line[x] = ' '
		default:
			line[x] = steps[min(int(math.Ceil(on[x]*float64(len(steps)-1)-1e-9)), len(steps)-1)]
		}
	}
	fmt.Fprintln(w, string(line))
}

func onFor(bands []band) (total time.Duration) {
	for _, b := range bands {
		total += time.Duration(b.high * float64(time.Second))
	}
	return total
}

// drawTimes writes the ends of the time axis.
func drawTimes(w io.Writer, margin string, from, to time.Time, width int, zone *time.Location) {
	layout := "2006-01-02 15:04"
	begin, end := from.In(zone).Format(layout), to.In(zone).Format(layout)
	fmt.Fprintf(w, "%s%s%s%s\n", margin, begin, strings.Repeat(" ", max(1, width-len(begin)-len(end))), end)
}
