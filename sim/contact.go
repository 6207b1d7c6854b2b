package sim

import (
	"math/rand/v2"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Contact is a sensor that is on for a while now and then: a motion detector,
// or the contact of a door. Beside it, it measures one thing.
type Contact struct {
	pace
	rng      *rand.Rand
	describe protocol.Describe
	name     string        // of the binary sensor
	calm     time.Duration // off for about so long
	busy     time.Duration // on for about so long
	measure  func(now time.Time, rng *rand.Rand) protocol.Record

	on    bool
	flips time.Time
	fresh bool // nothing was reported yet
}

// NewMotion returns a motion detector with a light sensor.
func NewMotion(o Options) *Contact {
	return newContact(o, o.rng(4), Contact{
		describe: protocol.Describe{
			Model: "MS-1", Manufacturer: "Hearthgate", Name: "Motion",
			Components: []protocol.Component{
				{ID: "motion", Kind: "binary_sensor", Class: "motion"},
				{ID: "illuminance", Kind: "sensor", Unit: "lx", Class: "illuminance", StateClass: "measurement", Precision: ptr(0)},
			},
		},
		name: "motion", calm: 3 * time.Minute, busy: 45 * time.Second,
		pace: newPace(o, time.Minute),
		measure: func(now time.Time, rng *rand.Rand) protocol.Record {
			return number("illuminance", round(max(0, 150+daily(now, 180)+5*rng.NormFloat64()), 0))
		},
	})
}

// NewDoor returns the contact of a door, with a battery.
func NewDoor(o Options) *Contact {
	return newContact(o, o.rng(5), Contact{
		describe: protocol.Describe{
			Model: "DC-3", Manufacturer: "Hearthgate", Name: "Door",
			Components: []protocol.Component{
				{ID: "door", Kind: "binary_sensor", Class: "door"},
				{ID: "battery", Kind: "sensor", Unit: "%EL", Class: "battery", StateClass: "measurement", Category: "diagnostic"},
			},
		},
		name: "door", calm: 15 * time.Minute, busy: 20 * time.Second,
		pace: newPace(o, time.Hour),
		measure: func(now time.Time, _ *rand.Rand) protocol.Record {
			days := now.Sub(o.Start).Hours() / 24
			return number("battery", max(0, round(97-days/10, 0)))
		},
	})
}

func newContact(o Options, rng *rand.Rand, c Contact) *Contact {
	c.rng, c.fresh = rng, true
	c.flips = o.Start.Add(about(rng, c.calm))
	return &c
}

// about is a random duration of that mean, never below a second.
func about(rng *rand.Rand, mean time.Duration) time.Duration {
	d := time.Duration(rng.ExpFloat64() * float64(mean))
	return min(max(d, time.Second), 10*mean).Truncate(time.Millisecond)
}

// Describe implements Model.
func (c *Contact) Describe() *protocol.Describe { d := c.describe; return &d }

// Next implements Model.
func (c *Contact) Next() time.Time {
	if c.flips.Before(c.next) {
		return c.flips
	}
	return c.next
}

// Step implements Model.
func (c *Contact) Step(now time.Time) []protocol.Record {
	var records []protocol.Record
	flipped := !now.Before(c.flips)
	if flipped {
		c.on = !c.on
		mean := c.calm
		if c.on {
			mean = c.busy
		}
		c.flips = now.Add(about(c.rng, mean))
	}
	if flipped || c.fresh {
		c.fresh = false
		records = append(records, truth(c.name, c.on))
	}
	if c.due(now) {
		records = append(records, c.measure(now, c.rng))
	}
	return records
}

// Command implements Model: there is nothing to command.
func (c *Contact) Command(_ time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	code, problem := obey(set, nil)
	return code, problem, nil
}
