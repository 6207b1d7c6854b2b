package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// refusal is an outcome that is known at once, nil if there is none.
type refusal struct {
	outcome Outcome
	message string
}

func refuse(o Outcome, format string, args ...any) *refusal {
	return &refusal{o, fmt.Sprintf(format, args...)}
}

// checked is a request that passed the checks.
type checked struct {
	set       []Setting         // values resolved, each name once
	records   []protocol.Record // the same for the device
	momentary bool              // must not happen twice
	guarded   bool              // does not wait for a sleeper without a ttl
}

// check holds a request against what the device says it is.
func check(dev registry.Device, r Request) (checked, *refusal) {
	if no := checkForm(r); no != nil {
		return checked{}, no
	}
	var o checked
	for _, s := range lastOfEachName(r.Set) {
		p := dev.Description.Point(s.Name)
		if no := checkPoint(dev, s.Name, p); no != nil {
			return checked{}, no
		}
		v, err := resolve(p, s)
		if err != nil {
			return checked{}, refuse(Invalid, "%v", err)
		}
		o.set = append(o.set, Setting{Name: s.Name, Value: v})
		o.records = append(o.records, protocol.Record{Name: s.Name, Value: v})
		o.momentary = o.momentary || p.Momentary()
		o.guarded = o.guarded || p.Guarded()
	}
	return o, checkSize(dev, o)
}

func checkForm(r Request) *refusal {
	switch {
	case len(r.ID) > MaxID:
		return refuse(Invalid, "id of %d bytes: at most %d", len(r.ID), MaxID)
	case len(r.Set) == 0:
		return refuse(Invalid, "nothing to set")
	case longestName(r.Set) > maxNameLength:
		return refuse(Invalid, "a name of %d bytes: at most %d", longestName(r.Set), maxNameLength)
	case r.TTL < 0:
		return refuse(Invalid, "ttl %v: want a time above 0", r.TTL)
	case r.TTL > MaxTTL:
		return refuse(Invalid, "ttl %v: at most 90 days", r.TTL)
	}
	return nil
}

// maxNameLength is that of component/attribute (PROTOCOL.md, Record). What is
// longer names nothing, and is not repeated in messages.
const maxNameLength = 65

func longestName(set []Setting) (n int) {
	for _, s := range set {
		n = max(n, len(s.Name))
	}
	return n
}

func checkPoint(dev registry.Device, name string, p *protocol.Point) *refusal {
	switch {
	case p == nil && len(dev.Description.Points()) == 0:
		return refuse(Unsupported, "%s has not said yet what it has: it must connect once", dev.ID)
	case p == nil && strings.Contains(name, "/"):
		component, attribute, _ := strings.Cut(name, "/")
		return refuse(Unsupported, "%s has no %q of a component %q", dev.ID, attribute, component)
	case p == nil:
		if parts := dev.Description.PointsOf(name); len(parts) > 0 {
			return refuse(Unsupported, "%s is set by its attributes, such as %s", name, parts[0].Name)
		}
		return refuse(Unsupported, "%s has no component %q (hearthgate device show %[1]s lists them)", dev.ID, name)
	case !p.Settable:
		return refuse(Unsupported, "%s cannot be set, only read", name)
	}
	return nil
}

// resolve is the value that the setting asks of p, as it is sent.
func resolve(p *protocol.Point, s Setting) (protocol.Value, error) {
	v := s.Value
	if v.Kind() == protocol.None {
		var err error
		if v, err = p.Parse(s.Text); err != nil {
			return v, err
		}
	}
	return v.Normal(), p.CheckCommand(v)
}

// Understood is what a request asks, in the form of a command: a text is read as
// what the description (nil if there is none) says it is, as far as it can be.
func Understood(d *protocol.Description, set []Setting) []Setting {
	if d == nil {
		return set
	}
	out := slices.Clone(set)
	for i, s := range out {
		p := d.Point(s.Name)
		if p == nil || s.Value.Kind() != protocol.None {
			continue
		}
		if v, err := p.Parse(s.Text); err == nil {
			out[i] = Setting{Name: s.Name, Value: v.Normal()}
		}
	}
	return out
}

func lastOfEachName(set []Setting) []Setting {
	last := make(map[string]int, len(set))
	for i, s := range set {
		last[s.Name] = i
	}
	each := make([]Setting, 0, len(last))
	for i, s := range set {
		if last[s.Name] == i {
			each = append(each, s)
		}
	}
	return each
}

// smallFrame is what every device takes (PROTOCOL.md, hello.5).
const smallFrame = 512

// checkSize refuses what the device could not receive.
func checkSize(dev registry.Device, o checked) *refusal {
	atMost := 64
	for _, s := range o.set {
		atMost += 16 + len(s.Name) + len(s.Value.AsText())
	}
	if atMost <= smallFrame || dev.MaxFrame == 0 {
		return nil // as nearly always
	}
	frame := protocol.Append(nil, &protocol.Command{
		ID: maxCommandID, Records: o.records, Left: uint64(MaxTTL.Milliseconds()), Attempt: 1 << 16,
	})
	if uint64(len(frame)) > dev.MaxFrame {
		return refuse(Invalid, "%d bytes for the device, which takes %d at once: set less in one command", len(frame), dev.MaxFrame)
	}
	return nil
}

// covers reports whether a sets every name that b sets.
func covers(a, b []Setting) bool {
	for _, s := range b {
		found := false
		for _, t := range a {
			found = found || s.Name == t.Name
		}
		if !found {
			return false
		}
	}
	return true
}
