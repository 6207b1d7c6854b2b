package web

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/internal/when"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// rawValue is a value as it stands in JSON.
func rawValue(v protocol.Value) json.RawMessage { return v.AppendJSON(nil) }

// span reads ?from and ?to as package when reads a moment, days in the zone of this
// machine. Without them it is everything.
func span(r *http.Request) (from, to time.Time, err error) {
	now := time.Now()
	from, to = time.Unix(0, 0), now.Add(24*time.Hour)
	for _, p := range []struct {
		name string
		at   *time.Time
	}{{"from", &from}, {"to", &to}} {
		if s := r.URL.Query().Get(p.name); s != "" {
			if *p.at, err = when.Moment(s, now, time.Local); err != nil {
				return from, to, problem(http.StatusBadRequest, "%s: %v", p.name, err)
			}
		}
	}
	return from, to, nil
}

// history: ?name=temperature, ?from, ?to, and either ?limit (10,000 if not said)
// of samples or ?width of a chart, whose last day it is if no span is said.
func (a *API) history(w http.ResponseWriter, r *http.Request) error {
	d, err := a.device(r)
	if err != nil {
		return err
	}
	from, to, err := span(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	name := q.Get("name")
	if name == "" {
		return problem(http.StatusBadRequest, "name: say which value, such as ?name=temperature")
	}
	width, err := widthOf(r)
	if err != nil {
		return err
	}
	if width == 0 {
		return a.rawHistory(w, r, d, name, from, to)
	}
	if q.Get("limit") != "" {
		return problem(http.StatusBadRequest, "limit and width exclude each other: a chart has as many points as its width needs")
	}
	if q.Get("to") == "" {
		to = time.Now()
	}
	if q.Get("from") == "" {
		from = to.Add(-24 * time.Hour)
	}
	c, err := a.Store.Chart(r.Context(), d.ID, name, from, to, width)
	if err != nil {
		return err
	}
	if err := a.known(d, name, len(c.Samples)+len(c.Rows)); err != nil {
		return err
	}
	return writeChart(w, d, name, c)
}

func (a *API) rawHistory(w http.ResponseWriter, r *http.Request, d registry.Device, name string, from, to time.Time) error {
	limit := 10_000
	if s := r.URL.Query().Get("limit"); s != "" {
		var err error
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > 1_000_000 {
			return problem(http.StatusBadRequest, "limit: want 1 to 1000000, not %q", s)
		}
	}
	samples, err := a.Store.History(r.Context(), d.ID, name, from, to, limit)
	if err != nil {
		return err
	}
	if err := a.known(d, name, len(samples)); err != nil {
		return err
	}
	beginSeries(w, d.ID, name).samples(samples)
	return nil
}

// known refuses a name of which nothing was found and that the device does not
// have.
func (a *API) known(d registry.Device, name string, found int) error {
	if points := d.Description.Points(); found == 0 && len(points) > 0 && d.Description.Point(name) == nil {
		return unknownName(d.ID, name, points)
	}
	return nil
}

// series writes {"device":…,"name":…,"samples":[{"t":s since 1970,"v":…},…]} as it
// goes: a million of them would be hundreds of megabytes at once.
type series struct {
	w http.ResponseWriter
	b []byte
}

func beginSeries(w http.ResponseWriter, device, name string) *series {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	b := protocol.Text(device).AppendJSON([]byte(`{"device":`))
	return &series{w, protocol.Text(name).AppendJSON(append(b, `,"name":`...))}
}

func (s *series) samples(all []store.Sample) {
	s.list("samples", len(all), func(b []byte, i int) []byte {
		b = protocol.AppendSeconds(append(b, `{"t":`...), all[i].Time)
		return append(all[i].Value.AppendJSON(append(b, `,"v":`...)), '}')
	})
}

// list writes a list of n things and the end of it all.
func (s *series) list(name string, n int, add func(b []byte, i int) []byte) {
	s.b = append(append(append(s.b, `,"`...), name...), `":[`...)
	for i := range n {
		if i > 0 {
			s.b = append(s.b, ',')
		}
		s.b = add(s.b, i)
		if len(s.b) >= 32<<10 {
			if _, err := s.w.Write(s.b); err != nil {
				return // the reader went
			}
			s.b = s.b[:0]
		}
	}
	_, _ = s.w.Write(append(s.b, "]}\n"...))
}

// unknownName is for a name that a device neither has nor said in the span.
func unknownName(device, name string, points []*protocol.Point) error {
	var has []string
	for _, p := range points {
		has = append(has, p.Name)
	}
	return problem(http.StatusNotFound, "%s has no %q and said none in that time; it has %s", device, name, strings.Join(has, ", "))
}

// seconds writes ns as seconds with at least one decimal and no digit lost.
func seconds(ns int64) string { return string(protocol.AppendSeconds(nil, ns)) }

// export streams every record as JSON lines or CSV, in the order of the log.
// The store is read in pages, so a slow reader holds nothing.
func (a *API) export(w http.ResponseWriter, r *http.Request) error {
	device := r.PathValue("device")
	if device != "" {
		if _, err := a.device(r); err != nil {
			return err
		}
	}
	from, to, err := span(r)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(w, 32<<10)
	var write func(e *store.Entry, rec *protocol.Record) error
	switch f := r.URL.Query().Get("format"); f {
	case "", "jsonl":
		w.Header().Set("Content-Type", "application/jsonl")
		write = jsonLines(buf)
	case "csv":
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		write = csvLines(buf)
	default:
		return problem(http.StatusBadRequest, "format: want jsonl or csv, not %q", f)
	}
	if err := a.Store.Export(r.Context(), device, from, to, write); err != nil {
		a.Log.Warn("export ended early", "device", device, "err", err)
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
	return buf.Flush()
}

// jsonLines: {"device":"d","boot":"0102…","seq":1,"received":ms,"n":"temperature","v":21.5,"t":s}.
func jsonLines(w *bufio.Writer) func(*store.Entry, *protocol.Record) error {
	var b []byte
	return func(e *store.Entry, r *protocol.Record) error {
		b = append(b[:0], `{"device":`...)
		b = protocol.Text(e.Device).AppendJSON(b)
		b = fmt.Appendf(b, `,"boot":"%x"`, e.Boot)
		if e.Command != 0 {
			b = fmt.Appendf(b, `,"command":%d`, e.Command)
		} else {
			b = fmt.Appendf(b, `,"seq":%d`, e.Seq)
		}
		b = fmt.Appendf(b, `,"received":%d,"n":"%s",`, e.Received, r.Name)
		b = r.Value.AppendSenML(b)
		b = append(b, `,"t":`...)
		b = append(protocol.AppendSeconds(b, r.Time), '}', '\n')
		_, err := w.Write(b)
		return err
	}
}

func csvLines(w *bufio.Writer) func(*store.Entry, *protocol.Record) error {
	_, _ = w.WriteString("device,name,time,value,received,boot,seq,command\n")
	c := csv.NewWriter(w)
	return func(e *store.Entry, r *protocol.Record) error {
		seq, cmd := strconv.FormatUint(e.Seq, 10), ""
		if e.Command != 0 {
			seq, cmd = "", strconv.FormatUint(e.Command, 10)
		}
		err := c.Write([]string{
			e.Device, r.Name, seconds(r.Time), r.Value.String(),
			strconv.FormatInt(e.Received, 10), fmt.Sprintf("%x", e.Boot), seq, cmd,
		})
		c.Flush()
		return err
	}
}
