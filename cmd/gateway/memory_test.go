package main

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/devices"
)

// Memory is given back after the start and after each crowd that has settled,
// never while one comes and never for a few devices.
func TestMemoryIsGivenBackWhenACrowdHasSettled(t *testing.T) {
	forced := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{hub: &devices.Hub{}}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { g.giveBack(ctx); close(done) }()
		sessions := &g.hub.Counters.Accepted
		for _, step := range []struct {
			what  string
			begin uint64
			want  uint32
		}{
			{"the start", 0, 1},
			{"nobody came", 0, 0},
			{"a crowd comes", 500, 0},
			{"and is still coming", 500, 0},
			{"and has settled", 0, 1},
			{"nobody came since", 0, 0},
			{"a few come", crowded - 1, 0},
			{"and have settled", 0, 0},
			{"one more", 1, 0},
			{"they are a crowd by now", 0, 1},
		} {
			before := forced()
			sessions.Add(step.begin)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := forced() - before; got != step.want {
				t.Errorf("%s: %d collections, want %d", step.what, got, step.want)
			}
		}
		stop()
		<-done
	})
}
