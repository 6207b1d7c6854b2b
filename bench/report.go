package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// A bound is one cell of the table of goals: a multiple of the peer's figure,
// or, without a peer, a figure. The zero value asks for nothing.
type bound struct {
	Factor float64 `json:"factor"`
	Least  bool    `json:"at_least,omitempty"` // more is better
}

func atMost(x float64) bound  { return bound{Factor: x} }
func atLeast(x float64) bound { return bound{Factor: x, Least: true} }

func (b bound) String() string {
	switch {
	case b.Factor == 0:
		return ""
	case b.Least:
		return fmt.Sprintf("≥ %g", b.Factor)
	default:
		return fmt.Sprintf("≤ %g", b.Factor)
	}
}

func (b bound) met(x float64) bool { return b.Least && x >= b.Factor || !b.Least && x <= b.Factor }

// A line is one figure beside the peer's. A figure of 0 was not measured.
type line struct {
	What    string  `json:"what"`
	Ours    float64 `json:"ours,omitempty"`
	Peer    float64 `json:"peer,omitempty"`
	Unit    string  `json:"unit"`
	Ship    bound   `json:"ship,omitzero"`
	Goal    bound   `json:"goal,omitzero"`
	Verdict string  `json:"verdict,omitempty"` // "goal", "ship" or "missed"
	Failed  bool    `json:"failed,omitempty"`  // the figure counts for nothing: see the note
	Note    string  `json:"note,omitempty"`
	Command string  `json:"command"`
}

// ratio is what the bounds are about.
func (l line) ratio() float64 {
	if l.Peer == 0 {
		return l.Ours
	}
	return l.Ours / l.Peer
}

func (l line) verdict() string {
	switch {
	case l.Failed:
		return "FAILED"
	case l.Ship.Factor == 0 || l.Ours == 0:
		return ""
	case l.Goal.met(l.ratio()):
		return "goal"
	case l.Ship.met(l.ratio()):
		return "ship"
	default:
		return "missed"
	}
}

// A report is one run.
type report struct {
	Date     string   `json:"date"`
	Machine  string   `json:"machine"`
	Versions []string `json:"versions"`
	Disk     string   `json:"disk"`
	Quick    bool     `json:"quick"`
	Lines    []line   `json:"lines"`

	command  string // that repeats the part at work
	progress io.Writer
}

func newReport(b *bench) *report {
	return &report{
		Date: time.Now().UTC().Format("2006-01-02 15:04 UTC"), Machine: machine(), Quick: b.quick,
		Versions: []string{firstLine(b.gateway, "version"), firstLine("mosquitto", "-h"), runtime.Version()},
		Disk:     diskSpeed(b.dir), progress: os.Stderr,
	}
}

func (r *report) add(l line) {
	l.Command, l.Verdict = r.command, l.verdict()
	r.Lines = append(r.Lines, l)
	fmt.Fprintf(r.progress, "  %s: %s (peer %s) %s\n", l.What, figure(l.Ours, l.Unit), figure(l.Peer, l.Unit), l.Verdict)
}

func figure(x float64, unit string) string {
	if x == 0 {
		return "–"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(x)))))
	return fmt.Sprintf("%.*f %s", min(digits, 2), x, unit)
}

// table writes the report for people.
func (r *report) table(w io.Writer) {
	fmt.Fprintf(w, "%s · %s\n%s · %s\n", r.Date, r.Machine, strings.Join(r.Versions, " · "), r.Disk)
	if r.Quick {
		fmt.Fprintln(w, "a quick run: it shows that all works, its figures are coarse")
	}
	command := ""
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range r.Lines {
		if l.Command != command {
			command = l.Command
			fmt.Fprintf(t, "\n$ %s\nwhat\tours\tpeer\tratio\tship\tgoal\tmet\tnote\n", command)
		}
		ratio := ""
		if l.Ours != 0 && l.Peer != 0 {
			ratio = fmt.Sprintf("%.2f", l.ratio())
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.What,
			figure(l.Ours, l.Unit), figure(l.Peer, l.Unit), ratio, l.Ship, l.Goal, l.Verdict, l.Note)
	}
	t.Flush()
}

func (r *report) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// machine names processor, cores, memory and kernel.
func machine() string {
	model := runtime.GOARCH
	info, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(l, ":"); ok && (strings.HasPrefix(key, "model name") || strings.HasPrefix(key, "Model")) {
			model = strings.TrimSpace(value)
			break
		}
	}
	var s syscall.Sysinfo_t
	syscall.Sysinfo(&s)
	cores, _ := os.ReadFile("/sys/devices/system/cpu/online")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, cores %s, %d MiB, Linux %s", model, strings.TrimSpace(string(cores)),
		uint64(s.Totalram)*uint64(s.Unit)>>20, strings.TrimSpace(string(kernel)))
}

// firstLine is the first line of what a command says.
func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput() // mosquitto -h exits with 1
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first)
}

// diskSpeed is the median time of a synced write of 4 KiB, since what is
// durable can be no faster than that.
func diskSpeed(dir string) string {
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return "disk: " + err.Error()
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	for range 51 {
		began := time.Now()
		f.WriteAt(make([]byte, 4096), 0)
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return "disk: " + err.Error()
		}
		took = append(took, time.Since(began))
	}
	return fmt.Sprintf("4 KiB write and sync %v", median(took).Round(10*time.Microsecond))
}
