package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// profile loads the gateway at 8 in flight while perf watches it.
func (b *bench) profile(file string) error {
	const inFlight = 8
	return b.withGateway(func(g *gateway) error {
		perf := exec.Command("perf", "record", "-e", "cpu-clock", "-F", "997", "-g", "-o", file,
			"-p", strconv.Itoa(g.pid()), "--", "sleep", strconv.Itoa(int(b.window.Seconds())))
		perf.Stdout, perf.Stderr = os.Stderr, os.Stderr
		if err := perf.Start(); err != nil {
			return err
		}
		f, err := b.loadGateway(g, inFlight, false)
		if err != nil {
			return err
		}
		fmt.Printf("%.0f messages/s, %.1f µs CPU a message, %s\n", f.rate, f.cpu, f.note())
		return perf.Wait()
	}, "--store.commit", "0")
}
