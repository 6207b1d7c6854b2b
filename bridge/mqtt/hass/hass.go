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

// DeviceTopic is where a device is described as a whole.
func (n Names) DeviceTopic(device string) string {
	return n.Prefix + "/device/" + n.node(device) + "/config"
}

// GatewayTopic is where the gateway itself is described. Its device comes
// before all others, which name it as the one they are reached through.
func (n Names) GatewayTopic() string { return n.Prefix + "/device/hg_" + n.Gateway + "/config" }

// node is the identity of a device in Home Assistant. Neither id has a '_', so
// its parts cannot be confused.
func (n Names) node(device string) string { return "hg_" + n.Gateway + "_" + device }

// Platforms are the component keys of a device with the platform of each, as
// they stand in its description. Whoever publishes keeps them, since a
// component that goes away must be named with the platform that it had.
func (n Names) Platforms(d registry.Device) map[string]string {
	m := map[string]string{}
	for _, e := range n.describe(d).entities {
		m[e.key] = e.platform
	}
	return m
}

// Device is the device-based description. gone are the components, with their
// platforms, that Home Assistant knows from earlier and has to remove.
func (n Names) Device(d registry.Device, gone map[string]string) Message {
	var o object
	o.raw("device", n.device(d))
	o.raw("origin", n.origin())
	n.availability(&o, d.ID, "")
	var cs object
	for _, k := range sortedKeys(gone) {
		cs.raw(k, (&object{}).text("platform", gone[k]).end())
	}
	for _, e := range n.describe(d).entities {
		if _, removed := gone[e.key]; removed {
			continue // of another platform than before: removed first, made anew by the next message
		}
		if e.fresh != "" {
			n.availability(&e.body, d.ID, e.fresh)
		}
		cs.raw(e.key, (&object{}).text("platform", e.platform).members(e.body).end())
	}
	o.raw("components", cs.end())
	return Message{n.DeviceTopic(d.ID), o.end()}
}

// Components is the same as one message a component, the form that readers
// other than Home Assistant (openHAB) know.
func (n Names) Components(d registry.Device) []Message {
	var ms []Message
	for _, e := range n.describe(d).entities {
		o := e.body
		if e.platform != "device_automation" { // which is no entity and has no state
			n.availability(&o, d.ID, e.fresh)
		}
		o.raw("device", n.device(d))
		o.raw("origin", n.origin())
		ms = append(ms, Message{n.Prefix + "/" + e.platform + "/" + n.node(d.ID) + "/" + e.key + "/config", o.end()})
	}
	return ms
}

// GatewayDevice describes the gateway itself.
func (n Names) GatewayDevice() Message {
	var o, dev, cs object
	dev.list("identifiers", []string{"hg_" + n.Gateway})
	dev.text("name", "Hearthgate").text("manufacturer", "Hearthgate").text("model", "Gateway").text("sw_version", n.Version)
	o.raw("device", dev.end())
	o.raw("origin", n.origin())
	o.raw("availability", []byte(`[{"topic":`+quoted(n.Base+"/bridge/state")+`}]`))
	entity := func(key, platform string, more func(*object)) {
		var e object
		e.text("platform", platform)
		// Keys of the gateway have no '_' either: hg_<g>_<d>_<c> is never hg_<g>_<key>.
		e.text("unique_id", "hg_"+n.Gateway+"_"+key)
		e.text("default_entity_id", platform+".hearthgate_"+n.Gateway+"_"+slug(key))
		more(&e)
		e.text("entity_category", "diagnostic")
		cs.raw(key, e.end())
	}
	entity("connection", "binary_sensor", func(e *object) {
		e.text("name", "Connection").text("device_class", "connectivity")
		e.text("state_topic", n.Base+"/bridge/state").text("payload_on", "online").text("payload_off", "offline")
	})
	entity("version", "sensor", func(e *object) {
		e.text("name", "Version").text("state_topic", n.Base+"/bridge/info").text("value_template", "{{ value_json.version }}")
	})
	entity("devices-online", "sensor", func(e *object) {
		e.text("name", "Devices online").text("state_class", "measurement")
		e.text("state_topic", n.Base+"/bridge/health").text("value_template", "{{ value_json.online }}")
	})
	entity("uptime", "sensor", func(e *object) {
		e.text("name", "Uptime").text("device_class", "duration").text("unit_of_measurement", "s")
		e.text("state_topic", n.Base+"/bridge/health").text("value_template", "{{ value_json.uptime }}")
	})
	entity("storage-used", "sensor", func(e *object) {
		e.text("name", "Storage used").text("device_class", "data_size").text("state_class", "measurement").text("unit_of_measurement", "B")
		e.text("state_topic", n.Base+"/bridge/health").text("value_template", "{{ value_json.storage_bytes }}")
	})
	o.raw("components", cs.end())
	return Message{n.GatewayTopic(), o.end()}
}

func (n Names) origin() []byte {
	return (&object{}).text("name", "hearthgate").text("sw_version", n.Version).end()
}

func (n Names) device(d registry.Device) []byte {
	var o object
	o.list("identifiers", []string{n.node(d.ID)})
	o.text("name", orElse(d.Name, d.ID))
	o.text("manufacturer", d.Description.Manufacturer)
	o.text("model", d.Description.Model)
	o.text("hw_version", d.Description.Hardware)
	o.text("sw_version", d.Firmware)
	o.text("serial_number", d.Description.Serial)
	o.text("suggested_area", orElse(d.Area, d.Description.Area))
	o.text("via_device", "hg_"+n.Gateway)
	return o.end()
}

// availability: the first topic covers a dead gateway (its will), the second a
// lost device, the third, if there is one, a value that is too old. What stands
// with a component takes the place of what stands at the root.
func (n Names) availability(o *object, device, fresh string) {
	list := `[{"topic":` + quoted(n.Base+"/bridge/state") + `},{"topic":` + quoted(n.Base+"/device/"+device+"/availability") + `}`
	if fresh != "" {
		list += `,{"topic":` + quoted(fresh) + `}`
	}
	o.raw("availability", []byte(list+"]"))
	o.text("availability_mode", "all")
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
