package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// A report is one run.
type report struct {
	Command  string     `json:"command"`
	Date     string     `json:"date"`
	Machine  string     `json:"machine"`
	Versions []string   `json:"versions"`
	Results  []result   `json:"results,omitempty"`
	Sections []*section `json:"sections,omitempty"`
}

// A section is a table that asks for nothing: it only shows.
type section struct {
	Name    string     `json:"name"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

func newReport(b *bench, minutes float64, parts []string) *report {
	versions := []string{
		firstLine(b.gateway, "version"), firstLine("git", "-C", b.source, "describe", "--always", "--dirty"),
		runtime.Version(), firstLine("mkfs.ext4", "-V"),
	}
	// Not all say their version themselves. Those that are not installed are no
	// error here.
	peers, _ := exec.Command("dpkg-query", "-W", "-f", "${Package} ${Version}\n", "sqlite3", "influxdb", "victoria-metrics").Output()
	versions = append(versions, strings.FieldsFunc(string(peers), func(r rune) bool { return r == '\n' })...)
	command := fmt.Sprintf("bench/store/run.sh --minutes %g", minutes)
	if b.format.mount != "" {
		command += " --mount " + b.format.mount
	}
	return &report{
		Command:  strings.Join(append([]string{command}, parts...), " "),
		Date:     time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		Machine:  machine(),
		Versions: versions,
	}
}

func (r *report) section(name string, columns ...string) *section {
	s := &section{Name: name, Columns: columns}
	r.Sections = append(r.Sections, s)
	return s
}

func (s *section) add(cells ...string) { s.Rows = append(s.Rows, cells) }

// print writes the report for people.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s · %s\n%s\n$ %s\n", r.Date, r.Machine, strings.Join(r.Versions, " · "), r.Command)
	for _, s := range r.Sections {
		fmt.Fprintf(w, "\n%s\n", s.Name)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, strings.Join(s.Columns, "\t"))
		for _, row := range s.Rows {
			fmt.Fprintln(t, strings.Join(row, "\t"))
		}
		t.Flush()
	}
	printResults(w, r.Results)
}

func (r *report) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// machine names cores, memory and kernel.
func machine() string {
	var s syscall.Sysinfo_t
	syscall.Sysinfo(&s)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d cores, %d MiB, Linux %s, ext4 on a loop device", runtime.GOARCH, runtime.NumCPU(),
		uint64(s.Totalram)*uint64(s.Unit)>>20, strings.TrimSpace(string(kernel)))
}

// firstLine is the first line of what a command says.
func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput()
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first)
}
