package devices

import (
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// renewed is called by the log when the disk has failed for long, and when it
// works again. A session was told at its beginning what an ack means and which
// frames are settled, so each device has to begin another.
func (h *Hub) renewed(now store.Era) {
	n := 0
	for _, d := range h.all() {
		n += d.renew(now)
	}
	if n > 0 {
		h.log.Info("links are renewed", "links", n, "in memory", now.InMemory())
	}
}

// renew ends the device's sessions of another era and says how many.
func (d *device) renew(now store.Era) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.links {
		if l.renew(now) {
			n++
		}
	}
	return n
}

// renew ends a session of another era. Those of one gateway do not come back all
// at once, but nobody is away for so long that it counts as lost.
func (l *link) renew(now store.Era) bool {
	l.mu.Lock()
	old := l.era != 0 && l.era != now
	l.mu.Unlock()
	if !old {
		return false
	}
	if now.InMemory() {
		l.farewell("storage is failing", jitter(8), protocol.CloseOverloaded, "the disk takes nothing: come back, acks will mean in memory only")
	} else {
		l.farewell("storage works again", jitter(8), protocol.CloseRestart, "the disk works again: send what is not settled")
	}
	return true
}
