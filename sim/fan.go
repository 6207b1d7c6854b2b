package sim

import (
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

var (
	fanPresets    = []string{"normal", "sleep", "boost"}
	fanDirections = []string{"forward", "reverse"}
)

// Fan is a fan with all that a fan can have.
type Fan struct {
	pace
	on, oscillate     bool
	speed             float64
	preset, direction string
}

// NewFan returns a fan that is off.
func NewFan(o Options) *Fan {
	return &Fan{pace: newPace(o, 10*time.Minute), speed: 40, preset: fanPresets[0], direction: fanDirections[0]}
}

// Describe implements Model.
func (f *Fan) Describe() *protocol.Describe {
	return &protocol.Describe{
		Model: "CF-5", Manufacturer: "Hearthgate", Name: "Fan",
		Components: []protocol.Component{{
			ID: "fan", Kind: "fan",
			Attributes: map[string]protocol.Attribute{
				"on": {}, "speed": {}, "oscillate": {},
				"preset": {Options: fanPresets}, "direction": {Options: fanDirections},
			},
		}},
	}
}

// Next implements Model.
func (f *Fan) Next() time.Time { return f.next }

// Step implements Model.
func (f *Fan) Step(now time.Time) []protocol.Record {
	if !f.due(now) {
		return nil
	}
	return f.state()
}

func (f *Fan) state() []protocol.Record {
	return []protocol.Record{
		truth("fan/on", f.on), number("fan/speed", f.speed), word("fan/preset", f.preset),
		truth("fan/oscillate", f.oscillate), word("fan/direction", f.direction),
	}
}

// Command implements Model.
func (f *Fan) Command(_ time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	code, problem := obey(set, map[string]setter{
		"fan/on":        setBool(func(on bool) { f.on = on }),
		"fan/speed":     setNumber(0, 100, func(v float64) { f.speed = round(v, 0) }),
		"fan/preset":    setWord(fanPresets, func(p string) { f.preset = p }),
		"fan/oscillate": setBool(func(o bool) { f.oscillate = o }),
		"fan/direction": setWord(fanDirections, func(d string) { f.direction = d }),
	})
	if code != protocol.ResultOK {
		return code, problem, nil
	}
	return code, "", f.state()
}
