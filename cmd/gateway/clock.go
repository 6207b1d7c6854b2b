package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/hearthgate/hearthgate/store"
)

// buildDate is a moment that no right clock is before. A gateway whose clock is
// (a Pi has no RTC) does not correct anybody's times by it.
var buildDate = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// watchClock notes steps of the wall clock of more than 10 s in the log, so
// that whoever reads times later can see where they jumped.
func watchClock(ctx context.Context, s *store.Store, log *slog.Logger) {
	const every = 10 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		step := now.Round(0).Sub(last.Round(0)) - now.Sub(last) // wall less monotonic
		last = now
		if step.Abs() <= 10*time.Second {
			continue
		}
		log.Warn("the clock was set", "step", step.Round(time.Millisecond), "trusted", !now.Before(buildDate))
		e := &store.Entry{Kind: store.ClockStep, Received: now.UnixMilli(), Step: step.Milliseconds()}
		if _, err := s.Append(e, store.Measured, nil); err != nil {
			log.Warn("the step of the clock is not in the log", "err", err)
		}
	}
}
