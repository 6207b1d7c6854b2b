package protocol

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrNotSettable: the point only reports and cannot be commanded.
var ErrNotSettable = errors.New("cannot be commanded")

// Check reports whether a record fits. A name without '/' that is unknown fits
// and is returned as the new component that it makes (nil otherwise).
func (d *Description) Check(r *Record) (*Component, error) {
	p := d.points[r.Name]
	if p == nil {
		return d.checkUnknown(r)
	}
	if !p.Reports {
		return nil, fmt.Errorf("a %s never reports", p.Component.Kind)
	}
	if err := p.fits(r.Value); err != nil {
		return nil, err
	}
	if described := p.unit(); described != "" && r.Unit != "" && r.Unit != described {
		return nil, fmt.Errorf("unit %s, described as %s", quote(r.Unit), quote(described))
	}
	return nil, nil
}

// checkUnknown decides about a name that has no point.
func (d *Description) checkUnknown(r *Record) (*Component, error) {
	id, attribute, slash := strings.Cut(r.Name, "/")
	c := d.components[id]
	switch {
	case c == nil && slash:
		return nil, fmt.Errorf("there is no component %s", quote(id))
	case c != nil && slash:
		return nil, fmt.Errorf("%s has no attribute %s", quote(id), quote(attribute))
	case c != nil:
		return nil, fmt.Errorf("%s needs an attribute, as in %s", quote(id), quote(d.example(c)))
	}
	made := &Component{ID: id, Kind: KindSensor, Unit: r.Unit, Category: "diagnostic", Auto: true, Text: r.Value.IsText()}
	if r.Value.IsBool() {
		made.Kind = KindBinarySensor
	}
	return made, nil
}

// example is the name of the first point of a component.
func (d *Description) example(c *Component) string {
	i := slices.IndexFunc(d.ordered, func(p *Point) bool { return p.Component == c })
	return d.ordered[i].Name
}

// unit is the unit that records of p may name, "" if any will do. A percentage
// beside other attributes is not in the unit of its component.
func (p *Point) unit() string {
	if p.trait.percent || p.Attribute != "" && p.Type != NumberPoint {
		return ""
	}
	return p.Component.Unit
}

// fits checks type and option of a value, as reported or asked for.
func (p *Point) fits(v Value) error {
	switch {
	case p.Type == NumberPoint && !v.IsNumber():
		return p.wants("a number", v)
	case p.Type == BoolPoint && !v.IsBool():
		return p.wants("a bool", v)
	case p.Type == TextPoint && !v.IsText():
		return p.wants("a text", v)
	case p.Type == AnyPoint && p.Component.Kind == KindSensor && v.IsBool():
		return p.wants("a number or a text", v)
	case p.Type != TextPoint:
		return nil
	case p.trait.colour && !isColour(v.AsText()):
		return fmt.Errorf("%s is %s, must be a colour as #rrggbb", p.Name, quote(v.AsText()))
	case p.Options != nil && !slices.Contains(p.Options, v.AsText()):
		return fmt.Errorf("%s is %s, must be one of %s", p.Name, quote(v.AsText()), list(p.Options))
	}
	return nil
}

func (p *Point) wants(what string, v Value) error {
	got := "a number"
	switch {
	case v.IsBool():
		got = "a bool"
	case v.IsText():
		got = "a text"
	case v.kind == None:
		got = "nothing"
	}
	return fmt.Errorf("%s is %s, must be %s", p.Name, got, what)
}

func isColour(s string) bool {
	if len(s) != 7 || s[0] != '#' {
		return false
	}
	_, err := strconv.ParseUint(s[1:], 16, 32)
	return err == nil
}

// CheckCommand reports whether v may be asked of p: settable, type, options,
// min and max. The error says what would be right; it is ErrNotSettable when
// nothing would.
func (p *Point) CheckCommand(v Value) error {
	if !p.Settable {
		return fmt.Errorf("%s %w", p.Name, ErrNotSettable)
	}
	if v.kind == None {
		return fmt.Errorf("%s: no value", p.Name)
	}
	if err := p.fits(v); err != nil {
		return err
	}
	if v.IsText() && (len(v.text) > DefaultText || !utf8.ValidString(v.text)) {
		return fmt.Errorf("%s must be UTF-8 of at most %d bytes", p.Name, DefaultText)
	}
	if !v.IsNumber() {
		return nil
	}
	f := v.AsFloat()
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return fmt.Errorf("%s must be a finite number", p.Name)
	case p.Type == NumberPoint && (p.Min != nil && f < *p.Min || p.Max != nil && f > *p.Max):
		return fmt.Errorf("%s is %s, must be %s", p.Name, v, p.bounds())
	}
	return nil
}

// bounds says where a command's number has to lie.
func (p *Point) bounds() string {
	switch {
	case p.Max == nil:
		return "at least " + Float(*p.Min).String()
	case p.Min == nil:
		return "at most " + Float(*p.Max).String()
	}
	return Float(*p.Min).String() + " to " + Float(*p.Max).String()
}

// Parse reads the plain text of a command (MQTT payload, CLI argument) as a
// value of p: numbers, ON/OFF and true/false and 1/0 for bools, text.
func (p *Point) Parse(s string) (Value, error) {
	switch p.Type {
	case NumberPoint:
		v, ok := parseNumber(strings.TrimSpace(s))
		if !ok {
			return Value{}, fmt.Errorf("%s is %s, must be a number", p.Name, quote(s))
		}
		return v, nil
	case BoolPoint:
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "on", "true", "1":
			return Bool(true), nil
		case "off", "false", "0":
			return Bool(false), nil
		}
		return Value{}, fmt.Errorf("%s is %s, must be ON or OFF", p.Name, quote(s))
	}
	if !utf8.ValidString(s) {
		return Value{}, fmt.Errorf("%s is not UTF-8", p.Name)
	}
	return Text(s), nil
}

// parseNumber reads a decimal, nothing of what Go would take beyond that.
func parseNumber(s string) (Value, bool) {
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return Value{}, false
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return Int(i), true
	}
	f, err := strconv.ParseFloat(s, 64)
	return Float(f), err == nil
}

// Momentary reports whether acting twice on p would do something twice (a
// button, an action): such a command is not sent again to another boot.
func (p *Point) Momentary() bool {
	return p.Component.Kind == KindButton || p.Settable && p.Attribute == "action"
}

// Guarded reports whether p belongs to a button, lock, cover, valve or siren:
// a command to it never waits for a sleeper without a ttl.
func (p *Point) Guarded() bool {
	switch p.Component.Kind {
	case KindButton, KindLock, KindCover, KindValve, KindSiren:
		return true
	}
	return false
}

// quote puts a text of a device into a message, cut where it gets long.
func quote(s string) string {
	const most = 32
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}

// list names the first options of many.
func list(options []string) string {
	const most = 6
	if len(options) > most {
		return strings.Join(quoted(options[:most]), ", ") + " and others"
	}
	return strings.Join(quoted(options), ", ")
}

func quoted(options []string) []string {
	q := make([]string, len(options))
	for i, o := range options {
		q[i] = quote(o)
	}
	return q
}
