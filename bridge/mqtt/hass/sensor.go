package hass

import "github.com/hearthgate/hearthgate/protocol"

// sensor is a point that only reports: a sensor, a kind that we do not know, or
// an attribute of a component that is no entity as a whole.
func (b *describer) sensor(p *protocol.Point) {
	c := p.Component
	if p.Attribute != "" {
		b.attributeSensor(p)
		return
	}
	u := unitFor(c.Unit)
	if options := sensorOptions(p, u); len(options) > 0 {
		b.choiceSensor(p, options)
		return
	}
	class := b.class("sensor", c, u)
	e := b.begin(c, "", "sensor", class)
	e.body.text("state_class", b.stateClass(c, class))
	e.body.text("unit_of_measurement", u.name)
	if c.Precision != nil && (p.Type == protocol.NumberPoint || class != "") {
		e.body.int("suggested_display_precision", int64(max(0, *c.Precision-u.digits())))
	}
	b.state(&e, "state_topic", p)
	switch {
	case u.factor != 1:
		e.body.text("value_template", u.shown())
	case class == "timestamp":
		e.body.text("value_template", "{{ value | as_datetime(none) }}") // seconds since 1970, or ISO 8601
	case p.Type != protocol.NumberPoint && class == "":
		e.body.text("value_template", shortTemplate)
	}
	b.expireAfter(&e, c)
	b.finish(e, c)
}

// shortTemplate: Home Assistant refuses a state of more than 255 characters, and
// would go on showing the one before. truncate leaves what is up to 5 longer.
const shortTemplate = "{{ value | truncate(250, true, '') }}"

// sensorOptions are the words of a sensor that says one of a few. Home Assistant
// takes none beside a unit or a state class.
func sensorOptions(p *protocol.Point, u unit) []string {
	if c := p.Component; p.Type == protocol.NumberPoint && c.Unit != "" || u.name != "" || c.StateClass != "" {
		return nil
	}
	return p.Options
}

func (b *describer) choiceSensor(p *protocol.Point, options []string) {
	c := p.Component
	if p.Attribute == "" && c.Class != "" && c.Class != "enum" {
		b.warn(c, "the class %q does not go with options; shown as one of them", c.Class)
	}
	e := b.begin(c, p.Attribute, "sensor", "enum")
	e.body.list("options", options)
	b.state(&e, "state_topic", p)
	b.expireAfter(&e, c)
	b.finish(e, c)
}

func (b *describer) attributeSensor(p *protocol.Point) {
	if p.Type == protocol.TextPoint && len(p.Options) > 0 {
		b.choiceSensor(p, p.Options)
		return
	}
	u, class := attributeUnit(p)
	e := b.begin(p.Component, p.Attribute, "sensor", class)
	e.body.text("unit_of_measurement", u)
	b.state(&e, "state_topic", p)
	b.expireAfter(&e, p.Component)
	b.finish(e, p.Component)
}

// attributeUnit is what an attribute is measured in, as its kind says.
func attributeUnit(p *protocol.Point) (unit, class string) {
	switch p.Attribute {
	case "humidity", "target_humidity":
		return "%", "humidity"
	case "brightness", "position", "tilt", "speed":
		if *p.Min == 0 && *p.Max == 100 {
			return "%", ""
		}
	case "color_temp":
		return "K", ""
	case "temperature", "target", "target_low", "target_high":
		switch {
		case p.Component.Kind == protocol.KindHumidifier:
			return "%", "humidity"
		case p.Component.Unit == "":
			return "", ""
		}
		u := unitFor(p.Component.Unit)
		return u.name, classFor("sensor", "temperature", u.name)
	}
	return "", ""
}
