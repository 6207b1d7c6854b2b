package sim

import (
	"math/rand/v2"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Garden is a sensor on a battery that sleeps: it wakes, reports and is gone
// until its next wake-up. How often it wakes can be set.
type Garden struct {
	pace
	rng         *rand.Rand
	start       time.Time
	temperature float64
	humidity    float64
}

// NewGarden returns a sensor that wakes every five minutes.
func NewGarden(o Options) *Garden {
	return &Garden{pace: newPace(o, 5*time.Minute), rng: o.rng(6), start: o.Start, humidity: 70}
}

// WakeInterval implements Sleeper.
func (g *Garden) WakeInterval() time.Duration { return g.every }

// Describe implements Model.
func (g *Garden) Describe() *protocol.Describe {
	return &protocol.Describe{
		Model: "GS-2", Manufacturer: "Hearthgate", Name: "Garden sensor",
		Components: []protocol.Component{
			{ID: "temperature", Kind: "sensor", Unit: "Cel", Class: "temperature", StateClass: "measurement", Precision: ptr(2)},
			{ID: "humidity", Kind: "sensor", Unit: "%RH", Class: "humidity", StateClass: "measurement", Precision: ptr(1)},
			{ID: "battery", Kind: "sensor", Unit: "%EL", Class: "battery", StateClass: "measurement", Category: "diagnostic"},
			{ID: "interval", Kind: "number", Unit: "s", Min: ptr(10.0), Max: ptr(3600.0), Step: ptr(1.0), Category: "config"},
		},
	}
}

// Next implements Model.
func (g *Garden) Next() time.Time { return g.next }

// Step implements Model.
func (g *Garden) Step(now time.Time) []protocol.Record {
	if !g.due(now) {
		return nil
	}
	g.temperature = 8 + daily(now, 5) + 0.1*g.rng.NormFloat64()
	g.humidity = clamp(g.humidity+g.rng.NormFloat64(), 30, 100)
	return []protocol.Record{
		number("temperature", round(g.temperature, 2)),
		number("humidity", round(g.humidity, 1)),
		number("battery", max(0, round(100-now.Sub(g.start).Hours()/24/5, 0))),
		number("interval", g.every.Seconds()),
	}
}

// Command implements Model.
func (g *Garden) Command(now time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	code, problem := obey(set, map[string]setter{
		"interval": setNumber(10, 3600, func(s float64) {
			g.every = time.Duration(s) * time.Second
			g.next = now.Add(g.every)
		}),
	})
	if code != protocol.ResultOK {
		return code, problem, nil
	}
	return code, "", []protocol.Record{number("interval", g.every.Seconds())}
}
