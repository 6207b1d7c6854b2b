// Package homiecheck holds what is published against the Homie convention 5.0, from
// its text and not from ours: ids, the description document, formats, and whether
// what is retained is what the descriptions promise.
package homiecheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Device is a description document.
type Device struct {
	Homie      *string          `json:"homie"`
	Version    *int64           `json:"version"`
	Name       *string          `json:"name"`
	Type       *string          `json:"type"`
	Nodes      map[string]*Node `json:"nodes"`
	Children   []string         `json:"children"`
	Root       *string          `json:"root"`
	Parent     *string          `json:"parent"`
	Extensions []string         `json:"extensions"`
}

// Node is one of a device.
type Node struct {
	Name       *string              `json:"name"`
	Type       *string              `json:"type"`
	Properties map[string]*Property `json:"properties"`
}

// Property is one of a node.
type Property struct {
	Name     *string `json:"name"`
	Datatype string  `json:"datatype"`
	Format   string  `json:"format"`
	Settable bool    `json:"settable"`
	Retained *bool   `json:"retained"`
	Unit     *string `json:"unit"`
}

// IsRetained is Retained with its default.
func (p *Property) IsRetained() bool { return p.Retained == nil || *p.Retained }

var id = regexp.MustCompile(`^[a-z0-9-]+$`)

// Parse reads a description and holds it against the convention.
func Parse(document []byte) (*Device, error) {
	if bytes.Contains(document, []byte("null")) && hasNull(document) {
		return nil, errors.New("a field is null")
	}
	d := &Device{}
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.DisallowUnknownFields()
	if err := dec.Decode(d); err != nil {
		return nil, err
	}
	switch {
	case d.Homie == nil || !regexp.MustCompile(`^5\.\d+$`).MatchString(*d.Homie):
		return nil, errors.New("homie is not 5.x")
	case d.Version == nil:
		return nil, errors.New("no version")
	case d.Name == nil:
		return nil, errors.New("no name")
	case d.Parent != nil && d.Root == nil:
		return nil, errors.New("a parent but no root")
	}
	for _, c := range d.Children {
		if !id.MatchString(c) {
			return nil, fmt.Errorf("child %q: no id", c)
		}
	}
	for name, n := range d.Nodes {
		if !id.MatchString(name) {
			return nil, fmt.Errorf("node %q: no id", name)
		}
		for pid, p := range n.Properties {
			if !id.MatchString(pid) {
				return nil, fmt.Errorf("property %s/%q: no id", name, pid)
			}
			if err := p.check(); err != nil {
				return nil, fmt.Errorf("property %s/%s: %w", name, pid, err)
			}
		}
	}
	return d, nil
}

// hasNull reports whether a value, not a text, is null.
func hasNull(document []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(document))
	for {
		t, err := dec.Token()
		if err != nil {
			return false
		}
		if t == nil {
			return true
		}
	}
}

// check holds the format against the datatype.
func (p *Property) check() error {
	switch p.Datatype {
	case "integer", "float":
		_, _, err := p.bounds()
		return err
	case "enum":
		values := strings.Split(p.Format, ",")
		slices.Sort(values)
		if slices.Contains(values, "") || len(slices.Compact(values)) != strings.Count(p.Format, ",")+1 {
			return fmt.Errorf("format %q of an enum", p.Format)
		}
	case "color":
		for f := range strings.SplitSeq(p.Format, ",") {
			if f != "rgb" && f != "hsv" && f != "xyz" {
				return fmt.Errorf("format %q of a color", p.Format)
			}
		}
	case "boolean":
		if n := strings.Count(p.Format, ","); p.Format != "" && n != 1 {
			return fmt.Errorf("format %q of a boolean", p.Format)
		}
	case "string", "datetime", "duration":
		if p.Format != "" {
			return fmt.Errorf("a %s has no format", p.Datatype)
		}
	case "json":
	default:
		return fmt.Errorf("datatype %q", p.Datatype)
	}
	return nil
}

// bounds reads [min]:[max][:step].
func (p *Property) bounds() (low, high float64, err error) {
	low, high = math.Inf(-1), math.Inf(1)
	if p.Format == "" {
		return low, high, nil
	}
	parts := strings.Split(p.Format, ":")
	if len(parts) != 2 && len(parts) != 3 {
		return 0, 0, fmt.Errorf("format %q: want [min]:[max][:step]", p.Format)
	}
	for i, s := range parts {
		if s == "" && i < 2 {
			continue
		}
		f, err := number(p.Datatype, s)
		switch {
		case err != nil:
			return 0, 0, fmt.Errorf("format %q: %w", p.Format, err)
		case i == 0:
			low = f
		case i == 1:
			high = f
		case f <= 0:
			return 0, 0, fmt.Errorf("format %q: the step is not above 0", p.Format)
		}
	}
	if low > high {
		return 0, 0, fmt.Errorf("format %q: min is above max", p.Format)
	}
	return low, high, nil
}

var (
	integer = regexp.MustCompile(`^-?[0-9]+$`)
	float   = regexp.MustCompile(`^-?[0-9]*\.?[0-9]+([eE]-?[0-9]+)?$`)
)

func number(datatype, s string) (f float64, err error) {
	if datatype == "integer" && !integer.MatchString(s) || !float.MatchString(s) {
		return 0, fmt.Errorf("%q is no %s", s, datatype)
	}
	if datatype == "integer" {
		if _, err = strconv.ParseInt(s, 10, 64); err != nil {
			return 0, err
		}
	}
	return strconv.ParseFloat(s, 64)
}

