package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"text/tabwriter"
	"time"
)

// A store is a contender: something that keeps a home's history.
type store struct {
	name  string
	needs string // a program, and Debian's package of it
	start func(b *bench, name string, d *disk) (keeper, error)
	ours  bool
	note  string
}

// A keeper is a store at work. Calls come one at a time.
type keeper interface {
	// take hands over what a device measured. It does not wait for the disk.
	take(at time.Time, device int, values []float64) error
	// finish waits until all that was taken is acknowledged, and says how many
	// values that were.
	finish() (acknowledged int, err error)
	server() *process
}

var stores = []store{
	{name: "ours-1s", start: startOurs("1s"), ours: true, note: "each value acknowledged"},
	{name: "ours-5s", start: startOurs("5s"), ours: true, note: "each value acknowledged"},
	{name: "sqlite", needs: "sqlite3", start: startSQLite, note: "Home Assistant's tables, a row for each value, a commit every 5 s; CPU is sqlite3's, without Python"},
	{name: "influxdb", needs: "influxd", start: startInflux, note: "a batch every 10 s, its monitoring off"},
	{name: "victoriametrics", needs: "victoria-metrics", start: startVictoria, note: "a batch every 10 s"},
}

func contender(name string) *store {
	for i := range stores {
		if stores[i].name == name {
			return &stores[i]
		}
	}
	return nil
}

// A result is what one contender cost. All but the sums is by sample.
type result struct {
	Store        string  `json:"store"`
	Samples      int     `json:"samples"`
	Acknowledged int     `json:"acknowledged"`
	Written      float64 `json:"written"`            // bytes that reached the disk
	Running      float64 `json:"running"`            // of them: before the stop
	Data         float64 `json:"data,omitempty"`     // of them: blocks of files,
	Journal      float64 `json:"journal,omitempty"`  // of the file system's journal,
	Tables       float64 `json:"tables,omitempty"`   // inodes, bitmaps and the like
	HandedOver   float64 `json:"handed_over"`        // by the process, before its stop
	Flushes      float64 `json:"flushes_per_minute"` // of the disk's cache
	Grown        float64 `json:"at_rest"`            // what the files occupy now and did not when empty
	EmptyBytes   int64   `json:"empty_bytes"`        // of the files before the first sample
	CPU          float64 `json:"cpu_us"`
	Verdict      string  `json:"verdict,omitempty"` // of written: "goal", "ship" or "missed"
	Note         string  `json:"note,omitempty"`
}

// What DESIGN.md asks of bytes that reach the disk, and of bytes at rest.
const (
	shipWritten, goalWritten = 120, 20
	shipAtRest, goalAtRest   = 0.8, 0.45
)

// compare lets all of them keep the same home at the same time, each on a disk
// of its own: they take each other's time, but no bytes. One that fails or is
// not installed does not stop the others.
func (b *bench) compare(chosen []*store) error {
	results := make([]*result, len(chosen))
	failed := together(len(chosen), func(i int) (err error) {
		s := chosen[i]
		if s.needs != "" {
			if _, err := exec.LookPath(s.needs); err != nil {
				fmt.Fprintf(os.Stderr, "%s is left out: there is no %s\n", s.name, s.needs)
				return nil
			}
		}
		results[i], err = b.measure(s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		return nil
	})
	for _, r := range results {
		if r != nil {
			b.report.Results = append(b.report.Results, *r)
		}
	}
	return failed
}

// measure runs one contender from an empty store to its clean stop.
func (b *bench) measure(s *store) (*result, error) {
	d, err := b.disk(s.name, b.format)
	if err != nil {
		return nil, err
	}
	k, err := s.start(b, s.name, d)
	if err != nil {
		return nil, err
	}
	p := k.server()
	defer p.stop()
	time.Sleep(2 * time.Second) // for what a server does after its start
	if err := d.sync(); err != nil {
		return nil, err
	}
	empty, err1 := d.atRest()
	before, err2 := d.wear()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	cpu, handed := p.cpu(), p.handedOver()

	samples, err := live(k, b.window)
	if err != nil {
		return nil, err
	}
	acknowledged, err := k.finish()
	if err != nil {
		return nil, err
	}
	handed = p.handedOver() - handed
	running, err := d.wear()
	if err != nil {
		return nil, err
	}
	p.stop()
	if err := d.sync(); err != nil {
		return nil, err
	}
	after, err1 := d.wear()
	rest, err2 := d.atRest()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	w, n := after.less(before), float64(samples)
	r := &result{
		Store: s.name, Samples: samples, Acknowledged: acknowledged,
		Written: float64(w.Written) / n, Running: float64(running.less(before).Written) / n,
		Data: float64(w.Data) / n, Journal: float64(w.Journal) / n, Tables: float64(w.Metadata) / n,
		HandedOver: float64(handed) / n, Flushes: float64(w.Flushes) / b.window.Minutes(),
		Grown: float64(rest-empty) / n, EmptyBytes: empty,
		CPU: float64((p.cpu() - cpu).Microseconds()) / n, Note: s.note,
	}
	if acknowledged != samples {
		return r, fmt.Errorf("%d of %d values were acknowledged", acknowledged, samples)
	}
	if s.ours {
		r.Verdict = verdict(r.Written)
	}
	return r, nil
}

func verdict(written float64) string {
	switch {
	case written <= goalWritten:
		return "goal"
	case written <= shipWritten:
		return "ship"
	default:
		return "missed"
	}
}

// live plays the home in real time. Devices take turns, evenly spread.
func live(k keeper, window time.Duration) (samples int, err error) {
	h, began := newHome(), time.Now()
	step := interval / deviceCount
	for turn := range int(window / step) {
		at := began.Add(time.Duration(turn) * step)
		time.Sleep(time.Until(at))
		device := turn % deviceCount
		values := h.measure(device)
		if err := k.take(at, device, values); err != nil {
			return samples, err
		}
		samples += len(values)
	}
	return samples, nil
}

func printResults(w io.Writer, all []result) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%d devices, 6 values each %v; bytes by sample, the clean stop and a sync included\n", deviceCount, interval)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "store\tsamples\tacked\twritten\tship\tgoal\tmet\trunning\tdata\tjournal\ttables\thanded over\tflushes/min\tat rest\tempty\tCPU\tnote")
	for _, r := range all {
		ship, goal := "", ""
		if r.Verdict != "" {
			ship, goal = fmt.Sprintf("≤ %d", shipWritten), fmt.Sprintf("≤ %d", goalWritten)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%.1f B\t%s\t%s\t%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.0f\t%.2f B\t%d KiB\t%.1f µs\t%s\n", r.Store, r.Samples, r.Acknowledged,
			r.Written, ship, goal, r.Verdict, r.Running, r.Data, r.Journal, r.Tables, r.HandedOver, r.Flushes, r.Grown, r.EmptyBytes>>10, r.CPU, r.Note)
	}
	t.Flush()
	fmt.Fprintf(w, "at rest (ship ≤ %g B, goal ≤ %g B) is what the files grew by; of minutes it says little, since files grow by steps: see codec\n", shipAtRest, goalAtRest)
}
