package registry

import (
	"errors"
	"fmt"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// What changes at different times is in tables of its own: a new boot at each
// hello must not write 16 KiB of description again.
type tables struct {
	devices      *store.Table[deviceRow]
	seen         *store.Table[seenRow]
	descriptions *store.Table[[]byte] // the body map of describe as it was sent
	components   *store.Table[[]componentRow]
	removed      *store.Table[tombstone]
	fleets       *store.Table[fleetRow]
	tokens       *store.Table[tokenRow]
	accounts     *store.Table[accountRow]
	groups       *store.Table[groupRow]
	scenes       *store.Table[sceneRow]
}

// deviceRow is what people decide about a device.
type deviceRow struct {
	Name    string `cbor:"1,keyasint,omitempty"`
	Area    string `cbor:"2,keyasint,omitempty"`
	Created int64  `cbor:"3,keyasint"`
	Revoked bool   `cbor:"4,keyasint,omitempty"`
	Token   []byte `cbor:"5,keyasint"`           // SHA-256 of the secret part
	Next    []byte `cbor:"6,keyasint,omitempty"` // of a rotation's token, until it is used
}

// seenRow is what a device's last hello said, and what is counted of it.
type seenRow struct {
	Firmware     string        `cbor:"1,keyasint,omitempty"`
	Boot         protocol.Boot `cbor:"2,keyasint"`
	WakeInterval uint64        `cbor:"3,keyasint,omitempty"`
	MaxFrame     uint64        `cbor:"4,keyasint,omitempty"`
	Restarts     uint64        `cbor:"5,keyasint,omitempty"` // that hellos told of
	Gaps         uint64        `cbor:"6,keyasint,omitempty"` // in the seqs of its frames
}

// componentRow is a component that came into being by a record.
type componentRow struct {
	ID       string `cbor:"1,keyasint"`
	Kind     string `cbor:"2,keyasint"`
	Unit     string `cbor:"3,keyasint,omitempty"`
	Category string `cbor:"4,keyasint,omitempty"`
	Text     bool   `cbor:"5,keyasint,omitempty"`
}

// tombstone keeps the id of a removed device from being given again.
type tombstone struct {
	At int64 `cbor:"1,keyasint"` // ms since 1970
}

// fleetRow stands while the devices of AddMany are being written.
type fleetRow struct {
	Count int `cbor:"1,keyasint"`
}

func (t *tables) open(s *store.Store) error {
	var errs [10]error
	t.devices, errs[0] = store.OpenTable[deviceRow](s, "registry.devices")
	t.seen, errs[1] = store.OpenTable[seenRow](s, "registry.seen")
	t.descriptions, errs[2] = store.OpenTable[[]byte](s, "registry.descriptions")
	t.components, errs[3] = store.OpenTable[[]componentRow](s, "registry.components")
	t.removed, errs[4] = store.OpenTable[tombstone](s, "registry.removed")
	t.fleets, errs[5] = store.OpenTable[fleetRow](s, "registry.fleets")
	t.tokens, errs[6] = store.OpenTable[tokenRow](s, "registry.tokens")
	t.accounts, errs[7] = store.OpenTable[accountRow](s, "registry.mqtt")
	t.groups, errs[8] = store.OpenTable[groupRow](s, "registry.groups")
	t.scenes, errs[9] = store.OpenTable[sceneRow](s, "registry.scenes")
	return errors.Join(errs[:]...)
}

// load reads the tables into memory and ends what a crash cut short.
func (r *Registry) load() error {
	if err := r.undoFleets(); err != nil {
		return err
	}
	return errors.Join(
		r.tables.removed.Each(func(id string, _ tombstone) error {
			r.removed[id] = true
			return nil
		}),
		r.tables.devices.Each(func(id string, row deviceRow) error {
			if !r.removed[id] { // else a crash came between tombstone and removal
				r.devices[id] = r.loadDevice(id, row)
			}
			return nil
		}),
		r.tables.tokens.Each(func(name string, row tokenRow) error {
			r.tokens[name] = row
			return nil
		}),
		r.tables.accounts.Each(func(name string, row accountRow) error {
			r.accounts[name] = row
			return nil
		}),
		r.tables.groups.Each(func(id string, row groupRow) error {
			r.groups[id] = row
			return nil
		}),
		r.tables.scenes.Each(func(id string, row sceneRow) error {
			r.scenes[id] = row
			return nil
		}),
	)
}

func (r *Registry) loadDevice(id string, row deviceRow) *entry {
	e := &entry{row: row}
	// What cannot be read here is what the device says itself: it is asked
	// again at its next hello, so that is no reason not to start.
	e.seen, _, _ = r.tables.seen.Get(id)
	if rows, ok, err := r.tables.components.Get(id); ok && err == nil {
		for _, c := range rows {
			e.auto = append(e.auto, c.component())
		}
	}
	if raw, ok, err := r.tables.descriptions.Get(id); ok && err == nil {
		if d, err := parseDescribe(raw, r.limits); err == nil && e.setDescribe(d, r.limits) == nil {
			return e
		}
	}
	e.describeNothing(r.limits)
	return e
}

// undoFleets removes the devices of an AddMany that was cut short: nobody has
// their tokens.
func (r *Registry) undoFleets() error {
	type fleet struct {
		prefix string
		count  int
	}
	var fleets []fleet
	err := r.tables.fleets.Each(func(prefix string, row fleetRow) error {
		fleets = append(fleets, fleet{prefix, row.Count})
		return nil
	})
	for _, f := range fleets {
		for i := 1; i <= f.count && err == nil; i++ {
			err = r.tables.devices.Delete(fleetID(f.prefix, i), store.Rides, nil)
		}
		if err == nil {
			err = r.tables.fleets.Delete(f.prefix, store.Rides, nil)
		}
	}
	return err
}

// parseDescribe reads a stored body map: the frame around it is the array
// [5, body].
func parseDescribe(raw []byte, l protocol.Limits) (*protocol.Describe, error) {
	frame := append([]byte{0x82, byte(protocol.TypeDescribe)}, raw...)
	f, err := protocol.Decode(frame, l)
	if err != nil {
		return nil, err
	}
	d, ok := f.(*protocol.Describe)
	if !ok {
		return nil, fmt.Errorf("stored description is a frame of type %d", f.Type())
	}
	return d, nil
}

func rowOf(c *protocol.Component) componentRow {
	return componentRow{ID: c.ID, Kind: c.Kind, Unit: c.Unit, Category: c.Category, Text: c.Text}
}

func (c componentRow) component() protocol.Component {
	return protocol.Component{ID: c.ID, Kind: c.Kind, Unit: c.Unit, Category: c.Category, Text: c.Text, Auto: true}
}
