package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// The home of DESIGN.md: what is measured is what it costs to keep its history.
const (
	deviceCount = 50
	interval    = 10 * time.Second
)

// A series is one value that a device measures, with the decimals that such a
// sensor gives.
type series struct {
	name, unit, class string
	decimals          int
	next              func(r *rand.Rand, before float64) float64
}

// climate and plug are the two kinds of devices. None has what a person may be
// waiting for (a switch, a contact), since that is committed at once.
var (
	climate = []series{
		{"temperature", "Cel", "temperature", 2, walk(21, 0.02, 0.02)},
		{"humidity", "%RH", "humidity", 1, walk(48, 0.1, 0.02)},
		{"pressure", "hPa", "pressure", 1, walk(1013, 0.05, 0.001)},
		{"co2", "ppm", "carbon_dioxide", 0, walk(620, 4, 0.01)},
		{"illuminance", "lx", "illuminance", 0, walk(140, 2, 0.01)},
		{"battery", "mV", "voltage", 0, walk(2950, 0.3, 0.01)},
	}
	plug = []series{
		{"power", "W", "power", 1, appliance},
		{"voltage", "V", "voltage", 1, walk(231, 0.4, 0.1)},
		{"current", "A", "current", 3, walk(0.21, 0.002, 0.1)},
		{"energy", "kWh", "energy", 3, meter},
		{"frequency", "Hz", "frequency", 2, walk(50, 0.01, 0.2)},
		{"heat", "Cel", "temperature", 1, walk(31, 0.03, 0.02)},
	}
)

// seriesOf are those of a device: every other one is a plug.
func seriesOf(device int) []series {
	if device%2 == 1 {
		return plug
	}
	return climate
}

// walk strays from its middle by steps of about that size, and is drawn back.
func walk(middle, step, pull float64) func(*rand.Rand, float64) float64 {
	return func(r *rand.Rand, before float64) float64 {
		if before == 0 {
			return middle * (0.9 + 0.2*r.Float64())
		}
		return before + step*r.NormFloat64() + pull*step*(middle-before)
	}
}

// appliance is at rest or at work, and changes about every ten minutes.
func appliance(r *rand.Rand, before float64) float64 {
	switch {
	case r.IntN(60) > 0 && before < 5:
		return max(0.1, before+0.05*r.NormFloat64())
	case r.IntN(60) > 0:
		return max(5, before+r.NormFloat64())
	case before < 5:
		return 40 + 400*r.Float64()
	default:
		return 1.5
	}
}

// meter counts some 60 W in kWh.
func meter(r *rand.Rand, before float64) float64 {
	if before == 0 {
		return 100 + 1000*r.Float64()
	}
	return before + r.Float64()/3000
}

// A home gives each contender the same values.
type home struct {
	chance *rand.Rand
	values [deviceCount][]float64
}

func newHome() *home {
	h := &home{chance: rand.New(rand.NewPCG(1, 2))}
	for d := range h.values {
		h.values[d] = make([]float64, len(seriesOf(d)))
	}
	return h
}

// measure is what a device finds at its next turn.
func (h *home) measure(device int) []float64 {
	found := make([]float64, len(h.values[device]))
	for i, s := range seriesOf(device) {
		v := s.next(h.chance, h.values[device][i])
		h.values[device][i] = v
		scale := math.Pow10(s.decimals)
		found[i] = math.Round(v*scale) / scale
	}
	return found
}

func deviceName(device int) string { return fmt.Sprintf("home-%02d", device) }

// number is the value as its sensor shows it.
func (s series) number(v float64) string { return strconv.FormatFloat(v, 'f', s.decimals, 64) }

// describe is what the device says of itself to the gateway.
func describe(device int) *protocol.Describe {
	d := &protocol.Describe{Model: "BENCH-2", Manufacturer: "Hearthgate"}
	for _, s := range seriesOf(device) {
		class := "measurement"
		if s.name == "energy" {
			class = "total_increasing"
		}
		d.Components = append(d.Components, protocol.Component{ID: s.name, Kind: "sensor",
			Unit: s.unit, Class: s.class, StateClass: class, Precision: &s.decimals})
	}
	return d
}

// records are the same values in the device's own language.
func records(device int, values []float64) []protocol.Record {
	all := make([]protocol.Record, len(values))
	for i, s := range seriesOf(device) {
		v := protocol.Float(values[i])
		if s.decimals == 0 {
			v = protocol.Int(int64(values[i]))
		}
		all[i] = protocol.Record{Name: s.name, Value: v}
	}
	return all
}
