package devices

import "github.com/hearthgate/hearthgate/registry"

// FailAppend lets the device's link see what it does when the log refuses a
// frame.
func (h *Hub) FailAppend(id string, err error) {
	d := h.device(id)
	d.mu.Lock()
	l := d.current
	d.mu.Unlock()
	l.notStored(err)
}

// Hear lets the hub hear of a change when the test wants it to.
func (h *Hub) Hear(id string, c registry.Change) { h.changed(id, c) }
