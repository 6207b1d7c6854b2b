package registry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
)

// Scene is a named set of values that devices are asked for together.
type Scene struct {
	ID   string
	Name string // display name; the id if none was given
	Set  []SceneValue
}

// SceneValue is one of them.
type SceneValue struct {
	Device string
	Name   string // component or component/attribute
	Value  protocol.Value
}

type sceneRow struct {
	Name string          `cbor:"1,keyasint,omitempty"`
	Set  []sceneValueRow `cbor:"2,keyasint"`
}

type sceneValueRow struct {
	Device string        `cbor:"1,keyasint"`
	Name   string        `cbor:"2,keyasint"`
	Kind   protocol.Kind `cbor:"3,keyasint"`
	Bits   uint64        `cbor:"4,keyasint,omitempty"`
	Text   string        `cbor:"5,keyasint,omitempty"`
}

// PutScene makes a scene, or changes it. ErrBadID, ErrBadName, ErrUnknown for a
// value that the home does not have, and what the description says against it.
func (r *Registry) PutScene(s Scene) error {
	row := sceneRow{Name: s.Name}
	err := r.checkScene(s)
	for _, v := range s.Set {
		row.Set = append(row.Set, sceneValueRow{v.Device, v.Name, v.Value.Kind(), v.Value.Bits(), v.Value.AsText()})
	}
	if err == nil {
		err = putRow(r, r.tables.scenes, r.scenes, s.ID, row)
	}
	if err != nil {
		return fmt.Errorf("scene %q: %w", s.ID, err)
	}
	return nil
}

func (r *Registry) checkScene(s Scene) error {
	switch {
	case !protocol.ValidDeviceID(s.ID):
		return ErrBadID
	case len(s.Set) == 0:
		return fmt.Errorf("%w of values: name some, such as hall-lamp/light/on=true", ErrBadName)
	case len(s.Set) > MaxMembers:
		return fmt.Errorf("%w: %d values, at most %d", ErrBadName, len(s.Set), MaxMembers)
	}
	for _, v := range s.Set {
		if err := r.checkMember(Member{v.Device, v.Name}); err != nil {
			return err
		}
		p := r.Description(v.Device).Point(v.Name)
		if p == nil {
			return fmt.Errorf("%w of a value: %s of %s is set by its attributes, such as %s/on", ErrBadName, v.Name, v.Device, v.Name)
		}
		if err := p.CheckCommand(v.Value); err != nil {
			return fmt.Errorf("%s of %s: %w: %v", v.Name, v.Device, ErrBadName, err)
		}
	}
	return checkName(s.Name)
}

// RemoveScene ends a scene. ErrUnknown.
func (r *Registry) RemoveScene(id string) error {
	if err := removeRow(r, r.tables.scenes, r.scenes, id); err != nil {
		return fmt.Errorf("remove scene %q: %w", id, err)
	}
	return nil
}

// Scene is one scene.
func (r *Registry) Scene(id string) (Scene, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	row, ok := r.scenes[id]
	return row.scene(id), ok
}

// Scenes are all scenes, in the order of their ids.
func (r *Registry) Scenes() []Scene {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]Scene, 0, len(r.scenes))
	for _, id := range slices.Sorted(maps.Keys(r.scenes)) {
		all = append(all, r.scenes[id].scene(id))
	}
	return all
}

func (s sceneRow) scene(id string) Scene {
	scene := Scene{ID: id, Name: cmp.Or(s.Name, id)}
	for _, v := range s.Set {
		scene.Set = append(scene.Set, SceneValue{v.Device, v.Name, protocol.MakeValue(v.Kind, v.Bits, v.Text)})
	}
	return scene
}
