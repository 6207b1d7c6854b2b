package registry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// Bounds of groups and scenes, so that one message cannot start more than the
// home can carry out.
const (
	MaxGroups  = 256 // and as many scenes
	MaxMembers = 512 // of one group or scene
)

// Member is a component of a device, or one of its attributes.
type Member struct {
	Device string `json:"device" cbor:"1,keyasint"`
	Name   string `json:"name" cbor:"2,keyasint"` // component or component/attribute
}

// Group is what is commanded together: the members that are named, and every
// component of Kind in Area. That is looked up at each command, so that a lamp
// that comes into the room belongs to it.
type Group struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`              // display name; the id if none was given
	Members []Member `json:"members,omitempty"` // named ones
	Area    string   `json:"area,omitempty"`    // "" = any, if Kind is given
	Kind    string   `json:"kind,omitempty"`    // "" = no members by rule
}

type groupRow struct {
	Name    string   `cbor:"1,keyasint,omitempty"`
	Members []Member `cbor:"2,keyasint,omitempty"`
	Area    string   `cbor:"3,keyasint,omitempty"`
	Kind    string   `cbor:"4,keyasint,omitempty"`
}

// PutGroup makes a group, or changes it. Its id is of the form of a device id.
// ErrBadID, ErrBadName, ErrUnknown for a member that the home does not have.
func (r *Registry) PutGroup(g Group) error {
	err := r.checkGroup(g)
	if err == nil {
		row := groupRow{g.Name, g.Members, g.Area, g.Kind}
		err = putRow(r, r.tables.groups, r.groups, g.ID, row)
	}
	if err != nil {
		return fmt.Errorf("group %q: %w", g.ID, err)
	}
	return nil
}

func (r *Registry) checkGroup(g Group) error {
	switch {
	case !protocol.ValidDeviceID(g.ID):
		return ErrBadID
	case len(g.Members) == 0 && g.Kind == "":
		return fmt.Errorf("%w of members: name some (hall-lamp/light) or a kind (light)", ErrBadName)
	case g.Area != "" && g.Kind == "":
		return fmt.Errorf("%w of a kind: an area needs one, such as light", ErrBadName)
	case g.Kind != "" && !slices.Contains(protocol.SettableKinds(), g.Kind):
		return fmt.Errorf("%w of a kind to command: %q; want one of %s", ErrBadName, g.Kind, strings.Join(protocol.SettableKinds(), ", "))
	case len(g.Members) > MaxMembers:
		return fmt.Errorf("%w: %d members, at most %d", ErrBadName, len(g.Members), MaxMembers)
	}
	for _, m := range g.Members {
		if err := r.checkMember(m); err != nil {
			return err
		}
	}
	return cmp.Or(checkName(g.Name), checkName(g.Area))
}

// checkMember says what is wrong with a member: a typing error must show now,
// and not when the light stays dark.
func (r *Registry) checkMember(m Member) error {
	d := r.Description(m.Device)
	switch {
	case d == nil:
		return fmt.Errorf("device %q: %w", m.Device, ErrUnknown)
	case len(d.PointsOf(m.Name)) == 0:
		return fmt.Errorf("%s of %s: %w (hearthgate device show %s lists what it has)", m.Name, m.Device, ErrUnknown, m.Device)
	case !slices.ContainsFunc(d.PointsOf(m.Name), func(p *protocol.Point) bool { return p.Settable }):
		return fmt.Errorf("%w of a member: %s of %s can only be read", ErrBadName, m.Name, m.Device)
	}
	return nil
}

// RemoveGroup ends a group. ErrUnknown.
func (r *Registry) RemoveGroup(id string) error {
	if err := removeRow(r, r.tables.groups, r.groups, id); err != nil {
		return fmt.Errorf("remove group %q: %w", id, err)
	}
	return nil
}

// Group is one group, as it was made.
func (r *Registry) Group(id string) (Group, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	row, ok := r.groups[id]
	return row.group(id), ok
}

// Groups are all groups, in the order of their ids.
func (r *Registry) Groups() []Group {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]Group, 0, len(r.groups))
	for _, id := range slices.Sorted(maps.Keys(r.groups)) {
		all = append(all, r.groups[id].group(id))
	}
	return all
}

func (g groupRow) group(id string) Group {
	return Group{ID: id, Name: cmp.Or(g.Name, id), Members: slices.Clone(g.Members), Area: g.Area, Kind: g.Kind}
}

// Members of a group now: the named ones that are still of the home, then those
// by area and kind in the order of device ids, each once and at most MaxMembers.
func (r *Registry) Members(id string) (members []Member, ok bool) {
	g, ok := r.Group(id)
	if !ok {
		return nil, false
	}
	had := map[Member]bool{}
	add := func(m Member) {
		if !had[m] && len(members) < MaxMembers {
			had[m] = true
			members = append(members, m)
		}
	}
	for _, m := range g.Members {
		if _, ok := r.Get(m.Device); ok {
			add(m)
		}
	}
	if g.Kind == "" {
		return members, true
	}
	for _, d := range r.List() {
		if d.Revoked || g.Area != "" && cmp.Or(d.Area, d.Description.Area) != g.Area {
			continue
		}
		for i := range d.Description.Components {
			if c := &d.Description.Components[i]; c.Kind == g.Kind {
				add(Member{d.ID, c.ID})
			}
		}
	}
	return members, true
}

// WatchGroups calls f after each change of a group or a scene, as Watch does.
func (r *Registry) WatchGroups(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.groupWatchers = append(slices.Clip(r.groupWatchers), f)
}

func (r *Registry) arranged() {
	r.mu.RLock()
	watchers := r.groupWatchers
	r.mu.RUnlock()
	for _, f := range watchers {
		f()
	}
}

// putRow makes or changes a row of a small table, here and on disk.
func putRow[T any](r *Registry, table *store.Table[T], rows map[string]T, id string, row T) error {
	synced := newSync()
	err := func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, there := rows[id]; !there && len(rows) >= MaxGroups {
			return fmt.Errorf("%w: there are %d already, which is the most", ErrBadName, MaxGroups)
		}
		if err := table.Put(id, row, store.Now, synced.done); err != nil {
			return err
		}
		rows[id] = row
		return nil
	}()
	if err != nil {
		return err
	}
	r.arranged()
	return synced.wait()
}

// removeRow is putRow's opposite. ErrUnknown.
func removeRow[T any](r *Registry, table *store.Table[T], rows map[string]T, id string) error {
	synced := newSync()
	err := func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, there := rows[id]; !there {
			return ErrUnknown
		}
		if err := table.Delete(id, store.Now, synced.done); err != nil {
			return err
		}
		delete(rows, id)
		return nil
	}()
	if err != nil {
		return err
	}
	r.arranged()
	return synced.wait()
}
