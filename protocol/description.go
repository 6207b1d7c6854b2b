package protocol

import (
	"crypto/sha256"
	"slices"
)

// NewDescription checks d and indexes its points. extra are components that
// came into being by records (Auto); one whose id is there already is left out.
// The error is a *Refusal with code InvalidRecord or TooLarge that names component
// and reason.
//
// d may be nil: a device that never described itself has only extra ones.
func NewDescription(d *Describe, extra []Component, l Limits) (*Description, error) {
	if d == nil {
		d = &Describe{}
	}
	n := &Description{
		Model: d.Model, Manufacturer: d.Manufacturer, Serial: d.Serial,
		Hardware: d.Hardware, Name: d.Name, Area: d.Area,
		Components: slices.Clone(d.Components),
		points:     map[string]*Point{},
		components: map[string]*Component{},
	}
	for _, c := range extra {
		if !slices.ContainsFunc(n.Components, func(o Component) bool { return o.ID == c.ID }) {
			n.Components = append(n.Components, c)
		}
	}
	if most := l.WithDefaults().Components; len(n.Components) > most {
		return nil, &Refusal{Code: TooLarge, Message: number(len(n.Components)) + " components, at most " + number(most)}
	}
	for i := range n.Components {
		c := &n.Components[i]
		if why := n.add(c); why != "" {
			return nil, wrong(componentLabel(i, c.ID) + ": " + why)
		}
	}
	return n, nil
}

// add checks one component and indexes its points. It returns what is wrong.
func (d *Description) add(c *Component) string {
	if why := c.check(); why != "" {
		return why
	}
	if d.components[c.ID] != nil {
		return "the id is there twice"
	}
	d.components[c.ID] = c
	traits, known := kinds[c.Kind]
	switch {
	case !known:
		traits = unknownKind(c)
	case hasAttributes(traits):
		if why := c.checkAttributes(traits); why != "" {
			return why
		}
	case c.Attributes != nil:
		return "a " + c.Kind + " has no attributes"
	}
	for i := range traits {
		t := &traits[i]
		a, described := c.Attributes[t.name]
		if t.name != "" && !described {
			continue
		}
		p, why := newPoint(c, t, a)
		if why != "" {
			return why
		}
		d.points[p.Name] = p
		d.ordered = append(d.ordered, p)
	}
	return ""
}

// check looks at what does not depend on the kind.
func (c *Component) check() string {
	switch {
	case !validName([]byte(c.ID)):
		return "the id is not [a-z0-9][a-z0-9_-]{0,31}"
	case c.Kind == "":
		return "no kind"
	case c.Category != "" && c.Category != "config" && c.Category != "diagnostic":
		return "the category is neither config nor diagnostic"
	case !slices.Contains([]string{"", "measurement", "total", "total_increasing"}, c.StateClass):
		return "the state class is not measurement, total or total_increasing"
	case c.Precision != nil && (*c.Precision < 0 || *c.Precision > maxPrecision):
		return "the precision is above " + number(maxPrecision)
	}
	return ""
}

// maxPrecision is how many decimals a float64 can have any use for.
const maxPrecision = 17

// checkAttributes sees that a component of a kind made of attributes has some
// and only such as its kind knows.
func (c *Component) checkAttributes(traits []trait) string {
	if len(c.Attributes) == 0 {
		return "a " + c.Kind + " needs attributes (key 14)"
	}
	for name := range c.Attributes {
		if !slices.ContainsFunc(traits, func(t trait) bool { return t.name == name }) {
			if !validName([]byte(name)) {
				return "the name of an attribute is not [a-z0-9][a-z0-9_-]{0,31}"
			}
			return "a " + c.Kind + " has no attribute " + name
		}
	}
	return ""
}

// unknownKind gives a component of a later version of the protocol the traits
// of a plain sensor: any value, under its own name or under the attributes that
// it lists, and nothing to command.
func unknownKind(c *Component) []trait {
	if len(c.Attributes) == 0 {
		return []trait{{typ: AnyPoint}}
	}
	var traits []trait
	for name := range c.Attributes {
		traits = append(traits, trait{name: name, typ: AnyPoint})
	}
	slices.SortFunc(traits, func(a, b trait) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return traits
}

// newPoint makes the point of one trait of a component.
func newPoint(c *Component, t *trait, a Attribute) (*Point, string) {
	p := &Point{
		Name: c.ID, Component: c, Type: t.typ, Reports: !t.silent, Settable: t.settable,
		Min: c.Min, Max: c.Max, Step: c.Step, Options: c.Options, trait: t,
	}
	if t.name != "" {
		if !validName([]byte(t.name)) {
			return nil, "the name of an attribute is not [a-z0-9][a-z0-9_-]{0,31}"
		}
		p.Name, p.Attribute = c.ID+"/"+t.name, t.name
		p.Min, p.Max, p.Step, p.Options = a.Min, a.Max, a.Step, a.Options
	}
	if c.Kind == KindSensor {
		p.Type = sensorType(c)
	}
	if t.percent {
		p.Min, p.Max = orElse(p.Min, 0), orElse(p.Max, 100)
	}
	return p, p.complete()
}

func orElse(n *float64, absent float64) *float64 {
	if n == nil {
		return &absent
	}
	return n
}

// sensorType is what a sensor measures: numbers if it has a unit or a state
// class, texts if it has options. One that says nothing may send either. One
// that a record made has the type of that record.
func sensorType(c *Component) PointType {
	switch {
	case c.Auto && c.Text:
		return TextPoint
	case c.Auto || c.Unit != "" || c.StateClass != "":
		return NumberPoint
	case len(c.Options) > 0:
		return TextPoint
	}
	return AnyPoint
}

// complete checks bounds and options and fills in those that the kind gives.
func (p *Point) complete() string {
	what := ""
	if p.Attribute != "" {
		what = p.Attribute + ": "
	}
	switch {
	case p.Min != nil && p.Max != nil && *p.Min > *p.Max:
		return what + "min is above max"
	case p.Step != nil && *p.Step <= 0:
		return what + "the step is not above 0"
	case p.Type != TextPoint:
		p.Options = nil
		return ""
	case len(p.Options) > 0 && p.trait.options != nil:
		for _, o := range p.Options {
			if !slices.Contains(p.trait.options, o) {
				return what + quote(o) + " is not one of " + list(p.trait.options)
			}
		}
	case len(p.Options) > 0:
	case p.trait.own:
		return what + "needs options (key 10)"
	default:
		p.Options = p.trait.options
	}
	return ""
}

// Hash is hello.2: the first 8 bytes of SHA-256 over the body map as sent. Of a
// Describe without Raw it is that of the bytes that Append writes.
func (d *Describe) Hash() Hash {
	sum := sha256.Sum256(d.appendBody(nil))
	return Hash(sum[:8])
}

// Point is the point of that record name, nil if the description lacks it.
func (d *Description) Point(name string) *Point { return d.points[name] }

// PointsOf are the point of that name or, for a component that is set by its
// attributes, the points of these. None if there is no such name.
func (d *Description) PointsOf(name string) []*Point {
	if p := d.points[name]; p != nil {
		return []*Point{p}
	}
	var of []*Point
	for _, p := range d.ordered {
		if p.Component.ID == name {
			of = append(of, p)
		}
	}
	return of
}

// Points are all points in the order described.
func (d *Description) Points() []*Point { return slices.Clone(d.ordered) }