var duration = regexp.MustCompile(`^PT(\d+H)?(\d+M)?(\d+S)?$`)

// Check holds a payload against datatype and format.
func (p *Property) Check(payload string) error {
	switch {
	case payload == "":
		return errors.New("an empty payload is no value")
	case !utf8.ValidString(payload) || strings.HasPrefix(payload, "\ufeff"):
		return fmt.Errorf("%q is not UTF-8 without a byte order mark", payload)
	}
	ok := true
	switch p.Datatype {
	case "integer", "float":
		f, err := number(p.Datatype, payload)
		if err != nil {
			return err
		}
		low, high, err := p.bounds()
		if err != nil {
			return err
		}
		ok = f >= low && f <= high
	case "boolean":
		ok = payload == "true" || payload == "false"
	case "enum":
		ok = slices.Contains(strings.Split(p.Format, ","), payload)
	case "color":
		return p.checkColour(payload)
	case "datetime":
		_, err := time.Parse(time.RFC3339, payload)
		return err
	case "duration":
		ok = duration.MatchString(payload)
	case "json":
		ok = json.Valid([]byte(payload)) && strings.ContainsRune("[{", rune(payload[0]))
	}
	if !ok {
		return fmt.Errorf("%q is out of %s %q", payload, p.Datatype, p.Format)
	}
	return nil
}

func (p *Property) checkColour(payload string) error {
	most := map[string][]float64{"rgb": {255, 255, 255}, "hsv": {360, 100, 100}, "xyz": {1, 1}}
	parts := strings.Split(payload, ",")
	limits := most[parts[0]]
	if !slices.Contains(strings.Split(p.Format, ","), parts[0]) || len(parts) != len(limits)+1 {
		return fmt.Errorf("%q is no color of format %q", payload, p.Format)
	}
	for i, s := range parts[1:] {
		if f, err := number("float", s); err != nil || f < 0 || f > limits[i] {
			return fmt.Errorf("%q: %q is out of 0 to %v", payload, s, limits[i])
		}
	}
	return nil
}

var states = []string{"init", "ready", "disconnected", "sleeping", "lost"}

// Tree holds all that a broker retains below a prefix against the convention. It
// returns the states of the devices there.
func Tree(retained map[string]string, prefix string) (map[string]string, error) {
	state, devices := map[string]string{}, map[string]*Device{}
	for topic, payload := range retained {
		device, what, _ := strings.Cut(strings.TrimPrefix(topic, prefix+"/5/"), "/")
		switch {
		case !strings.HasPrefix(topic, prefix+"/5/"):
			continue
		case !id.MatchString(device):
			return nil, fmt.Errorf("%s: no id of a device", topic)
		case what == "$state" && !slices.Contains(states, payload):
			return nil, fmt.Errorf("%s: %q is no state", topic, payload)
		case what == "$state":
			state[device] = payload
		case what == "$description":
			d, err := Parse([]byte(payload))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", topic, err)
			}
			devices[device] = d
		}
	}
	for device, d := range devices {
		if err := d.family(device, devices); err != nil {
			return nil, fmt.Errorf("%s: %w", device, err)
		}
		if state[device] == "" {
			return nil, fmt.Errorf("%s has no $state", device)
		}
	}
	for topic, payload := range retained {
		rest, below := strings.CutPrefix(topic, prefix+"/5/")
		if !below {
			continue
		}
		level := strings.Split(rest, "/")
		d := devices[level[0]]
		switch {
		case d == nil:
			return nil, fmt.Errorf("%s: its device has no $description", topic)
		case level[1] == "$state" || level[1] == "$description" || level[1] == "$alert" && len(level) == 3 && id.MatchString(level[2]):
		case len(level) != 3 || d.Nodes[level[1]] == nil || d.Nodes[level[1]].Properties[level[2]] == nil:
			return nil, fmt.Errorf("%s: is not described", topic)
		case !d.Nodes[level[1]].Properties[level[2]].IsRetained():
			return nil, fmt.Errorf("%s: is retained and must not be", topic)
		default:
			if err := d.Nodes[level[1]].Properties[level[2]].Check(payload); err != nil {
				return nil, fmt.Errorf("%s: %w", topic, err)
			}
		}
	}
	return state, nil
}

// family checks root, parent and children.
func (d *Device) family(self string, devices map[string]*Device) error {
	for _, c := range d.Children {
		if devices[c] == nil {
			return fmt.Errorf("its child %s is not there", c)
		}
		if devices[c].parent() != self {
			return fmt.Errorf("its child %s has the parent %q", c, devices[c].parent())
		}
	}
	if d.Root == nil {
		return nil
	}
	switch parent := devices[d.parent()]; {
	case devices[*d.Root] == nil || devices[*d.Root].Root != nil:
		return fmt.Errorf("its root %s is not there, or none", *d.Root)
	case parent == nil || !slices.Contains(parent.Children, self):
		return fmt.Errorf("its parent %s does not know it", d.parent())
	}
	return nil
}

func (d *Device) parent() string {
	switch {
	case d.Parent != nil:
		return *d.Parent
	case d.Root != nil:
		return *d.Root
	}
	return ""
}
