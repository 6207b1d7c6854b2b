package store

import "time"

// Urgency is rationed, so that one chattering device, or all of them together,
// cannot wear out an SD card: who asks for more commits a second than this is
// gathered for a moment.
const (
	deviceUrgent = 10 // a second, of one device
	totalUrgent  = 20 // a second, of all together
)

// ration counts urgent entries.
type ration struct{ all pace }

// gathers counts one urgent entry of d (may be nil) and reports whether it has
// to wait for others.
func (r *ration) gathers(d *device, now time.Time) bool {
	above := r.all.above(now, totalUrgent)
	if d != nil && d.asks.above(now, deviceUrgent) {
		above = true
	}
	return above
}

// pace tells a rate above a limit from one below it, in one word of memory: the
// time at which all that was asked for would be done at the permitted rate
// (GCRA, as in ITU-T I.371).
type pace struct{ free time.Time }

// above counts one more at now and reports whether more than perSecond came
// within a second. A long burst is forgotten after a second.
func (p *pace) above(now time.Time, perSecond int) bool {
	step := time.Second / time.Duration(perSecond)
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(step)
	if p.free.Sub(now) <= time.Second {
		return false
	}
	if most := now.Add(2 * time.Second); p.free.After(most) {
		p.free = most
	}
	return true
}
