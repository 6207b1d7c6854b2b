package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/rollup"
)

// A chart asks for a span and a width in pixels. It gets the coarsest level that
// has two points a pixel at least: raw samples, or rows of 5 minutes, an hour or
// a day.

// chart is one of samples and rows.
type chart struct {
	level   string // raw, 5m, 1h, 1d
	samples []store.Sample
	rows    []rollup.Row
}

var levels = []struct {
	name string
	span time.Duration
}{{"1d", rollup.Day}, {"1h", rollup.Hour}, {"5m", rollup.FiveMinutes}}

// widest is how many pixels a chart may have.
const widest = 10_000

// chart reads what a chart needs. Rows are those that overlap the span.
func (a *API) chart(ctx context.Context, d registry.Device, name string, from, to time.Time, width int) (chart, error) {
	for _, l := range levels {
		if to.Sub(from)/l.span < 2*time.Duration(width) {
			continue
		}
		from := from.Truncate(l.span)
		samples, err := a.Store.History(ctx, d.ID, name, from, to, 0)
		if err != nil {
			return chart{}, err
		}
		all := make([]chunk.Sample, len(samples))
		for i, s := range samples {
			all[i] = chunk.Sample(s)
		}
		p := d.Description.Point(name)
		counter := p != nil && p.Component.StateClass == "total_increasing"
		return chart{level: l.name, rows: rollup.Rows(all, l.span, counter, protocol.Value{})}, nil
	}
	samples, err := a.Store.History(ctx, d.ID, name, from, to, 0)
	return chart{level: "raw", samples: samples}, err
}

// writeChart answers {"device":…,"name":…,"unit":…,"level":"1h","rows":[…]}, with
// "samples" in place of rows where the level is raw.
func writeChart(w http.ResponseWriter, d registry.Device, name string, c chart) error {
	out := beginSeries(w, d.ID, name)
	if p := d.Description.Point(name); p != nil && p.Component.Unit != "" {
		out.b = protocol.Text(p.Component.Unit).AppendJSON(append(out.b, `,"unit":`...))
	}
	out.b = append(append(append(out.b, `,"level":"`...), c.level...), '"')
	if c.level == "raw" {
		out.samples(c.samples)
		return nil
	}
	out.list("rows", len(c.rows), func(b []byte, i int) []byte { return appendRow(b, &c.rows[i]) })
	return nil
}

// appendRow writes {"t":start,"end":…,"count":12,"last":…} and what the kind of
// value has besides: min, mean and max of numbers, increase and resets of a
// counter, on (seconds) of a bool.
func appendRow(b []byte, r *rollup.Row) []byte {
	b = appendSeconds(append(b, `{"t":`...), r.Start)
	b = appendSeconds(append(b, `,"end":`...), r.End)
	b = strconv.AppendInt(append(b, `,"count":`...), int64(r.Count), 10)
	switch {
	case r.Numbers > 0:
		b = r.Min.AppendJSON(append(b, `,"min":`...))
		b = protocol.Float(r.Mean()).AppendJSON(append(b, `,"mean":`...))
		b = r.Max.AppendJSON(append(b, `,"max":`...))
	case r.Last.IsNumber():
		b = protocol.Float(r.Increase).AppendJSON(append(b, `,"increase":`...))
		b = strconv.AppendInt(append(b, `,"resets":`...), int64(r.Resets), 10)
	case r.Last.IsBool():
		b = appendSeconds(append(b, `,"on":`...), r.On)
	}
	return append(r.Last.AppendJSON(append(b, `,"last":`...)), '}')
}

// widthOf reads ?width; 0 = none was asked for.
func widthOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("width")
	if text == "" {
		return 0, nil
	}
	width, err := strconv.Atoi(text)
	if err != nil || width < 1 || width > widest {
		return 0, problem(http.StatusBadRequest, "width: want 1 to %d pixels, not %q", widest, text)
	}
	return width, nil
}
