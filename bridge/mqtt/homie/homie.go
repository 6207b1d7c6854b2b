// Package homie describes devices by the Homie convention, version 5.0, as pure
// functions: what a device is becomes its $description, what it says becomes the
// payload of a property, and what is written to …/set becomes what the device is
// asked for.
//
// A component is a node and an attribute a property of it; a component with a single
// value has one property, "value". What is decided here, where the convention leaves
// a choice:
//
//   - Numbers are floats: a device may report a fraction where it takes whole
//     numbers. Only of what can be set the format has the bounds, since a
//     measurement that is out of them is a fact all the same.
//   - A value that its property cannot have (reported before the device described
//     itself anew, or out of the bounds) has no payload: then the topic is empty.
//   - Options that an enum cannot list (with a comma, or empty) make it a string.
//   - What acts once, buttons and the action of covers, valves and locks, is not
//     retained; nor are events.
//   - There is no $target: what the device says is the state, nothing else.
package homie

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// Description is the document on $description.
type Description struct {
	Homie    string          `json:"homie"`
	Version  uint64          `json:"version"`
	Name     string          `json:"name"`
	Type     string          `json:"type,omitempty"`
	Root     string          `json:"root,omitempty"`
	Children []string        `json:"children,omitempty"`
	Nodes    map[string]Node `json:"nodes,omitempty"`
}

// Node is a component.
type Node struct {
	Name       string               `json:"name,omitempty"`
	Type       string               `json:"type"`
	Properties map[string]*Property `json:"properties"`
}

// Property is a point, with how its values are written.
type Property struct {
	Name     string `json:"name,omitempty"`
	Datatype string `json:"datatype"`
	Format   string `json:"format,omitempty"`
	Unit     string `json:"unit,omitempty"`
	Settable bool   `json:"settable"`
	Retained bool   `json:"retained"`

	path   string // node/property
	point  *protocol.Point
	factor int
}

// Path is the property's place below its device: node/property.
func (p *Property) Path() string { return p.path }

// Point is what the property shows.
func (p *Property) Point() *protocol.Point { return p.point }

// Device is a device as Homie knows it.
type Device struct {
	ID          string
	Description Description          // without a version
	Points      map[string]*Property // by record name
}

// convention is the version that everything here is of.
const convention = "5.0"

// Device describes a device of the home.
func (n Names) Device(d registry.Device) Device {
	t := Device{ID: n.Child(d.ID), Points: map[string]*Property{}, Description: Description{
		Homie: convention, Name: orElse(d.Name, d.ID), Type: d.Description.Model, Root: n.Root(), Nodes: map[string]Node{},
	}}
	for _, p := range d.Description.Points() {
		c := p.Component
		id := idOf(c.ID)
		node, ok := t.Description.Nodes[id]
		if !ok {
			node = Node{Name: orElse(c.Name, c.ID), Type: c.Kind, Properties: map[string]*Property{}}
			t.Description.Nodes[id] = node
		}
		property := n.property(p)
		own := propertyID(p)
		property.path = id + "/" + own
		node.Properties[own] = property
		t.Points[p.Name] = property
	}
	return t
}

// single is the property of a component with a single value.
const single = "value"

func propertyID(p *protocol.Point) string {
	if p.Attribute == "" {
		return single
	}
	return idOf(p.Attribute)
}

// Itself describes the gateway, whose devices have these ids.
func (n Names) Itself(devices []string) Device {
	d := Device{ID: n.Root(), Description: Description{Homie: convention, Name: "Hearthgate " + n.Gateway, Type: "gateway"}}
	for _, id := range devices {
		d.Description.Children = append(d.Description.Children, n.Child(id))
	}
	slices.Sort(d.Description.Children)
	return d
}

// Document is the description as JSON, of that version.
func (d Device) Document(version uint64) []byte {
	doc := d.Description
	doc.Version = version
	b, err := json.Marshal(doc)
	if err != nil {
		panic("homie: " + err.Error()) // there is nothing in it that could not be written
	}
	return b
}

// State is what stands on $state of a device with that presence. One of which
// nothing is known yet is said to be disconnected, not lost: after a restart of the
// gateway most come back within seconds.
func State(s store.PresenceState) string {
	switch s {
	case store.Online:
		return "ready"
	case store.Sleeping, store.Lost:
		return string(s)
	}
	return "disconnected"
}

// property is how a point is described.
func (n Names) property(p *protocol.Point) *Property {
	t := &Property{
		Name: strings.ReplaceAll(p.Attribute, "_", " "), Settable: p.Settable,
		Retained: !p.Momentary() && p.Component.Kind != protocol.KindEvent, point: p, factor: 1,
	}
	switch {
	case p.Component.Kind == protocol.KindButton:
		t.Datatype, t.Format = "enum", Press
	case p.Type == protocol.BoolPoint:
		t.Datatype = "boolean"
	case p.Type == protocol.NumberPoint:
		t.Datatype = "float"
		t.Unit, t.factor = n.unit(p)
		t.Format = t.bounds()
	case isColour(p):
		t.Datatype, t.Format = "color", "rgb"
	case listable(p.Options):
		t.Datatype, t.Format = "enum", strings.Join(p.Options, ",")
	default:
		t.Datatype = "string"
	}
	return t
}

// Press is the one value of a button.
const Press = "press"

func isColour(p *protocol.Point) bool {
	return p.Component.Kind == protocol.KindLight && p.Attribute == "rgb"
}

// listable reports whether an enum can list the options.
func listable(options []string) bool {
	seen := map[string]bool{}
	for _, o := range options {
		if o == "" || strings.ContainsAny(o, ",\x00\ufeff") || seen[o] {
			return false
		}
		seen[o] = true
	}
	return len(options) > 0
}

// unit is the unit of a number.
func (n Names) unit(p *protocol.Point) (name string, factor int) {
	switch p.Attribute {
	case "":
	case "humidity", "target_humidity":
		return "%", 1
	case "brightness", "position", "tilt", "speed":
		if *p.Max == 100 {
			return "%", 1
		}
		return "", 1
	case "color_temp":
		return "K", 1
	default:
		if p.Component.Kind == protocol.KindHumidifier {
			return "%", 1
		}
	}
	return n.Unit(p.Component.Unit)
}

// bounds is the format of a number, "" if there are none.
func (t *Property) bounds() string {
	p := t.point
	if !p.Settable || p.Min == nil && p.Max == nil && p.Step == nil {
		return ""
	}
	s := t.bound(p.Min) + ":" + t.bound(p.Max)
	if p.Step != nil {
		s += ":" + t.bound(p.Step)
	}
	return s
}

func (t *Property) bound(f *float64) string {
	if f == nil || math.IsInf(t.scaled(*f), 0) {
		return ""
	}
	return t.decimal(protocol.Float(*f))
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
