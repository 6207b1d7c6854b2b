package sim

import (
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Lamp is a dimmable light with a colour temperature. It reports when it
// changes, and its state now and then.
type Lamp struct {
	pace
	on         bool
	brightness float64
	kelvin     float64
}

// NewLamp returns a lamp that is off.
func NewLamp(o Options) *Lamp {
	return &Lamp{pace: newPace(o, 10*time.Minute), brightness: 80, kelvin: 2700}
}

// Describe implements Model.
func (l *Lamp) Describe() *protocol.Describe {
	return &protocol.Describe{
		Model: "LB-7", Manufacturer: "Hearthgate", Name: "Lamp",
		Components: []protocol.Component{{
			ID: "light", Kind: "light",
			Attributes: map[string]protocol.Attribute{
				"on": {}, "brightness": {}, "color_temp": {Min: ptr(2700.0), Max: ptr(6500.0)},
			},
		}},
	}
}

// Next implements Model.
func (l *Lamp) Next() time.Time { return l.next }

// Step implements Model.
func (l *Lamp) Step(now time.Time) []protocol.Record {
	if !l.due(now) {
		return nil
	}
	return l.state()
}

func (l *Lamp) state() []protocol.Record {
	return []protocol.Record{
		truth("light/on", l.on),
		number("light/brightness", l.brightness),
		number("light/color_temp", l.kelvin),
	}
}

// Command implements Model.
func (l *Lamp) Command(now time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	code, problem := obey(set, map[string]setter{
		"light/on":         setBool(func(on bool) { l.on = on }),
		"light/brightness": setNumber(0, 100, func(v float64) { l.brightness = round(v, 0) }),
		"light/color_temp": setNumber(2700, 6500, func(v float64) { l.kelvin = round(v, 0) }),
	})
	if code != protocol.ResultOK {
		return code, problem, nil
	}
	return code, "", l.state()
}
