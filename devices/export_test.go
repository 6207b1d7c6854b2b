package devices

// FailAppend lets the device's link see what it does when the log refuses a
// frame.
func (h *Hub) FailAppend(id string, err error) {
	d := h.device(id)
	d.mu.Lock()
	l := d.current
	d.mu.Unlock()
	l.notStored(err)
}
