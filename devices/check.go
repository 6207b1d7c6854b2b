package devices

import (
	"errors"
	"fmt"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// check holds records against the device's description: all of them fit, or
// the frame is refused. Names without '/' that are new become components. Of an
// old boot's frame, composed under an older description, what does not fit is
// marked and kept. soon is how urgent the records are.
func (d *device) check(records []protocol.Record, old bool) (soon store.Urgency, err error) {
	desc := d.hub.o.Registry.Description(d.id)
	if desc == nil {
		return 0, fmt.Errorf("device %s is not of this home", d.id)
	}
	soon = store.Measured
	var fresh []protocol.Component
	for i := range records {
		r := &records[i]
		made, err := desc.Check(r)
		switch {
		case old && (err != nil || made != nil):
			r.Unfit = true
		case err != nil:
			return 0, fmt.Errorf("record %d, %s: %w", i, r.Name, err)
		case made != nil:
			if fresh, err = join(fresh, *made); err != nil {
				return 0, fmt.Errorf("record %d, %s: %w", i, r.Name, err)
			}
		}
		if !r.Unfit && hasty(desc.Point(r.Name), made) {
			soon = store.Urgent
		}
	}
	if fresh != nil {
		if _, err := d.hub.o.Registry.AddComponents(d.id, fresh); err != nil {
			return 0, err
		}
	}
	return soon, nil
}

// join adds a component that a record makes to those of the same frame.
func join(fresh []protocol.Component, c protocol.Component) ([]protocol.Component, error) {
	for i := range fresh {
		if f := &fresh[i]; f.ID == c.ID {
			if f.Kind != c.Kind || f.Text != c.Text {
				return nil, errors.New("another type of value than before")
			}
			return fresh, nil
		}
	}
	return append(fresh, c), nil
}

// hasty reports whether a person may be waiting for this point to follow: it
// can be commanded, or it tells of something that just happened.
func hasty(p *protocol.Point, made *protocol.Component) bool {
	if p == nil {
		return made != nil && made.Kind == protocol.KindBinarySensor
	}
	return p.Settable || p.Component.Kind == protocol.KindEvent || p.Component.Kind == protocol.KindBinarySensor
}
