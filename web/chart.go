package web

import (
	"net/http"
	"strconv"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// A chart asks for a span and a width in pixels. It gets the coarsest level that
// has two points a pixel at least: raw samples, or rows of 5 minutes, an hour or
// a day.

// levels are their names in answers.
var levels = map[store.Level]string{store.Raw: "raw", store.FiveMinutes: "5m", store.Hours: "1h", store.Days: "1d"}

// widest is how many pixels a chart may have.
const widest = 10_000

// writeChart answers {"device":…,"name":…,"unit":…,"level":"1h","rows":[…]}, with
// "samples" in place of rows where the level is raw.
func writeChart(w http.ResponseWriter, d registry.Device, name string, c store.Chart) error {
	out := beginSeries(w, d.ID, name)
	if p := d.Description.Point(name); p != nil && p.Component.Unit != "" {
		out.b = protocol.Text(p.Component.Unit).AppendJSON(append(out.b, `,"unit":`...))
	}
	out.b = append(append(append(out.b, `,"level":"`...), levels[c.Level]...), '"')
	if c.Level == store.Raw {
		out.samples(c.Samples)
		return nil
	}
	out.list("rows", len(c.Rows), func(b []byte, i int) []byte { return appendRow(b, &c.Rows[i]) })
	return nil
}

// appendRow writes {"t":start,"end":…,"count":12,"last":…} and what the kind of
// value has besides: min, mean and max of numbers, increase and resets of a
// counter, on (seconds) of a bool.
func appendRow(b []byte, r *store.Row) []byte {
	b = protocol.AppendSeconds(append(b, `{"t":`...), r.Start)
	b = protocol.AppendSeconds(append(b, `,"end":`...), r.End)
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
		b = protocol.AppendSeconds(append(b, `,"on":`...), r.On)
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
