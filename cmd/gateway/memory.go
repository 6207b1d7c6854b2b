package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// watchMemory trades memory for time where that is cheap, both ways.
func watchMemory(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	idle := idle{quiet: 256 << 10, worth: 4 << 20}
	pace := pace{percent: 100, fixed: os.Getenv("GOGC") != ""}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		heap := readHeap()
		if idle.surplus(heap) {
			debug.FreeOSMemory()
			heap = readHeap()
		}
		pace.set(heap.live)
	}
}

// heap is what the runtime says of its heap, in bytes.
type heap struct {
	made  uint64 // all that was ever allocated
	live  uint64 // what the last collection found in use
	taken uint64 // from the system: objects, dead ones too, and room for more
}

func readHeap() heap {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return heap{made: s[0].Value.Uint64(), live: s[1].Value.Uint64(), taken: s[2].Value.Uint64() + s[3].Value.Uint64()}
}

// idle tells when a start, a storm of devices or another great work is over:
// then what only it needed goes back to the system. The runtime would do so by
// itself in the course of minutes, but it keeps room for as much again as is in
// use: on a small machine that is the greater part of what a link at rest seems
// to take. It costs one collection, and at most one in half a minute.
type idle struct {
	quiet uint64 // allocated since the last look at most, when nothing much is done
	worth uint64 // not in use at least, to be worth a collection
	made  uint64 // at the last look
	rests bool   // it has been quiet once: what the start took is given back
}

func (i *idle) surplus(h heap) bool {
	since := h.made - i.made
	i.made = h.made
	if since > i.quiet {
		return false
	}
	first := !i.rests // the last collection was in the midst of the start and found all of it in use
	i.rests = true
	return first || h.taken >= h.live+i.worth
}

// headroom is how much garbage may gather before it is collected. The runtime's
// rule, as much as is in use, makes a small gateway under load collect several
// times a second, a twelfth of its time; one with a large heap keeps to that
// rule. One that rests does not get there.
const headroom = 32 << 20

// pace keeps GOGC at what headroom asks for, unless the environment has set it.
type pace struct {
	percent int
	fixed   bool
}

func (p *pace) set(live uint64) {
	percent := collectAt(live)
	if p.fixed || 4*percent < 5*p.percent && 5*percent > 4*p.percent {
		return // setting it stops everyone for a moment
	}
	p.percent = percent
	debug.SetGCPercent(percent)
}

// collectAt is the GOGC that gives a heap of so many bytes its headroom.
func collectAt(live uint64) int {
	return int(min(max(headroom*100/max(live, 1), 100), 800))
}
