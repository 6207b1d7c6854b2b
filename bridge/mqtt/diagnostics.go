package mqtt

import (
	"time"

	"github.com/hearthgate/hearthgate/store"
)

// The lifecycle topic also says what is counted of a device and when it was last
// there. That changes all the time, so it is said with each change of presence
// and else every few minutes.

// lastSeen remembers when devices were there.
type lastSeen struct {
	// newest are the newest values of a device.
	newest func(device string) []store.Newest
	online map[string]int64 // ms since 1970; when a device was found online last
}

// at is when a device was there last, in ms since 1970; 0 = not known.
func (s *lastSeen) at(device string, p store.PresenceChange, now time.Time) int64 {
	if p.State == store.Online {
		s.online[device] = now.UnixMilli()
		return now.UnixMilli()
	}
	last := s.online[device]
	if p.State == store.Sleeping || p.Cause == "bye" {
		last = max(last, p.Since) // it said so itself
	}
	for _, n := range s.newest(device) {
		last = max(last, n.Received)
	}
	return last
}

// diagnose publishes the lifecycle of a few devices again as far as something
// of it changed. What was published is not written down: a restart says it anew.
func (b *Bridge) diagnose(l *link, now time.Time) error {
	p := &b.plan
	if !now.Before(p.diagnosis) {
		p.diagnosis = now.Add(b.diagnoseTick)
		p.diagnosed = p.diagnosed[:0]
		for _, d := range b.o.Registry.List() {
			p.diagnosed = append(p.diagnosed, d.ID)
		}
	}
	if len(p.diagnosed) == 0 {
		return nil
	}
	b.compose.begin()
	for range min(paceSize, len(p.diagnosed)) {
		id := p.diagnosed[0]
		p.diagnosed = p.diagnosed[1:]
		if d, ok := b.o.Registry.Get(id); ok {
			change, known := b.o.Store.PresenceOf(id)
			b.compose.addCounts(d, change, known)
		}
	}
	return b.publishComposed(l)
}
