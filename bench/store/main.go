// Command store measures what it costs a disk to keep a home's history: bytes
// that reach it, bytes at rest, syncs and CPU, for the gateway and for what a
// user would take instead. README.md says how to read what it prints.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A bench is one run: what it measures with, and what it has found.
type bench struct {
	gateway, source string
	dir             string // of images and mount points
	home            string // a store that is read
	window          time.Duration
	format          format // of the contenders' disks
	report          *report

	mu        sync.Mutex
	disks     []*disk
	processes []*process
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run() (failed error) {
	b := &bench{}
	minutes := flag.Float64("minutes", 10, "how long the home is measured, in real time")
	quick := flag.Bool("quick", false, "one minute: shows that all works")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.StringVar(&b.gateway, "gateway", "hearthgate", "the gateway's binary")
	flag.StringVar(&b.source, "source", ".", "its source, for the codec's data sets")
	flag.StringVar(&b.dir, "dir", os.TempDir(), "where images and mount points are made")
	flag.StringVar(&b.home, "home", "", "the store that the part reads is done with")
	flag.StringVar(&b.format.mount, "mount", "", "mount options for the contenders' disks, such as commit=60")
	flag.Usage = usage
	flag.Parse()
	if *quick {
		*minutes = 1
	}
	b.window = time.Duration(*minutes * float64(time.Minute))
	names := flag.Args()
	for _, n := range names {
		if n != "codec" && n != "writer" && n != "reads" && contender(n) == nil {
			usage()
			return fmt.Errorf("there is no part %q", n)
		}
	}
	b.report = newReport(b, *minutes, names)

	// After an interrupt, disks go away as they do after an error.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- b.run(names) }()
	select {
	case failed = <-done:
	case s := <-interrupted:
		failed = errors.New(s.String())
		b.stopProcesses()
	}
	failed = errors.Join(failed, b.closeDisks())
	if *asJSON {
		return errors.Join(failed, b.report.json(os.Stdout))
	}
	b.report.print(os.Stdout)
	return failed
}

// run measures what is named: all contenders and the codec if nothing is.
func (b *bench) run(names []string) error {
	var failed error
	if len(names) == 0 || slices.Contains(names, "codec") {
		failed = b.codec()
	}
	if slices.Contains(names, "writer") {
		failed = errors.Join(failed, b.writer())
	}
	if slices.Contains(names, "reads") {
		failed = errors.Join(failed, b.reads())
	}
	var chosen []*store
	for i := range stores {
		if s := &stores[i]; len(names) == 0 || slices.Contains(names, s.name) {
			chosen = append(chosen, s)
		}
	}
	return errors.Join(failed, b.compare(chosen))
}

// disk makes one that goes away when the run ends.
func (b *bench) disk(name string, f format) (*disk, error) {
	d, err := newDisk(b.dir, name, f)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.disks = append(b.disks, d)
	}
	return d, err
}

func (b *bench) closeDisks() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var failed error
	for _, d := range b.disks {
		if err := d.close(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", filepath.Base(d.dir), err))
		}
	}
	return failed
}

func (b *bench) stopProcesses() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.processes {
		p.stop()
	}
}

// together does n things at the same time and waits for all.
func together(n int, do func(i int) error) error {
	failed := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { failed[i] = do(i) })
	}
	all.Wait()
	return errors.Join(failed...)
}

func usage() {
	names := []string{"codec", "writer", "reads"}
	for _, s := range stores {
		names = append(names, s.name)
	}
	fmt.Fprintf(os.Stderr, "usage: bench/store/run.sh [flags] [part...]\nparts: %s (none named = all but writer and reads)\n", strings.Join(names, ", "))
	flag.PrintDefaults()
}
