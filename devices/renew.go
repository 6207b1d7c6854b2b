package devices

import (
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// renewed is called by the log when the disk has failed for long, and when it
// works again. A session was told at its beginning what an ack means and which
// frames are settled, so each device has to begin another.
func (h *Hub) renewed(now store.Era) {
	all, n := h.all(), 0
	spread := min(8, 1+uint64(len(all))/100)
	for _, d := range all {
		n += d.renew(now, spread)
	}
	if n > 0 {
		h.log.Info("links are renewed", "links", n, "in memory", now.InMemory())
	}
}

// renew ends the device's sessions of another era and says how many.
func (d *device) renew(now store.Era, spread uint64) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.links {
		if l.renew(now, spread) {
			n++
		}
	}
	return n
}

// renew ends a session of another era, to come back within spread seconds: many
// do not come back all at once, but nobody is away for so long that it counts as
// lost.
func (l *link) renew(now store.Era, spread uint64) bool {
	l.mu.Lock()
	old := l.era != 0 && l.era != now
	l.mu.Unlock()
	if !old {
		return false
	}
	if now.InMemory() {
		l.farewell("storage is failing", jitter(spread), protocol.CloseOverloaded, "the disk takes nothing: come back, acks will mean in memory only")
	} else {
		l.farewell("storage works again", jitter(spread), protocol.CloseRestart, "the disk works again: send what is not settled")
	}
	return true
}
