package hass

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// Warning says what of a description Home Assistant would not take and is
// therefore not sent.
type Warning struct {
	Component string
	Message   string
}

func (w Warning) String() string { return w.Component + ": " + w.Message }

// Warnings are what Home Assistant cannot be told of a device as it describes
// itself.
func Warnings(d registry.Device) []Warning { return Names{}.describe(d).warnings }

// describer gathers the entities of a device.
type describer struct {
	Names
	d        registry.Device
	entities []entity
	keys     map[string]bool
	warnings []Warning
}

// describe is what Home Assistant is told of a device, in the order described.
func (n Names) describe(d registry.Device) *describer {
	b := &describer{Names: n, d: d, keys: map[string]bool{}}
	points := d.Description.Points()
	for len(points) > 0 {
		c := points[0].Component
		ps := parts{}
		var own []*protocol.Point // the points of a component come in a row
		for len(points) > 0 && points[0].Component == c {
			ps[points[0].Attribute] = points[0]
			own = append(own, points[0])
			points = points[1:]
		}
		if b.whole(c, ps) {
			continue
		}
		for _, p := range own {
			b.plain(p)
		}
	}
	b.diagnostics()
	return b
}

// parts are the points of a component by attribute.
type parts map[string]*protocol.Point

// has reports whether all of these attributes are there.
func (ps parts) has(attributes ...string) bool {
	for _, a := range attributes {
		if ps[a] == nil {
			return false
		}
	}
	return true
}

// whole makes one entity of a component with attributes. It is false for one
// that lacks what Home Assistant needs: its attributes are shown as sensors.
func (b *describer) whole(c *protocol.Component, ps parts) bool {
	switch c.Kind {
	case protocol.KindLight:
		if !JSONLight(c) {
			return false
		}
		b.light(c, ps)
	case protocol.KindCover:
		b.cover(c, ps)
	case protocol.KindValve:
		b.valve(c, ps)
	case protocol.KindLock:
		if !ps.has("action") {
			return false
		}
		b.lock(c, ps)
	case protocol.KindFan:
		if !ps.has("on") {
			return false
		}
		b.fan(c, ps)
	case protocol.KindClimate:
		return b.climate(c, ps)
	case protocol.KindHumidifier:
		return b.humidifier(c, ps)
	default:
		return false
	}
	return true
}

// add takes an entity in. Of two with one key, which only unknown kinds can
// have, the first stands.
func (b *describer) add(e entity) {
	if !b.keys[e.key] {
		b.keys[e.key] = true
		b.entities = append(b.entities, e)
	}
}

func (b *describer) warn(c *protocol.Component, format string, args ...any) {
	b.warnings = append(b.warnings, Warning{c.ID, fmt.Sprintf(format, args...)})
}

// plain adds the entity of a point with a topic of its own.
func (b *describer) plain(p *protocol.Point) {
	if p.Attribute == "" {
		switch p.Component.Kind {
		case protocol.KindSwitch, protocol.KindSiren, protocol.KindNumber, protocol.KindSelect, protocol.KindText, protocol.KindButton:
			b.commanded(p)
			return
		case protocol.KindEvent:
			b.event(p)
			return
		}
	}
	switch {
	case !p.Reports || p.Momentary(): // nothing to show: what is asked for is no state
	case p.Type == protocol.BoolPoint:
		b.binarySensor(p)
	default:
		b.sensor(p)
	}
}

// begin opens the entity of a point and writes what all have in common.
func (b *describer) begin(c *protocol.Component, attribute, platform, class string) entity {
	key := c.ID
	if attribute != "" {
		// No component id begins with '_' and no attribute of a known kind has
		// a '-', so this is the key of nothing else.
		key = "_" + c.ID + "-" + attribute
	}
	e := entity{key: key, platform: platform}
	e.body.text("unique_id", b.node(b.d.ID)+"_"+key)
	e.body.text("default_entity_id", platform+"."+slug(b.d.ID+"_"+strings.TrimPrefix(key, "_")))
	b.name(&e, nameOf(c, attribute, platform, class))
	e.body.text("device_class", class)
	return e
}

// name writes the name. Home Assistant puts that of the device in front, so it
// does not stand here again. What is called like its device (Fan of Bathroom fan)
// is its main feature and has none.
func (b *describer) name(e *entity, name string) {
	device := orElse(b.d.Name, b.d.ID)
	switch rest, same := cutPrefixFold(name, device); {
	case name == "": // that of its class
	case same && rest == "", hasSuffixFold(device, " "+name):
		e.body.null("name")
	case same && rest[0] == ' ' && strings.TrimSpace(rest) != "":
		e.body.text("name", capital(strings.TrimSpace(rest)))
	default:
		e.body.text("name", name)
	}
}

func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
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
	return capital(s)
}

func capital(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[n:]
}

// finish writes what comes last and takes the entity in.
func (b *describer) finish(e entity, c *protocol.Component) {
	switch {
	case c.Category == "diagnostic", c.Category == "" && reportsTheLink(e.platform, c):
		e.body.text("entity_category", "diagnostic")
	case c.Category == "config" && e.platform != "sensor" && e.platform != "binary_sensor":
		e.body.text("entity_category", "config") // what cannot be set is no configuration
	}
	if c.Hidden {
		e.body.bool("enabled_by_default", false)
	}
	if Budget(b.d, c) > 0 {
		e.alone = true
		b.availability(&e.body, b.d.ID, b.topic(c.ID, "availability"))
	}
	b.add(e)
}

