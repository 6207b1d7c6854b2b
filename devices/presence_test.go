package devices

import (
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/store"
)

// A step is an event at a moment (after the story's begin) and what must hold
// after it.
type step struct {
	at      time.Duration
	event   func(*presence, time.Time) bool
	changed bool
	state   store.PresenceState
	due     time.Duration // deadline, after the begin; 0 = none
}

func hello(wake uint64) func(*presence, time.Time) bool {
	return func(p *presence, now time.Time) bool { return p.connected(now, wake) }
}

func says(seconds uint64) func(*presence, time.Time) bool {
	return func(p *presence, now time.Time) bool { return p.bye(now, seconds) }
}

func breaks(p *presence, now time.Time) bool { return p.ended(now, "connection lost") }

func due(p *presence, now time.Time) bool { return p.expired(now) }

func TestPresence(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"a link breaks and the device comes back within its grace", []step{
			{0, hello(0), true, store.Online, 0},
			{m, breaks, false, store.Online, m + 10*s},
			{m + 5*s, hello(0), false, store.Online, 0},
		}},
		{"a link breaks and nobody comes", []step{
			{0, hello(0), true, store.Online, 0},
			{m, breaks, false, store.Online, m + 10*s},
			{m + 10*s, due, true, store.Lost, 0},
			{h, hello(0), true, store.Online, 0},
		}},
		{"a sleeper says for how long and comes back", []step{
			{0, hello(300), true, store.Online, 0},
			{s, says(600), true, store.Sleeping, s + 15*m},
			{2 * s, breaks, false, store.Sleeping, s + 15*m},
			{10 * m, hello(300), true, store.Online, 0},
		}},
		{"a sleeper oversleeps", []step{
			{0, hello(0), true, store.Online, 0},
			{0, says(600), true, store.Sleeping, 15 * m},
			{0, breaks, false, store.Sleeping, 15 * m},
			{15 * m, due, true, store.Lost, 0},
		}},
		{"the link of one with a wake interval just ends", []step{
			{0, hello(300), true, store.Online, 0},
			{m, breaks, true, store.Sleeping, m + 450*s},
		}},
		{"bye without a time is lost at once, wake interval or not", []step{
			{0, hello(300), true, store.Online, 0},
			{m, says(0), true, store.Lost, 0},
			{m, breaks, false, store.Lost, 0},
		}},
		{"a second nap is a new one", []step{
			{0, hello(0), true, store.Online, 0},
			{0, says(60), true, store.Sleeping, 90 * s},
			{m, hello(0), true, store.Online, 0},
			{m, says(120), true, store.Sleeping, m + 180*s},
		}},
		{"a revoked device stays disabled whatever its link does", []step{
			{0, hello(0), true, store.Online, 0},
			{m, (*presence).disabled, true, store.Disabled, 0},
			{m, breaks, false, store.Disabled, 0},
			{m, says(60), false, store.Disabled, 0},
			{h, (*presence).enabled, true, store.Lost, 0},
			{h, hello(0), true, store.Online, 0},
		}},
		{"a nap of ages does not overflow", []step{
			{0, hello(1<<63 + 5), true, store.Online, 0},
			{0, says(1<<63 + 5), true, store.Sleeping, longestNap * s * 3 / 2},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p presence
			begin := time.UnixMilli(1795219200000)
			for i, st := range c.steps {
				if changed := st.event(&p, begin.Add(st.at)); changed != st.changed || p.State != st.state {
					t.Fatalf("step %d: changed %t to %s, want %t to %s", i, changed, p.State, st.changed, st.state)
				}
				var want time.Time
				if st.due != 0 {
					want = begin.Add(st.due)
				}
				if !p.deadline.Equal(want) {
					t.Fatalf("step %d: deadline %v, want %v", i, p.deadline, want)
				}
				if st.changed && p.Since != begin.Add(st.at).UnixMilli() {
					t.Fatalf("step %d: since %d", i, p.Since)
				}
			}
		})
	}
}

func TestPresenceAfterARestart(t *testing.T) {
	now := time.UnixMilli(1795219200000)
	nap := func(ago, length time.Duration) store.PresenceChange {
		return store.PresenceChange{State: store.Sleeping, Cause: "bye", Since: now.Add(-ago).UnixMilli(), NextWake: now.Add(length - ago).UnixMilli()}
	}
	for _, c := range []struct {
		name    string
		was     store.PresenceChange
		trusted bool
		changed bool
		state   store.PresenceState
		due     time.Duration
	}{
		{"who was online is unknown for 90 s", store.PresenceChange{State: store.Online}, true, true, store.Unknown, 90 * time.Second},
		{"unknown starts again", store.PresenceChange{State: store.Unknown}, true, false, store.Unknown, 90 * time.Second},
		{"a sleeper keeps its time", nap(10*time.Minute, time.Hour), true, false, store.Sleeping, 80 * time.Minute},
		{"one that may have called meanwhile gets 90 s", nap(3*time.Hour, time.Hour), true, false, store.Sleeping, 90 * time.Second},
		{"with a wrong clock its time begins anew", nap(10*time.Minute, time.Hour), false, false, store.Sleeping, 90 * time.Minute},
		{"a clock that stepped back does not prolong it", nap(-24*time.Hour, time.Hour), true, false, store.Sleeping, 90 * time.Minute},
		{"lost stays lost", store.PresenceChange{State: store.Lost}, true, false, store.Lost, 0},
		{"disabled stays disabled", store.PresenceChange{State: store.Disabled}, true, false, store.Disabled, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p presence
			changed := p.restarted(now, c.was, 0, c.trusted)
			var want time.Time
			if c.due != 0 {
				want = now.Add(c.due)
			}
			if changed != c.changed || p.State != c.state || !p.deadline.Equal(want) {
				t.Errorf("changed %t, %s until %v; want %t, %s until %v", changed, p.State, p.deadline, c.changed, c.state, want)
			}
		})
	}
	var p presence
	p.restarted(now, nap(0, time.Hour), 300, true)
	if p.interval() != 3600 {
		t.Errorf("interval %d, want the larger of hello.4 and the last bye.2", p.interval())
	}
}
