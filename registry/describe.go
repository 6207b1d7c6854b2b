package registry

import (
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// What a device says of itself rides on later commits: after a crash it is
// asked again, so a link never waits for the disk here, and a store that takes
// nothing at the moment does not keep a device from working.

// Seen notes what hello said: firmware, boot, wake interval, largest frame. It
// rides on a later commit.
func (r *Registry) Seen(id string, h *protocol.Hello) {
	row := seenRow{Firmware: h.Firmware, Boot: h.Boot, WakeInterval: h.WakeInterval, MaxFrame: h.MaxFrame}
	r.mu.Lock()
	e, ok := r.devices[id]
	if ok {
		row.Restarts, row.Gaps = e.seen.Restarts, e.seen.Gaps
		if e.seen.Boot != row.Boot && e.seen.Boot != (protocol.Boot{}) {
			row.Restarts++
		}
	}
	if !ok || e.seen == row {
		r.mu.Unlock()
		return
	}
	shown := e.seen.Firmware != row.Firmware || e.seen.WakeInterval != row.WakeInterval
	e.seen = row
	_ = r.tables.seen.Put(id, row, store.Rides, nil)
	r.mu.Unlock()
	if shown {
		r.tell(id, Updated)
	}
}

// Gap notes that the device had to drop data. It rides on a later commit.
func (r *Registry) Gap(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.devices[id]; ok {
		e.seen.Gaps++
		_ = r.tables.seen.Put(id, e.seen, store.Rides, nil)
	}
}

// HasDescription reports whether the device's stored description has this hash.
func (r *Registry) HasDescription(id string, h protocol.Hash) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.devices[id]
	return ok && e.described && e.hash == h
}

// Describe checks and stores a description; a *protocol.Refusal keeps the old
// one, ErrUnknown says that the device was removed. It does not wait for the sync.
func (r *Registry) Describe(id string, d *protocol.Describe) error {
	hash := d.Hash()
	if r.HasDescription(id, hash) {
		return nil
	}
	r.mu.Lock()
	e, ok := r.devices[id]
	if !ok {
		r.mu.Unlock()
		return ErrUnknown
	}
	before := len(e.auto)
	if err := e.setDescribe(d, r.limits); err != nil {
		r.mu.Unlock()
		return err
	}
	_ = r.tables.descriptions.Put(id, d.Raw, store.Rides, nil)
	if len(e.auto) != before {
		r.putComponents(id, e)
	}
	r.mu.Unlock()
	r.tell(id, Updated)
	return nil
}

// AddComponents adds components that records made and returns the description
// with them. A *protocol.Refusal if there would be too many. It does not wait
// for the sync, but what is appended later is not on disk earlier.
func (r *Registry) AddComponents(id string, cs []protocol.Component) (*protocol.Description, error) {
	r.mu.Lock()
	e, ok := r.devices[id]
	if !ok {
		r.mu.Unlock()
		return nil, ErrUnknown
	}
	auto := slices.Clip(e.auto)
	for _, c := range cs {
		if e.desc.Point(c.ID) == nil { // else two frames made the same one
			auto = append(auto, c)
		}
	}
	desc, err := protocol.NewDescription(&e.describe, auto, r.limits)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	e.auto, e.desc = auto, desc
	r.putComponents(id, e)
	r.mu.Unlock()
	r.tell(id, Updated)
	return desc, nil
}

// putComponents stores the components that records made. mu is held.
func (r *Registry) putComponents(id string, e *entry) {
	rows := make([]componentRow, len(e.auto))
	for i := range e.auto {
		rows[i] = rowOf(&e.auto[i])
	}
	_ = r.tables.components.Put(id, rows, store.Rides, nil)
}

// setDescribe makes d the entry's description, or changes nothing.
func (e *entry) setDescribe(d *protocol.Describe, l protocol.Limits) error {
	desc, err := protocol.NewDescription(d, e.auto, l)
	if err != nil {
		return err
	}
	e.described, e.hash, e.desc = true, d.Hash(), desc
	e.describe = *d
	e.describe.Raw = nil
	// A component that is described now is no longer one that records made.
	e.auto = slices.DeleteFunc(slices.Clone(e.auto), func(c protocol.Component) bool {
		return slices.ContainsFunc(d.Components, func(o protocol.Component) bool { return o.ID == c.ID })
	})
	return nil
}

// describeNothing gives the entry a description with what records made alone.
func (e *entry) describeNothing(l protocol.Limits) {
	e.described, e.describe = false, protocol.Describe{}
	desc, err := protocol.NewDescription(&e.describe, e.auto, l)
	if err != nil {
		// The limits were lowered below what is stored: records make them anew.
		e.auto = nil
		if desc, err = protocol.NewDescription(&e.describe, nil, l); err != nil {
			panic("registry: an empty description was refused: " + err.Error()) // cannot happen
		}
	}
	e.desc = desc
}

// Fitting are those of the device's newest values that are some of what it says it is
// now. A switch that became a thermometer has none until it spoke: ON is no temperature.
func (d Device) Fitting(newest []store.Newest) []store.Newest {
	return slices.DeleteFunc(newest, func(n store.Newest) bool {
		_, err := d.Description.Check(&protocol.Record{Name: n.Name, Value: n.Value})
		return err != nil
	})
}
