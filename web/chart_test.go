package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// A home's history of ten days, a value every ten minutes: a temperature that
// rises by day, a meter that counts and begins anew once, a door.
func (h *home) tenDays() (from, to time.Time) {
	h.t.Helper()
	h.want(201, "POST", "/api/v1/devices", `{"id":"kitchen"}`)
	check(h.t, h.registry.Describe("kitchen", &protocol.Describe{Components: []protocol.Component{
		{ID: "temperature", Kind: "sensor", Unit: "Cel"},
		{ID: "energy", Kind: "sensor", Unit: "kWh", StateClass: "total_increasing"},
		{ID: "door", Kind: "binary_sensor"},
	}}))
	h.store.Describe(func(_, name string) (counter, known bool) { return name == "energy", true })
	from = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	to = from.AddDate(0, 0, 10)
	done := make(committed, 1500)
	n := 0
	for at := from; at.Before(to); at = at.Add(10 * time.Minute) {
		meter := n % 720 // after five days somebody changed it
		e := &store.Entry{Kind: store.Imported, Device: "kitchen", Received: at.UnixMilli(), Records: []protocol.Record{
			{Name: "temperature", Value: protocol.Float(20 + float64(at.Hour())/4), Time: at.UnixNano()},
			{Name: "energy", Value: protocol.Int(int64(meter)), Time: at.UnixNano()},
			{Name: "door", Value: protocol.Bool(at.Minute() < 30), Time: at.UnixNano()},
		}}
		_, err := h.store.Append(e, store.Measured, done)
		check(h.t, err)
		n++
	}
	for range n {
		check(h.t, <-done)
	}
	return from, to
}

// charted is the answer to a chart.
type charted struct {
	Device, Name, Unit, Level string
	Samples                   []struct {
		T float64
		V any
	}
	Rows []struct {
		T, End, Min, Mean, Max, Increase, On float64
		Count, Resets                        int
		Last                                 any
	}
}

func (h *home) chart(name string, from, to time.Time, width int) (c charted) {
	h.t.Helper()
	q := url.Values{"name": {name}, "from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "width": {fmt.Sprint(width)}}
	check(h.t, json.Unmarshal([]byte(h.want(200, "GET", "/api/v1/devices/kitchen/history?"+q.Encode(), "")), &c))
	return c
}

// A chart gets two points a pixel and no finer, whatever the span.
func TestAChartIsAsCoarseAsItsWidth(t *testing.T) {
	h := newHome(t)
	from, to := h.tenDays()
	for _, c := range []struct {
		width, points int
		level         string
	}{{5, 10, "1d"}, {6, 240, "1h"}, {120, 240, "1h"}, {121, 1440, "5m"}, {1440, 1440, "5m"}, {1441, 1440, "raw"}} {
		got := h.chart("temperature", from, to, c.width)
		if got.Level != c.level || len(got.Rows)+len(got.Samples) != c.points || got.Unit != "Cel" {
			t.Errorf("%d pixels: %s, %d points of %q; want %s, %d", c.width, got.Level, len(got.Rows)+len(got.Samples), got.Unit, c.level, c.points)
		}
	}
	if got := h.chart("temperature", from, from.Add(time.Hour), 100); got.Level != "raw" || len(got.Samples) != 6 || got.Samples[0].V != 20.0 {
		t.Errorf("an hour: %+v", got)
	}
	if got := h.chart("temperature", to, to.Add(time.Hour), 100); len(got.Samples) != 0 || got.Samples == nil {
		t.Errorf("a span without values: %+v", got)
	}
}

func TestRowsSayWhatTheirKindOfValueHas(t *testing.T) {
	h := newHome(t)
	from, to := h.tenDays()
	r := h.chart("temperature", from, to, 5).Rows[0]
	if r.T != float64(from.Unix()) || r.End != r.T+86400 || r.Count != 144 || r.Min != 20 || r.Max != 25.75 || r.Mean != 22.875 || r.Last != 25.75 {
		t.Errorf("a day of temperature: %+v", r)
	}
	energy := h.chart("energy", from, to, 5).Rows
	if r := energy[1]; r.Increase != 144 || r.Resets != 0 || r.Last != 287.0 {
		t.Errorf("a day of the meter: %+v", r)
	}
	if r := energy[5]; r.Resets != 1 || r.Increase != 143 {
		t.Errorf("the day on which it was changed: %+v", r)
	}
	if r := h.chart("door", from, to, 100).Rows[3]; r.On != 1800 || r.Count != 6 || r.Last != false {
		t.Errorf("an hour of the door: %+v", r)
	}
	q := "/api/v1/devices/kitchen/history?name=door&from=2026-11-01T00:00:00Z&to=2026-11-11T00:00:00Z&width=5"
	if s := h.want(200, "GET", q, ""); strings.Contains(s, `"min"`) || strings.Contains(s, `"increase"`) {
		t.Error(s)
	}
}

func TestBadCharts(t *testing.T) {
	h := newHome(t)
	h.addLamp()
	for query, why := range map[string]string{
		"width=0": "width: want 1 to 10000 pixels", "width=wide": "width: want", "width=10001": "width: want",
		"width=100&limit=5": "exclude each other", "width=100&from=soon": "from: want",
	} {
		if s := h.want(400, "GET", "/api/v1/devices/lamp/history?name=power&"+query, ""); !strings.Contains(s, why) {
			t.Errorf("%s: %s", query, s)
		}
	}
	if s := h.want(404, "GET", "/api/v1/devices/lamp/history?name=powr&width=100", ""); !strings.Contains(s, "it has power") {
		t.Error(s)
	}
	if s := h.want(200, "GET", "/api/v1/devices/lamp/history?name=power&width=100&from=7d", ""); !strings.Contains(s, `"rows":[]`) {
		t.Error(s)
	}
}
