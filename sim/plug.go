package sim

import (
	"math/rand/v2"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Plug is a switched socket with a power meter and an appliance in it that
// draws power in cycles, as a fridge does.
type Plug struct {
	pace
	rng     *rand.Rand
	last    time.Time
	on      bool
	running bool
	flips   time.Time // when the appliance starts or stops by itself
	power   float64   // W
	energy  float64   // kWh
}

// NewPlug returns a plug that is on.
func NewPlug(o Options) *Plug {
	rng := o.rng(3)
	return &Plug{
		pace: newPace(o, 10*time.Second), rng: rng, last: o.Start,
		on: true, flips: o.Start, energy: round(500*rng.Float64(), 3),
	}
}

// Describe implements Model.
func (p *Plug) Describe() *protocol.Describe {
	return &protocol.Describe{
		Model: "SP-1", Manufacturer: "Hearthgate", Name: "Plug",
		Components: []protocol.Component{
			{ID: "socket", Kind: "switch", Class: "outlet"},
			{ID: "power", Kind: "sensor", Unit: "W", Class: "power", StateClass: "measurement", Precision: ptr(1)},
			{ID: "voltage", Kind: "sensor", Unit: "V", Class: "voltage", StateClass: "measurement", Precision: ptr(1), Category: "diagnostic"},
			{ID: "energy", Kind: "sensor", Unit: "kWh", Class: "energy", StateClass: "total_increasing", Precision: ptr(3)},
		},
	}
}

// Next implements Model.
func (p *Plug) Next() time.Time { return p.next }

// Step implements Model.
func (p *Plug) Step(now time.Time) []protocol.Record {
	p.live(now)
	if !p.due(now) {
		return nil
	}
	return p.state()
}

func (p *Plug) live(now time.Time) {
	p.energy += p.power / 1000 * clamp(now.Sub(p.last).Hours(), 0, 24)
	p.last = now
	if !now.Before(p.flips) {
		p.running = !p.running
		p.flips = now.Add(time.Duration(8+p.rng.IntN(12)) * time.Minute)
	}
	switch {
	case !p.on:
		p.power = 0
	case p.running:
		p.power = 85 + 5*p.rng.NormFloat64()
	default:
		p.power = 1.2 + 0.1*p.rng.Float64()
	}
}

func (p *Plug) state() []protocol.Record {
	return []protocol.Record{
		truth("socket", p.on),
		number("power", round(p.power, 1)),
		number("voltage", round(230+1.5*p.rng.NormFloat64(), 1)),
		number("energy", round(p.energy, 3)),
	}
}

// Command implements Model.
func (p *Plug) Command(now time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	code, problem := obey(set, map[string]setter{"socket": setBool(func(on bool) { p.on = on })})
	if code != protocol.ResultOK {
		return code, problem, nil
	}
	p.live(now)
	return code, "", p.state()
}
