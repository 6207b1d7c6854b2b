package protocol

// Component is one entry of describe.7. Absent texts are "", absent numbers nil.
type Component struct {
	ID         string
	Kind       string
	Name       string
	Unit       string
	Class      string
	Category   string
	Min        *float64
	Max        *float64
	Step       *float64
	Options    []string
	Precision  *int
	StateClass string
	Freshness  uint64               // s, 0 = none
	Attributes map[string]Attribute // describe.7[].14
	Hidden     bool
	Auto       bool // made from a record, not described (see PROTOCOL.md, Record)
}

// Attribute is one entry of a component's key 14.
type Attribute struct {
	Min, Max, Step *float64
	Options        []string
}

// Point is one thing of a device that has a value or takes one: a component,
// or one attribute of it.
type Point struct {
	Name      string // the record name: "temperature", "desk/brightness"
	Component *Component
	Attribute string // "" for a component without attributes
	Type      PointType
	Reports   bool // false: a record of it is refused (button)
	Settable  bool
	Min, Max  *float64 // of a command; a measurement out of them is a fact
	Step      *float64
	Options   []string // of a text, nil = any text
}

// PointType is what values a point takes.
type PointType uint8

// Types of points.
const (
	NumberPoint PointType = iota
	BoolPoint
	TextPoint
	AnyPoint // a button's command
)

// Description is a description that can be used: parsed, checked, indexed. It
// never changes and is safe for concurrent use.
type Description struct {
	Model, Manufacturer, Serial, Hardware, Name, Area string
	Components                                        []Component // in the order described
	points                                            map[string]*Point
}

// NewDescription checks d and indexes its points. extra are components that
// came into being by records (Auto); one that d describes too is left out. The
// error is a *Refusal with code InvalidRecord or TooLarge that names component
// and reason.
func NewDescription(d *Describe, extra []Component, l Limits) (*Description, error) {
	panic("not written yet")
}

// Hash is hello.2: the first 8 bytes of SHA-256 over the body map as sent.
func (d *Describe) Hash() Hash { panic("not written yet") }

// Point is the point of that record name, nil if the description lacks it.
func (d *Description) Point(name string) *Point { return d.points[name] }

// Points are all points in the order described.
func (d *Description) Points() []*Point { panic("not written yet") }

// Check reports whether a record fits. A name without '/' that is unknown fits
// and is returned as the new component that it makes (nil otherwise).
func (d *Description) Check(r *Record) (*Component, error) { panic("not written yet") }

// CheckCommand reports whether v may be asked of p: settable, type, options,
// min and max. The error says what would be right.
func (p *Point) CheckCommand(v Value) error { panic("not written yet") }

// Parse reads the plain text of a command (MQTT payload, CLI argument) as a
// value of p: numbers, ON/OFF and true/false and 1/0 for bools, text.
func (p *Point) Parse(s string) (Value, error) { panic("not written yet") }

// Momentary reports whether acting twice on p would do something twice (a
// button, an action): such a command is not sent again to another boot.
func (p *Point) Momentary() bool { panic("not written yet") }

// Guarded reports whether p belongs to a button, lock, cover, valve or siren:
// a command to it never waits for a sleeper without a ttl.
func (p *Point) Guarded() bool { panic("not written yet") }

// ValidDeviceID reports whether s is [a-z0-9][a-z0-9-]{0,62}.
func ValidDeviceID(s string) bool { panic("not written yet") }
