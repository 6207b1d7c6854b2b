package homie

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hearthgate/hearthgate/internal/decimal"
	"github.com/hearthgate/hearthgate/protocol"
)

// empty stands for the empty text, since an empty payload removes a topic.
const empty = "\x00"

// Payload is how a value is written; ok is false for one that the property cannot
// have.
func (t *Property) Payload(v protocol.Value) (payload string, ok bool) {
	switch t.Datatype {
	case "boolean":
		return v.String(), v.IsBool()
	case "float":
		return t.number(v)
	case "color":
		return colour(v)
	case "enum":
		return v.AsText(), slices.Contains(t.point.Options, v.AsText())
	}
	if t.point.Type == protocol.TextPoint && !v.IsText() || v.Kind() == protocol.None {
		return "", false
	}
	s := strings.TrimLeft(v.String(), "\ufeff") // a byte order mark must not be there
	return orElse(s, empty), utf8.ValidString(s)
}

func (t *Property) number(v protocol.Value) (string, bool) {
	if !v.IsNumber() {
		return "", false
	}
	s := t.decimal(v)
	if c := t.point.Component; t.point.Attribute == "" && c.Precision != nil {
		s = string(decimal.Append(nil, s, max(0, *c.Precision-t.digits())))
	}
	f, err := strconv.ParseFloat(s, 64)
	return s, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) && t.within(f)
}

// within reports whether a number in the unit of the property is within the format.
func (t *Property) within(f float64) bool {
	p := t.point
	return !p.Settable || (p.Min == nil || f >= t.scaled(*p.Min)) && (p.Max == nil || f <= t.scaled(*p.Max))
}

// scaled is a number in the unit of the property, as its decimal says it.
func (t *Property) scaled(f float64) float64 {
	g, _ := strconv.ParseFloat(t.decimal(protocol.Float(f)), 64)
	return g
}

// decimal is a number in the unit of the property. An exponent has no plus there.
func (t *Property) decimal(v protocol.Value) string {
	s := v.String()
	if t.factor != 1 {
		// Fifteen digits are what binary fractions leave right: 0.57 is 57 %, not
		// 56.99999999999999.
		f, _ := strconv.ParseFloat(s, 64)
		g, _ := strconv.ParseFloat(strconv.FormatFloat(f*float64(t.factor), 'g', 15, 64), 64)
		s = protocol.Float(g).String()
	}
	return strings.ReplaceAll(s, "+", "")
}

// digits is how many decimals fewer a number has in the unit of the property.
func (t *Property) digits() (n int) {
	for f := t.factor; f >= 10; f /= 10 {
		n++
	}
	return n
}

// colour is #rrggbb as rgb,r,g,b.
func colour(v protocol.Value) (string, bool) {
	hex, ok := strings.CutPrefix(v.AsText(), "#")
	n, err := strconv.ParseUint(hex, 16, 24)
	return fmt.Sprintf("rgb,%d,%d,%d", n>>16, n>>8&255, n&255), ok && err == nil && len(hex) == 6
}

// Setting is what …/set of a node's property asks for: the name of the point and its
// value. Of a point that is not there or cannot be set the value is the payload as a
// text, and the command service says what is wrong. d may be nil.
func (n Names) Setting(d *protocol.Description, node, property string, payload []byte) (name string, v protocol.Value, err error) {
	name, p := lookUp(d, node, property)
	switch {
	case !utf8.Valid(payload):
		return name, v, errors.New("not valid UTF-8")
	case p == nil || !p.Settable:
		return name, protocol.Text(string(payload)), nil
	}
	v, err = n.property(p).parse(string(payload))
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return name, v, err
}

// lookUp finds the point of a property, nil if there is none.
func lookUp(d *protocol.Description, node, property string) (name string, p *protocol.Point) {
	component, ok := nameOf(node)
	attribute, ok2 := nameOf(property)
	if !ok || !ok2 {
		return node + "/" + property, nil // as it came: no name of ours has such an id
	}
	if d == nil {
		return component + "/" + attribute, nil
	}
	if property == single {
		if p := d.Point(component); p != nil {
			return component, p
		}
	}
	name = component + "/" + attribute
	return name, d.Point(name)
}

// parse reads a payload as the value that the device is asked for. Whether it may be
// asked for is for the command service to say.
func (t *Property) parse(s string) (v protocol.Value, err error) {
	switch t.Datatype {
	case "boolean":
		if s != "true" && s != "false" {
			return v, fmt.Errorf("%q is neither true nor false", brief(s))
		}
		return protocol.Bool(s == "true"), nil
	case "float":
		return t.parseNumber(s)
	case "color":
		return parseColour(s)
	case "enum":
		if !slices.Contains(strings.Split(t.Format, ","), s) {
			return v, fmt.Errorf("%q is not one of %s", brief(s), t.Format)
		}
		if t.point.Component.Kind == protocol.KindButton {
			s = "PRESS"
		}
	}
	if s == empty {
		s = ""
	}
	return protocol.Text(s), nil
}

// float reads a number in the one form that the convention knows.
func float(s string) (f float64, ok bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && strings.Trim(s, "-.0123456789eE") == ""
}

// parseNumber takes the number to the nearest step from the least or else the
// largest value, and back from the unit of the property.
func (t *Property) parseNumber(s string) (v protocol.Value, err error) {
	f, ok := float(s)
	if !ok {
		return v, fmt.Errorf("%q is not a number", brief(s))
	}
	base := t.point.Min
	if base == nil {
		base = t.point.Max
	}
	step := t.point.Step
	if t.factor == 1 && (step == nil || base == nil) {
		return t.point.Parse(s)
	}
	f /= float64(t.factor)
	if step != nil && base != nil {
		f = *base + math.Round((f-*base) / *step)**step
	}
	if f, err = strconv.ParseFloat(strconv.FormatFloat(f, 'g', 15, 64), 64); err != nil {
		return v, fmt.Errorf("%q is not a number that the device could take", brief(s))
	}
	return protocol.Float(f).Normal(), nil
}

// parseColour reads rgb,r,g,b, which may have fractions.
func parseColour(s string) (v protocol.Value, err error) {
	parts := strings.Split(s, ",")
	var rgb [3]uint8
	bad := len(parts) != 4 || parts[0] != "rgb"
	for i := range rgb {
		if bad {
			break
		}
		f, ok := float(parts[i+1])
		bad = !ok || f < 0 || f > 255
		rgb[i] = uint8(math.Round(f))
	}
	if bad {
		return v, fmt.Errorf("%q is not a colour such as rgb,255,0,10", brief(s))
	}
	return protocol.Text(fmt.Sprintf("#%02x%02x%02x", rgb[0], rgb[1], rgb[2])), nil
}

// brief is a payload as a message may repeat it.
func brief(s string) string {
	const most = 32
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
