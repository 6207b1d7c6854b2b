package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// crowded is how many sessions must have begun to be worth a collection.
const crowded = 100

// watchMemory trades memory for time where that is cheap, both ways.
func (g *gateway) watchMemory(ctx context.Context) {
	const every = 2 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	arrivals := arrivals{starting: true}
	heap := heap{percent: 100, fixed: os.Getenv("GOGC") != ""}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if arrivals.settled(g.hub.Counters.Accepted.Load()) {
			debug.FreeOSMemory()
		}
		heap.pace()
	}
}

// arrivals tells when the start, or a crowd that came, is over: then what only
// their coming needed goes back to the system. The runtime would do so by itself
// in the course of minutes, but it keeps room for as much again as is in use, and
// after a storm that room was touched: on a small machine it is the greater part
// of what a link at rest seems to take. It costs one collection a crowd.
type arrivals struct {
	starting      bool
	before, given uint64 // sessions that had begun at the last look; when memory was given back
}

func (a *arrivals) settled(sessions uint64) bool {
	quiet := sessions == a.before
	a.before = sessions
	if !quiet || !a.starting && sessions-a.given < crowded {
		return false
	}
	a.starting, a.given = false, sessions
	return true
}

// headroom is how much garbage may gather before it is collected. The runtime's
// rule, as much as is in use, makes a small gateway under load collect several
// times a second, a twelfth of its time; one with a large heap keeps to that
// rule. One that rests does not get there: it is collected every two minutes.
const headroom = 32 << 20

// heap keeps GOGC at what headroom asks for, unless the environment has set it.
type heap struct {
	percent int
	fixed   bool
}

func (h *heap) pace() {
	if h.fixed {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := collectAt(live[0].Value.Uint64())
	if 4*percent < 5*h.percent && 5*percent > 4*h.percent {
		return // setting it stops everyone for a moment
	}
	h.percent = percent
	debug.SetGCPercent(percent)
}

// collectAt is the GOGC that gives a heap of so many bytes its headroom.
func collectAt(live uint64) int {
	return int(min(max(headroom*100/max(live, 1), 100), 800))
}
