package devices

import (
	"time"

	"github.com/hearthgate/hearthgate/store"
)

// Times of presence.
const (
	graceTime   = 10 * time.Second // for a device whose link broke to come back
	restartTime = 90 * time.Second // for one that was online when the gateway stopped
	longestNap  = 366 * 24 * 60 * 60
)

// presence is what is known of a device's being there: a pure state machine.
// Events go in with the moment they happened; each reports whether the state
// changed (so there is something to write down), and deadline says when
// expired is due.
type presence struct {
	store.PresenceChange

	linked bool   // a session is live
	left   bool   // and it said bye
	wake   uint64 // s, hello.4
	nap    uint64 // s, the last bye.2
	reason string // why the last link ended

	deadline time.Time // zero = none
}

// connected: a session began; wake is hello.4.
func (p *presence) connected(now time.Time, wake uint64) bool {
	p.linked, p.left, p.wake = true, false, min(wake, longestNap)
	p.deadline = time.Time{}
	return p.State != store.Disabled && p.become(store.Online, now, "hello", 0)
}

// bye: the device says that it leaves and when it will be back (0: not planned).
func (p *presence) bye(now time.Time, seconds uint64) bool {
	if p.State == store.Disabled {
		return false
	}
	p.left = true
	p.deadline = time.Time{}
	if seconds == 0 {
		return p.become(store.Lost, now, "bye", 0)
	}
	p.nap = min(seconds, longestNap)
	return p.sleep(now, "bye", p.nap)
}

// ended: the session is over and no other took its place.
func (p *presence) ended(now time.Time, cause string) bool {
	p.linked = false
	if p.left || p.State != store.Online {
		return false
	}
	if p.wake > 0 {
		return p.sleep(now, cause, p.wake)
	}
	p.reason = cause
	p.deadline = now.Add(graceTime)
	return false
}

// expired: the deadline came.
func (p *presence) expired(now time.Time) bool {
	p.deadline = time.Time{}
	switch {
	case p.linked:
		return false
	case p.State == store.Online:
		return p.become(store.Lost, now, p.reason, 0)
	case p.State == store.Sleeping:
		return p.become(store.Lost, now, "overslept", 0)
	case p.State == store.Unknown:
		return p.become(store.Lost, now, "not back after the gateway's restart", 0)
	}
	return false
}

// restarted: the gateway came up and finds was in its log. Who was online is
// unknown until it is back; sleepers keep their time, but get at least as long
// as the others, since they may have called while nobody answered. trusted is
// false while the gateway's clock cannot be believed: then a sleeper's time
// begins anew.
func (p *presence) restarted(now time.Time, was store.PresenceChange, wake uint64, trusted bool) bool {
	p.PresenceChange, p.wake = was, min(wake, longestNap)
	switch was.State {
	case store.Sleeping:
		span := min(max(was.NextWake-was.Since, 0), longestNap*1000)
		if was.Cause == "bye" {
			p.nap = uint64(span / 1000)
		}
		whole := time.Duration(span) * time.Millisecond * 3 / 2
		rest := whole
		if trusted {
			rest = min(whole, time.UnixMilli(was.Since).Add(whole).Sub(now))
		}
		p.deadline = now.Add(max(rest, restartTime))
	case store.Online, store.Unknown:
		p.deadline = now.Add(restartTime)
		return p.become(store.Unknown, now, "gateway restarted", 0)
	}
	return false
}

// disabled: the device was revoked.
func (p *presence) disabled(now time.Time) bool {
	p.deadline = time.Time{}
	return p.become(store.Disabled, now, "revoked", 0)
}

// enabled: a revoked device was given a new token.
func (p *presence) enabled(now time.Time) bool {
	return p.State == store.Disabled && p.become(store.Lost, now, "not back yet", 0)
}

// grace reports whether the link just broke and the device may be back soon.
func (p *presence) grace() bool { return p.State == store.Online && !p.linked }

// interval is the larger of hello.4 and the last bye.2, in seconds.
func (p *presence) interval() uint64 { return max(p.wake, p.nap) }

// sleep: back in so many seconds, and lost after half as many more.
func (p *presence) sleep(now time.Time, cause string, seconds uint64) bool {
	d := time.Duration(seconds) * time.Second
	p.deadline = now.Add(d * 3 / 2)
	return p.become(store.Sleeping, now, cause, now.Add(d).UnixMilli())
}

func (p *presence) become(s store.PresenceState, now time.Time, cause string, wake int64) bool {
	if p.State == s && s != store.Sleeping {
		return false
	}
	p.PresenceChange = store.PresenceChange{State: s, Since: now.UnixMilli(), Cause: cause, NextWake: wake}
	return true
}
