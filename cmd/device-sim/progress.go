package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// watch shows how it goes: one line that changes on a terminal, a plain line
// every few seconds elsewhere.
func (p *play) watch(ctx context.Context) {
	every, form := 5*time.Second, "%s\n"
	if isTerminal(p.out) {
		every, form = 500*time.Millisecond, "\r%s\x1b[K"
		defer fmt.Fprintln(p.out)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if why := p.unwelcome(); why != "" {
			fmt.Fprintf(p.out, form, why)
			continue
		}
		sum := p.sum()
		fmt.Fprintf(p.out, form, fmt.Sprintf("%4.0f s  %d/%d devices seen  %d acked (%.0f/s)  %d pending  %d commands  p99 %s",
			sum.Seconds, p.welcomed.Load(), sum.Devices, sum.Acked,
			float64(sum.Acked-last)/every.Seconds(), sum.Pending, sum.Commands, ms(sum.Latency.P99)))
		last = sum.Acked
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// list is a small tally as text, in a fixed order: "close 4007: 2, broken: 1".
func list(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s: %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}
