// Command bench measures the gateway beside mosquitto, in one run on one
// machine: servers on one core, the load on another. README.md says how to
// read what it prints.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A bench is one run: what it measures with, and what it has found.
type bench struct {
	gateway, source, dir string
	core                 string // of the servers
	watch                string // a file for perf
	quick, burst         bool
	window               time.Duration
	devices, connections int
	fillBytes            int64
	fillTime             time.Duration
	report               *report
}

// A part compares one thing and can be run alone.
type part struct {
	name string
	run  func(*bench) error
}

// parts in the order of a full run.
var parts = []part{
	{"telemetry", telemetry},
	{"commands", commands},
	{"links", links},
	{"start", start},
	{"sizes", sizes},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	b := &bench{}
	var fill int64
	flag.StringVar(&b.gateway, "gateway", "hearthgate", "the gateway's binary")
	flag.StringVar(&b.source, "source", ".", "the gateway's source, for sizes")
	flag.StringVar(&b.dir, "dir", os.TempDir(), "where stores are made: the disk that is measured")
	flag.StringVar(&b.core, "core", "0", "the core for the servers")
	flag.BoolVar(&b.quick, "quick", false, "seconds instead of minutes; shows that all works")
	flag.DurationVar(&b.window, "window", 6*time.Second, "how long a load is measured")
	flag.BoolVar(&b.burst, "burst", false, "under load, write all frames that a device may send at once")
	flag.IntVar(&b.devices, "devices", 200, "devices under load")
	flag.IntVar(&b.connections, "connections", 5000, "idle connections")
	flag.Int64Var(&fill, "fill", 1024, "MiB of the filled store")
	flag.DurationVar(&b.fillTime, "fill-time", time.Minute, "how long filling it may take")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.StringVar(&b.watch, "profile", "", "only put the gateway under the load of one part, and write what perf sees to this file")
	flag.Usage = usage
	flag.Parse()
	if b.quick {
		b.window, b.connections, fill, b.fillTime = time.Second, 500, 32, 5*time.Second
	}
	b.fillBytes = fill << 20
	if b.watch != "" {
		return b.profile(flag.Args())
	}
	b.report = newReport(b)
	err := b.run(flag.Args())
	if *asJSON {
		return errors.Join(err, b.report.json(os.Stdout))
	}
	b.report.table(os.Stdout)
	return err
}

// run runs the named parts, or all. A part that fails does not stop the others.
func (b *bench) run(names []string) error {
	var failed error
	for _, n := range names {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == n }) {
			return fmt.Errorf("there is no part %q", n)
		}
	}
	for _, p := range parts {
		if len(names) > 0 && !slices.Contains(names, p.name) {
			continue
		}
		b.report.command = "bench/run.sh " + p.name
		if b.quick {
			b.report.command = "bench/run.sh --quick " + p.name
		}
		fmt.Fprintln(os.Stderr, p.name)
		if err := p.run(b); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return failed
}

func usage() {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	fmt.Fprintf(os.Stderr, "usage: bench [flags] [part...]\nparts: %s (none named = all)\n", strings.Join(names, ", "))
	flag.PrintDefaults()
}
