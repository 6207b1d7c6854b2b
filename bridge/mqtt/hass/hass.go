// Package hass describes devices to Home Assistant: MQTT discovery as a pure
// function from what the registry knows to the bytes of a retained message.
//
// Home Assistant reads a device-based message as a closed schema: one wrong key
// at its root and every entity in it is lost. So what is not certain to be
// accepted (a class with a unit outside its table) is left out rather than
// tried. Identities are made of the gateway id, the device id and the component
// id and never of names, base topic or host, so that all of those may change.
package hass

import (
	"slices"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// Names is what all messages of one gateway have in common.
type Names struct {
	Gateway string // gateway id, [a-z0-9]
	Base    string // base topic
	Prefix  string // discovery prefix
	Version string // of the gateway
}

// Message is a retained discovery message.
type Message struct {
	Topic   string
	Payload []byte
}

// StatusTopic is where Home Assistant says that it was (re)started.
func (n Names) StatusTopic() string { return n.Prefix + "/status" }

// node is the identity of a device in Home Assistant. Neither id has a '_', so
// its parts cannot be confused.
func (n Names) node(device string) string { return n.gatewayNode() + "_" + device }

func (n Names) gatewayNode() string { return "hg_" + n.Gateway }

// Thing is a device as Home Assistant knows them: one of the home, or the
// gateway itself, which comes before all others since they name it as the one
// that they are reached through.
type Thing struct {
	names        Names
	node         string
	device       []byte   // who it is
	availability object   // where it says whether it is there
	entities     []entity // what it has
}

// entity is one component of a discovery message.
type entity struct {
	key      string
	platform string
	body     object // all members but the platform
	alone    bool   // has an availability of its own, or none
}

// Device is a device of the home.
func (n Names) Device(d registry.Device) Thing {
	t := Thing{names: n, node: n.node(d.ID), device: n.identity(d), entities: n.describe(d).entities}
	n.availability(&t.availability, d.ID, "")
	return t
}

// availability: the first topic covers a dead gateway, the second a lost device,
// the third, if there is one, a value that is too old. What stands with a
// component takes the place of what stands at the root.
func (n Names) availability(o *object, device, fresh string) {
	list := `[` + n.gatewayAvailable() + `,{"topic":` + quoted(n.Base+"/device/"+device+"/availability") + `}`
	if fresh != "" {
		list += `,{"topic":` + quoted(fresh) + `}`
	}
	o.raw("availability", []byte(list+"]"))
	o.text("availability_mode", "all")
}

// gatewayAvailable: its will covers a dead gateway.
func (n Names) gatewayAvailable() string { return `{"topic":` + quoted(n.Base+"/bridge/state") + `}` }

// Topic is where the thing is described as a whole.
func (t Thing) Topic() string { return t.names.Prefix + "/device/" + t.node + "/config" }

// Platforms are the component keys of a thing with the platform of each.
// Whoever publishes keeps them, since a component that goes away must be named
// with the platform that it had.
func (t Thing) Platforms() map[string]string {
	m := map[string]string{}
	for _, e := range t.entities {
		m[e.key] = e.platform
	}
	return m
}

// Whole is the device-based description. gone are the components, with their
// platforms, that Home Assistant knows from earlier and has to remove.
func (t Thing) Whole(gone map[string]string) Message {
	var o, cs object
	o.raw("device", t.device)
	o.raw("origin", t.names.origin())
	o.members(t.availability)
	for _, k := range sortedKeys(gone) {
		cs.raw(k, (&object{}).text("platform", gone[k]).end())
	}
	for _, e := range t.entities {
		if _, removed := gone[e.key]; removed {
			continue // of another platform than before: removed first, made anew by the next message
		}
		cs.raw(e.key, (&object{}).text("platform", e.platform).members(e.body).end())
	}
	o.raw("components", cs.end())
	return Message{t.Topic(), o.end()}
}

// Apart is the same as one message a component, the form that readers other
// than Home Assistant (openHAB) know.
func (t Thing) Apart() []Message {
	var ms []Message
	for _, e := range t.entities {
		o := e.body
		if !e.alone {
			o.members(t.availability)
		}
		o.raw("device", t.device)
		o.raw("origin", t.names.origin())
		ms = append(ms, Message{t.names.Prefix + t.apart(e), o.end()})
	}
	return ms
}

// apart is where a component is described by itself, below the prefix.
func (t Thing) apart(e entity) string {
	return "/" + e.platform + "/" + t.node + "/" + e.key + "/config"
}

// SaysWhole reports whether the topic is that of the whole thing, under any prefix.
func (t Thing) SaysWhole(topic string) bool {
	return strings.HasSuffix(topic, "/device/"+t.node+"/config")
}

// Says reports whether what is described on the topic is in the thing: all of
// it, or one of its components, under any prefix.
func (t Thing) Says(topic string) bool {
	return t.SaysWhole(topic) || slices.ContainsFunc(t.entities, func(e entity) bool {
		return strings.HasSuffix(topic, t.apart(e))
	})
}

// Moves is what is said on the topic of a description before the same follows
// in the other form or under another prefix: Home Assistant lets go of the
// entities there and keeps all that it knows of them for whoever comes next
// with their unique ids.
const Moves = `{"migrate_discovery":true}`

func (n Names) origin() []byte {
	return (&object{}).text("name", "hearthgate").text("sw_version", n.Version).end()
}

// identity is who a device is.
func (n Names) identity(d registry.Device) []byte {
	var o object
	o.list("identifiers", []string{n.node(d.ID)})
	o.text("name", orElse(d.Name, d.ID))
	o.text("manufacturer", d.Description.Manufacturer)
	o.text("model", d.Description.Model)
	o.text("hw_version", d.Description.Hardware)
	o.text("sw_version", d.Firmware)
	o.text("serial_number", d.Description.Serial)
	o.text("suggested_area", orElse(d.Area, d.Description.Area))
	o.text("via_device", n.gatewayNode())
	return o.end()
}

// JSONLight reports whether c is a light with one JSON state. One without `on`
// is none for Home Assistant; its attributes are plain states.
func JSONLight(c *protocol.Component) bool {
	_, on := c.Attributes["on"]
	return c.Kind == "light" && on
}

func slug(s string) string { return strings.ReplaceAll(s, "-", "_") }

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