// reportsTheLink: how well a device is heard is about the device, not the home,
// though few devices say so.
func reportsTheLink(platform string, c *protocol.Component) bool {
	return platform == "sensor" && c.Class == "signal_strength"
}

// topic is one of the device; name is that of a point, or of a light.
func (b *describer) topic(name, what string) string {
	return b.Base + "/device/" + b.d.ID + "/" + name + "/" + what
}

// state writes the topic that a point reports on, set the one that commands it.
func (b *describer) state(e *entity, key string, p *protocol.Point) {
	e.body.text(key, b.topic(p.Name, "state"))
}

func (b *describer) set(e *entity, key string, p *protocol.Point) {
	e.body.text(key, b.topic(p.Name, "set"))
}

// reliably asks Home Assistant to send its commands at least once. It comes
// last: the gateway gives each an outcome, but only if it arrives.
func (e *entity) reliably() { e.body.int("qos", 1) }

func (b *describer) binarySensor(p *protocol.Point) {
	class := ""
	if p.Attribute == "" {
		class = b.class("binary_sensor", p.Component, unit{})
	}
	e := b.begin(p.Component, p.Attribute, "binary_sensor", class)
	b.state(&e, "state_topic", p)
	b.expireAfter(&e, p.Component)
	b.finish(e, p.Component)
}

// expireAfter makes a value that is too old unavailable, but not for a device
// that sleeps longer than its values are fresh.
func (b *describer) expireAfter(e *entity, c *protocol.Component) {
	if budget := Budget(b.d, c); budget > 0 {
		e.body.int("expire_after", int64(budget/time.Second))
	}
}

// Budget is for how long a value of a component is true, 0 = until the next one:
// a device that sleeps for longer than its values are fresh cannot do better.
func Budget(d registry.Device, c *protocol.Component) time.Duration {
	switch {
	case c.Freshness == 0 || c.Freshness > math.MaxInt32, d.WakeInterval > c.Freshness:
		return 0
	case c.Kind == protocol.KindEvent, c.Kind == protocol.KindButton:
		return 0 // they have no state
	}
	return time.Duration(c.Freshness) * time.Second
}

// commanded is the entity of a component that takes plain values.
func (b *describer) commanded(p *protocol.Point) {
	c, platform := p.Component, p.Component.Kind
	u := unit{factor: 1}
	if platform == "number" {
		u = unitFor(c.Unit)
	}
	e := b.begin(c, "", platform, b.class(platform, c, u))
	switch platform {
	case "number":
		numberRange(&e.body, p, u)
	case "select":
		e.body.list("options", p.Options)
	case "siren":
		e.body.bool("support_duration", false).bool("support_volume_set", false).text("command_template", "{{ value }}")
	case "text":
		e.body.int("max", 255).text("value_template", shortTemplate)
	}
	if p.Reports {
		b.state(&e, "state_topic", p)
	}
	b.set(&e, "command_topic", p)
	e.reliably()
	b.finish(e, c)
}

// farthest bounds a number that the description leaves open: without bounds
// Home Assistant would take 1 to 100.
const farthest = 1e9

func numberRange(o *object, p *protocol.Point, u unit) {
	scale := float64(u.factor)
	low, high := -farthest, farthest
	if p.Min != nil {
		low = *p.Min * scale
	}
	if p.Max != nil {
		high = *p.Max * scale
	}
	o.number("min", low).number("max", max(low, high))
	step := 1.0
	switch {
	case p.Step != nil && *p.Step > 0:
		step = *p.Step * scale
	case p.Component.Precision != nil:
		step = math.Pow10(-*p.Component.Precision) * scale
	}
	o.number("step", min(max(step, 0.001), farthest))
	if p.Min == nil || p.Max == nil {
		o.text("mode", "box")
	}
	o.text("unit_of_measurement", u.name)
	if u.factor != 1 {
		o.text("value_template", u.shown()).text("command_template", u.asked())
	}
}

// light is one entity with one JSON topic each way: a click in Home Assistant
// stays one command.
func (b *describer) light(c *protocol.Component, ps parts) {
	e := b.begin(c, "", "light", b.class("light", c, unit{}))
	e.body.text("schema", "json")
	e.body.text("state_topic", b.topic(c.ID, "state"))
	e.body.text("command_topic", b.topic(c.ID, "set"))
	var modes []string
	for _, colour := range []string{"color_temp", "rgb"} {
		if ps.has(colour) {
			modes = append(modes, colour)
		}
	}
	switch {
	case len(modes) > 0:
	case ps.has("brightness"):
		modes = []string{"brightness"}
	default:
		modes = []string{"onoff"}
	}
	e.body.list("supported_color_modes", modes)
	if p := ps["brightness"]; p != nil {
		scale := int64(100)
		if *p.Max >= 1 && *p.Max <= math.MaxInt32 {
			scale = int64(*p.Max)
		}
		e.body.bool("brightness", true).int("brightness_scale", scale)
	}
	if p := ps["color_temp"]; p != nil {
		e.body.bool("color_temp_kelvin", true)
		if p.Min != nil && p.Max != nil && *p.Min >= 1 && *p.Max >= *p.Min && *p.Max <= 100000 {
			e.body.int("min_kelvin", int64(math.Ceil(*p.Min))).int("max_kelvin", int64(math.Floor(*p.Max)))
		}
	}
	if p := ps["effect"]; p != nil {
		e.body.bool("effect", true).list("effect_list", p.Options)
	}
	e.body.bool("transition", false).bool("flash", false)
	e.reliably()
	b.finish(e, c)
}
