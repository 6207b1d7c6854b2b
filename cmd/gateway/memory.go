package main

import (
	"context"
	"runtime/debug"
	"time"
)

// crowded is how many sessions must have begun to be worth a collection.
const crowded = 100

// giveBack returns to the system what opening the store and the arrival of many
// devices took and nobody needs any more. The runtime would do so by itself in
// the course of minutes, but it keeps room for as much again as is in use, and
// after a storm that room was touched: on a small machine it is the greater part
// of what a link at rest seems to take. It costs one collection, and only when a
// crowd came and has settled.
func (g *gateway) giveBack(ctx context.Context) {
	const every = 2 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	var before, given uint64
	for starting := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := g.hub.Counters.Accepted.Load()
		settled := now == before
		before = now
		if settled && (starting || now-given >= crowded) {
			starting, given = false, now
			debug.FreeOSMemory()
		}
	}
}
