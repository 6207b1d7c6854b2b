package store

import "github.com/hearthgate/hearthgate/protocol"

// A device is what the store knows of one device besides its log.
type device struct {
	id string

	// Guarded by Store.mu.
	boots    []*boot // the most recently named first
	presence *PresenceChange
	asks     pace
	named    bool // in a hello since its boots were last taken

	// Owned by the committer. The map of cells is changed under Store.values.
	cells   map[string]*cell
	staged  *PresenceChange // presence as of the batch in hand
	changed bool            // by an entry since the last checkpoint
}

// bootsRemembered is how many boots of a device are (PROTOCOL.md, Boot and seq).
const bootsRemembered = 8

// A boot is one counter of a device.
type boot struct {
	id      protocol.Boot
	last    uint64 // settled or waiting; guarded by Store.mu
	durable uint64 // guarded by Store.mu
	staged  uint64 // durable once the batch in hand is; owned by the committer
	seen    uint64 // readers have up to here, though perhaps from memory; guarded by Store.mu
}

// device is the one called id, made if it is new. The caller holds mu.
func (s *Store) device(id string) *device {
	d := s.devices[id]
	if d == nil {
		d = &device{id: id, cells: map[string]*cell{}}
		s.devices[id] = d
	}
	return d
}

// boot is the one of d with this id, nil if it is not remembered.
func (d *device) boot(id protocol.Boot) *boot {
	for _, b := range d.boots {
		if b.id == id {
			return b
		}
	}
	return nil
}

// name makes id the most recently named boot of d and forgets the ninth.
func (d *device) name(id protocol.Boot) *boot {
	at := len(d.boots)
	for i, b := range d.boots {
		if b.id == id {
			at = i
		}
	}
	var b *boot
	if at < len(d.boots) {
		b = d.boots[at]
	} else {
		b = &boot{id: id}
		if len(d.boots) < bootsRemembered {
			d.boots = append(d.boots, nil)
		}
		at = len(d.boots) - 1
	}
	copy(d.boots[1:at+1], d.boots[:at])
	d.boots[0] = b
	return b
}

// Hello names the boots of a device's hello (1 first, then 7) and returns the
// last settled (durable) seq of each, 0 for one that is not remembered. Eight
// boots of a device are remembered; the one least recently named is forgotten.
func (s *Store) Hello(device string, boots []protocol.Boot) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.device(device)
	settled := make([]uint64, len(boots))
	for i, id := range boots {
		if b := d.boot(id); b != nil {
			settled[i] = b.durable
		}
	}
	for i := min(len(boots), bootsRemembered) - 1; i >= 0; i-- {
		d.name(boots[i])
	}
	if !d.named {
		d.named = true
		s.queue.named = append(s.queue.named, d)
	}
	return settled
}

// PresenceOf is the last Presence entry of a device that was appended.
func (s *Store) PresenceOf(device string) (PresenceChange, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.devices[device]; d != nil && d.presence != nil {
		return *d.presence, true
	}
	return PresenceChange{}, false
}

// Forget drops what the store knows of a removed device (boots, newest,
// presence). Its history stays until retention takes it.
func (s *Store) Forget(device string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[device]
	if d == nil {
		return
	}
	delete(s.devices, device)
	s.queue.items = append(s.queue.items, item{forget: d})
	s.hasten(nil, Measured)
}
