package hass

import (
	"math"
	"strconv"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// entity is one component of a discovery message.
type entity struct {
	key      string
	platform string
	body     object // all members but the platform
}

// entities are what Home Assistant is told of a device, in the order described.
func (n Names) entities(d registry.Device) []entity {
	var es []entity
	keys := map[string]bool{}
	var light *protocol.Component // its points come in a row and make one entity
	for _, p := range d.Description.Points() {
		switch {
		case !JSONLight(p.Component):
			if e, ok := n.plain(d, p); ok && !keys[e.key] {
				keys[e.key] = true
				es = append(es, e)
			}
		case p.Component != light:
			light = p.Component
			es = append(es, n.light(d, light))
		}
	}
	return es
}

// plain is the entity of a point with a topic of its own.
func (n Names) plain(d registry.Device, p *protocol.Point) (entity, bool) {
	c := p.Component
	if p.Attribute == "" {
		switch c.Kind {
		case "switch", "siren", "number", "text", "button":
			return n.commanded(d, p), true
		case "select":
			if len(p.Options) > 0 {
				return n.commanded(d, p), true
			}
		case "event":
			return n.event(d, p), len(p.Options) > 0
		}
	}
	switch {
	case !p.Reports || p.Momentary():
		return entity{}, false // nothing to show: what is asked for is no state
	case p.Type == protocol.BoolPoint:
		return n.binarySensor(d, p), true
	}
	return n.sensor(d, p), true
}

// begin opens the entity of a point and writes what all have in common.
func (n Names) begin(d registry.Device, c *protocol.Component, attribute, platform, class string) entity {
	key := c.ID
	if attribute != "" {
		// No component id begins with '_' and no attribute of a known kind has
		// a '-', so this is the key of nothing else.
		key = "_" + c.ID + "-" + attribute
	}
	e := entity{key: key, platform: platform}
	e.body.text("unique_id", n.node(d.ID)+"_"+key)
	e.body.text("default_entity_id", platform+"."+slug(d.ID+"_"+strings.TrimPrefix(key, "_")))
	e.body.text("name", nameOf(c, attribute, platform, class))
	e.body.text("device_class", class)
	return e
}

// nameOf is "" where Home Assistant names the entity after its class by itself,
// in the language of its user.
func nameOf(c *protocol.Component, attribute, platform, class string) string {
	name := orElse(c.Name, spoken(c.ID))
	if attribute != "" {
		return name + " " + strings.ReplaceAll(attribute, "_", " ")
	}
	if c.Name == "" && class != "" && class != "enum" {
		switch platform {
		case "sensor", "binary_sensor", "number", "button":
			return ""
		}
	}
	return name
}

// spoken makes "water_meter" "Water meter".
func spoken(id string) string {
	s := strings.TrimSpace(strings.NewReplacer("_", " ", "-", " ").Replace(id))
	if s == "" {
		return id
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// finish writes what comes last.
func (e *entity) finish(c *protocol.Component) entity {
	switch {
	case c.Category == "diagnostic":
		e.body.text("entity_category", "diagnostic")
	case c.Category == "config" && e.platform != "sensor" && e.platform != "binary_sensor":
		e.body.text("entity_category", "config") // what cannot be set is no configuration
	}
	if c.Hidden {
		e.body.bool("enabled_by_default", false)
	}
	return *e
}

func (n Names) topic(d registry.Device, name, what string) string {
	return n.Base + "/device/" + d.ID + "/" + name + "/" + what
}

func (n Names) sensor(d registry.Device, p *protocol.Point) entity {
	c, u := p.Component, unit{factor: 1}
	if p.Attribute == "" {
		u = unitFor(c.Unit)
	}
	options := p.Options
	if p.Type == protocol.NumberPoint && c.Unit != "" || u.name != "" || c.StateClass != "" {
		options = nil
	}
	class := ""
	switch {
	case len(options) > 0:
		class = "enum"
	case p.Attribute == "":
		class = classFor("sensor", c.Class, u.name)
	}
	e := n.begin(d, c, p.Attribute, "sensor", class)
	if len(options) > 0 {
		e.body.list("options", options)
	} else if p.Attribute == "" {
		e.body.text("state_class", stateClass(c.StateClass))
		e.body.text("unit_of_measurement", u.name)
		if c.Precision != nil && u.factor == 1 && (p.Type == protocol.NumberPoint || class != "") {
			e.body.int("suggested_display_precision", int64(*c.Precision))
		}
	}
	e.body.text("state_topic", n.topic(d, p.Name, "state"))
	if u.factor != 1 {
		e.body.text("value_template", "{{ value | float * "+strconv.Itoa(u.factor)+" }}")
	}
	expireAfter(&e.body, d, c)
	return e.finish(c)
}

// stateClass is one that Home Assistant knows, or none.
func stateClass(s string) string {
	switch s {
	case "measurement", "total", "total_increasing":
		return s
	}
	return ""
}

// expireAfter makes a value that is too old unavailable, but not for a device
// that sleeps longer than its values are fresh.
func expireAfter(o *object, d registry.Device, c *protocol.Component) {
	if c.Freshness > 0 && c.Freshness <= math.MaxInt32 && d.WakeInterval <= c.Freshness {
		o.int("expire_after", int64(c.Freshness))
	}
}

func (n Names) binarySensor(d registry.Device, p *protocol.Point) entity {
	class := ""
	if p.Attribute == "" {
		class = classFor("binary_sensor", p.Component.Class, "")
	}
	e := n.begin(d, p.Component, p.Attribute, "binary_sensor", class)
	e.body.text("state_topic", n.topic(d, p.Name, "state"))
	expireAfter(&e.body, d, p.Component)
	return e.finish(p.Component)
}

// commanded is the entity of a component that takes plain values.
func (n Names) commanded(d registry.Device, p *protocol.Point) entity {
	c, platform := p.Component, p.Component.Kind
	u := unit{factor: 1}
	if platform == "number" {
		if u = unitFor(c.Unit); u.factor != 1 {
			u = unit{factor: 1} // shown as it is commanded
		}
	}
	e := n.begin(d, c, "", platform, classFor(platform, c.Class, u.name))
	switch platform {
	case "number":
		numberRange(&e.body, p)
		e.body.text("unit_of_measurement", u.name)
	case "select":
		e.body.list("options", p.Options)
	case "siren":
		e.body.bool("support_duration", false).bool("support_volume_set", false).text("command_template", "{{ value }}")
	case "text":
		e.body.int("max", 255)
	}
	if p.Reports {
		e.body.text("state_topic", n.topic(d, p.Name, "state"))
	}
	e.body.text("command_topic", n.topic(d, p.Name, "set"))
	e.body.int("qos", 1)
	return e.finish(c)
}

// farthest bounds a number that the description leaves open: without bounds
// Home Assistant would take 1 to 100.
const farthest = 1e9

func numberRange(o *object, p *protocol.Point) {
	low, high := -farthest, farthest
	if p.Min != nil {
		low = *p.Min
	}
	if p.Max != nil {
		high = *p.Max
	}
	o.number("min", low).number("max", max(low, high))
	step := 1.0
	switch {
	case p.Step != nil && *p.Step > 0:
		step = *p.Step
	case p.Component.Precision != nil:
		step = math.Pow10(-*p.Component.Precision)
	}
	o.number("step", min(max(step, 0.001), farthest))
	if p.Min == nil || p.Max == nil {
		o.text("mode", "box")
	}
}

func (n Names) event(d registry.Device, p *protocol.Point) entity {
	e := n.begin(d, p.Component, "", "event", classFor("event", p.Component.Class, ""))
	e.body.text("state_topic", n.topic(d, p.Name, "event"))
	e.body.list("event_types", p.Options)
	return e.finish(p.Component)
}

// light is one entity with one JSON topic each way: a click in Home Assistant
// stays one command.
func (n Names) light(d registry.Device, c *protocol.Component) entity {
	e := n.begin(d, c, "", "light", "")
	e.body.text("schema", "json")
	e.body.text("state_topic", n.topic(d, c.ID, "state"))
	e.body.text("command_topic", n.topic(d, c.ID, "set"))
	_, brightness := c.Attributes["brightness"]
	temp, colorTemp := c.Attributes["color_temp"]
	_, rgb := c.Attributes["rgb"]
	effect, effects := c.Attributes["effect"]
	var modes []string
	if colorTemp {
		modes = append(modes, "color_temp")
	}
	if rgb {
		modes = append(modes, "rgb")
	}
	switch {
	case len(modes) > 0:
	case brightness:
		modes = []string{"brightness"}
	default:
		modes = []string{"onoff"}
	}
	e.body.list("supported_color_modes", modes)
	if brightness {
		e.body.bool("brightness", true).int("brightness_scale", 100)
	}
	if colorTemp {
		e.body.bool("color_temp_kelvin", true)
		if temp.Min != nil && temp.Max != nil && *temp.Min >= 1 && *temp.Max >= *temp.Min && *temp.Max <= 100000 {
			e.body.int("min_kelvin", int64(*temp.Min)).int("max_kelvin", int64(*temp.Max))
		}
	}
	if effects && len(effect.Options) > 0 {
		e.body.bool("effect", true).list("effect_list", effect.Options)
	}
	e.body.bool("transition", false).bool("flash", false)
	e.body.int("qos", 1)
	return e.finish(c)
}
