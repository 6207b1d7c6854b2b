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
	Text       bool // of an Auto sensor: its first value was a text, so all must be
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
	trait     *trait
}

// PointType is what values a point takes.
type PointType uint8

// Types of points.
const (
	NumberPoint PointType = iota
	BoolPoint
	TextPoint
	AnyPoint // a button's command; a sensor that did not say; an unknown kind
)

// Description is a description that can be used: parsed, checked, indexed. It
// never changes and is safe for concurrent use.
type Description struct {
	Model, Manufacturer, Serial, Hardware, Name, Area string
	Components                                        []Component // in the order described
	points                                            map[string]*Point
	ordered                                           []*Point
	components                                        map[string]*Component
}
