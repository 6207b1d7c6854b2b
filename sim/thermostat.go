package sim

import (
	"math/rand/v2"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

var thermostatModes = []string{"off", "heat", "auto"}

// Thermostat is a room with a radiator: it cools towards the weather and warms
// while the valve is open.
type Thermostat struct {
	pace
	rng         *rand.Rand
	last        time.Time
	mode        string
	target      float64
	temperature float64
	humidity    float64
	heating     bool
	told        string // the action that was reported last
}

// NewThermostat returns a thermostat that heats to 21 °C.
func NewThermostat(o Options) *Thermostat {
	rng := o.rng(1)
	return &Thermostat{
		pace: newPace(o, 30*time.Second), rng: rng, last: o.Start,
		mode: "heat", target: 21,
		temperature: 19 + 2*rng.Float64(), humidity: 40 + 10*rng.Float64(),
	}
}

// Describe implements Model.
func (t *Thermostat) Describe() *protocol.Describe {
	return &protocol.Describe{
		Model: "RT-2", Manufacturer: "Hearthgate", Name: "Thermostat",
		Components: []protocol.Component{{
			ID: "thermostat", Kind: "climate", Precision: ptr(1),
			Attributes: map[string]protocol.Attribute{
				"mode":        {Options: thermostatModes},
				"target":      {Min: ptr(5.0), Max: ptr(30.0), Step: ptr(0.5)},
				"temperature": {}, "humidity": {}, "action": {},
			},
		}},
	}
}

// Next implements Model.
func (t *Thermostat) Next() time.Time { return t.next }

// Step implements Model.
func (t *Thermostat) Step(now time.Time) []protocol.Record {
	t.live(now)
	if !t.due(now) {
		return nil
	}
	records := []protocol.Record{
		number("thermostat/temperature", round(t.temperature, 1)),
		number("thermostat/humidity", round(t.humidity, 0)),
	}
	if t.told == "" {
		records = append(records, t.settings()...)
	}
	return append(records, t.action()...)
}

// live lets the room warm and cool.
func (t *Thermostat) live(now time.Time) {
	hours := clamp(now.Sub(t.last).Hours(), 0, 24)
	t.last = now
	outside := 8 + daily(now, 5)
	// A quarter of the difference an hour is lost, in steps small enough for it.
	for left := hours; left > 0; left -= 0.1 {
		dt := min(left, 0.1)
		t.switchValve()
		warmth := (outside - t.temperature) * 0.1
		if t.heating {
			warmth += 4
		}
		t.temperature += warmth * dt
	}
	t.temperature += t.rng.NormFloat64() * 0.02
	t.humidity = clamp(t.humidity+t.rng.NormFloat64()*0.2, 25, 75)
}

// switchValve has half a degree of hysteresis.
func (t *Thermostat) switchValve() {
	switch {
	case t.mode == "off", t.temperature > t.target+0.25:
		t.heating = false
	case t.temperature < t.target-0.25:
		t.heating = true
	}
}

func (t *Thermostat) settings() []protocol.Record {
	return []protocol.Record{word("thermostat/mode", t.mode), number("thermostat/target", t.target)}
}

// action is reported when it changed.
func (t *Thermostat) action() []protocol.Record {
	is := "idle"
	switch {
	case t.mode == "off":
		is = "off"
	case t.heating:
		is = "heating"
	}
	if is == t.told {
		return nil
	}
	t.told = is
	return []protocol.Record{word("thermostat/action", is)}
}

// Command implements Model.
func (t *Thermostat) Command(now time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	code, problem := obey(set, map[string]setter{
		"thermostat/mode":   setWord(thermostatModes, func(m string) { t.mode = m }),
		"thermostat/target": setNumber(5, 30, func(v float64) { t.target = v }),
	})
	if code != protocol.ResultOK {
		return code, problem, nil
	}
	t.switchValve()
	return code, "", append(t.settings(), t.action()...)
}
