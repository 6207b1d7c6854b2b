package protocol

import (
	"math"

	"github.com/hearthgate/hearthgate/internal/cbor"
)

// describe reads what a device says it is. Whether that can be used is for
// NewDescription to say; here each value has to have its type.
func (f *fields) describe() Frame {
	if len(f.b) > f.limits.Description {
		f.fail(TooLarge, "a describe of "+number(len(f.b))+" bytes, at most "+number(f.limits.Description))
		return nil
	}
	d := &Describe{
		Model:        f.text(1),
		Manufacturer: f.text(2),
		Serial:       f.text(3),
		Hardware:     f.text(5),
		Name:         f.text(6),
		Area:         f.text(8),
		Raw:          append([]byte{}, f.b[f.body:]...),
	}
	f.need(7)
	if f.bad != nil {
		return nil
	}
	r := f.reader(7)
	n, err := r.Array()
	if err != nil {
		f.fail(Malformed, f.key(7)+" is not an array")
		return nil
	}
	if n > f.limits.Components {
		f.fail(TooLarge, number(n)+" components, at most "+number(f.limits.Components))
		return nil
	}
	d.Components = make([]Component, n)
	for i := range d.Components {
		c := &componentReader{b: f.b, r: &r, textLimit: f.limits.Text}
		if c.component(&d.Components[i]); c.bad != nil {
			c.bad.Message = componentLabel(i, d.Components[i].ID) + ": " + c.bad.Message
			f.bad = c.bad
			return nil
		}
	}
	return d
}

// componentLabel says which component a refusal is about.
func componentLabel(i int, id string) string {
	if !validName([]byte(id)) {
		return "component " + number(i)
	}
	return "component " + number(i) + " (" + id + ")"
}

// componentReader reads one component. The first thing that is wrong stays in
// bad.
type componentReader struct {
	b         []byte
	r         *cbor.Reader
	textLimit int
	bad       *Refusal
}

func (c *componentReader) fail(key uint64, why string) {
	if c.bad == nil {
		c.bad = wrong("key " + number(key) + " " + why)
	}
}

// pairs goes through a map with unsigned keys, none of them twice.
func (c *componentReader) pairs(what string, each func(key uint64)) {
	n, err := c.r.Map()
	if err != nil {
		c.bad = wrong(what + " is not a map")
		return
	}
	var keys keySet
	keys.start(c.b)
	for i := 0; i < n && c.bad == nil; i++ {
		at := c.r.Offset()
		key, err := c.r.Uint()
		if err != nil {
			c.bad = wrong("a key is not an unsigned integer")
			return
		}
		if !keys.add(cbor.Head{Major: cbor.Uint, Arg: key}, at) {
			c.fail(key, "is there twice")
			return
		}
		each(key)
	}
	if c.bad == nil && keys.repeated() {
		c.bad = wrong("a key is there twice")
	}
}

func (c *componentReader) component(to *Component) {
	c.pairs("a component", func(key uint64) {
		switch key {
		case 1:
			to.ID = c.text(key)
		case 2:
			to.Kind = c.text(key)
		case 3:
			to.Name = c.text(key)
		case 4:
			to.Unit = c.text(key)
		case 5:
			to.Class = c.text(key)
		case 6:
			to.Category = c.text(key)
		case 7:
			to.Min = c.number(key)
		case 8:
			to.Max = c.number(key)
		case 9:
			to.Step = c.number(key)
		case 10:
			to.Options = c.options(key)
		case 11:
			precision := int(min(c.uint(key), math.MaxInt32))
			to.Precision = &precision
		case 12:
			to.StateClass = c.text(key)
		case 13:
			to.Freshness = c.uint(key)
		case 14:
			to.Attributes = c.attributes(key)
		case 15:
			to.Hidden = c.bool(key)
		default:
			_ = c.r.Skip() // was passed over before
		}
	})
}

// attributes reads {text: {7: min, 8: max, 9: step, 10: options}}.
func (c *componentReader) attributes(key uint64) map[string]Attribute {
	n, err := c.r.Map()
	if err != nil {
		c.fail(key, "is not a map")
		return nil
	}
	if n > maxAttributes {
		c.bad = &Refusal{Code: TooLarge, Message: number(n) + " attributes, at most " + number(maxAttributes)}
		return nil
	}
	all := make(map[string]Attribute, n)
	for i := 0; i < n && c.bad == nil; i++ {
		name := c.text(key)
		if _, twice := all[name]; twice {
			c.fail(key, "has an attribute twice")
		}
		var a Attribute
		if c.bad == nil {
			c.attribute(&a)
		}
		all[name] = a
	}
	return all
}

func (c *componentReader) attribute(to *Attribute) {
	c.pairs("an attribute", func(key uint64) {
		switch key {
		case 7:
			to.Min = c.number(key)
		case 8:
			to.Max = c.number(key)
		case 9:
			to.Step = c.number(key)
		case 10:
			to.Options = c.options(key)
		default:
			_ = c.r.Skip()
		}
	})
}

func (c *componentReader) text(key uint64) string {
	s, err := c.r.Text()
	if err != nil {
		c.fail(key, "is not a text")
	}
	if len(s) > c.textLimit {
		if c.bad == nil {
			c.bad = &Refusal{Code: TooLarge, Message: "key " + number(key) + " has " + number(len(s)) + " bytes, at most " + number(c.textLimit)}
		}
		return ""
	}
	return string(s)
}

func (c *componentReader) uint(key uint64) uint64 {
	u, err := c.r.Uint()
	if err != nil {
		c.fail(key, "is not an unsigned integer")
	}
	return u
}

func (c *componentReader) number(key uint64) *float64 {
	v, bad := readNumber(c.r, "key "+number(key))
	if bad != nil && c.bad == nil {
		c.bad = bad
	}
	n := v.Normal().AsFloat()
	return &n
}

func (c *componentReader) bool(key uint64) bool {
	v, err := readValue(c.r)
	if err != nil || !v.IsBool() {
		c.fail(key, "is not a bool")
	}
	return v.AsBool()
}

func (c *componentReader) options(key uint64) []string {
	n, err := c.r.Array()
	if err != nil {
		c.fail(key, "is not an array")
		return nil
	}
	options := make([]string, 0, n)
	for i := 0; i < n && c.bad == nil; i++ {
		options = append(options, c.text(key))
	}
	return options
}
