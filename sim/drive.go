package sim

import (
	"math"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Drive is something with a motor that takes its time: a blind or a valve. It
// reports each second while it moves.
type Drive struct {
	pace
	describe protocol.Describe
	name     string
	speed    float64 // percent a second

	position float64
	target   float64
	last     time.Time
}

// NewBlind returns a blind that is open and takes 20 s for its whole way.
func NewBlind(o Options) *Drive {
	return newDrive(o, "blind", 5, 100, protocol.Describe{
		Model: "BL-4", Manufacturer: "Hearthgate", Name: "Blind",
		Components: []protocol.Component{{
			ID: "blind", Kind: "cover", Class: "blind",
			Attributes: map[string]protocol.Attribute{"state": {}, "position": {}, "action": {}},
		}},
	})
}

// NewValve returns a water valve that is closed and takes 5 s.
func NewValve(o Options) *Drive {
	return newDrive(o, "valve", 20, 0, protocol.Describe{
		Model: "WV-1", Manufacturer: "Hearthgate", Name: "Water valve",
		Components: []protocol.Component{{
			ID: "valve", Kind: "valve", Class: "water",
			Attributes: map[string]protocol.Attribute{"state": {}, "position": {}, "action": {}},
		}},
	})
}

func newDrive(o Options, name string, speed, position float64, d protocol.Describe) *Drive {
	return &Drive{
		pace: newPace(o, 15*time.Minute), describe: d, name: name, speed: speed,
		position: position, target: position, last: o.Start,
	}
}

// Describe implements Model.
func (d *Drive) Describe() *protocol.Describe { c := d.describe; return &c }

func (d *Drive) moving() bool { return d.position != d.target }

// Next implements Model.
func (d *Drive) Next() time.Time {
	if second := d.last.Add(time.Second); d.moving() && second.Before(d.next) {
		return second
	}
	return d.next
}

// Step implements Model.
func (d *Drive) Step(now time.Time) []protocol.Record {
	moved := d.moving() && now.Sub(d.last) >= time.Second
	if d.due(now) || moved {
		d.move(now)
		return d.state()
	}
	return nil
}

// move lets the motor run until now.
func (d *Drive) move(now time.Time) {
	way := d.speed * max(0, now.Sub(d.last).Seconds())
	d.position += math.Copysign(min(way, math.Abs(d.target-d.position)), d.target-d.position)
	d.last = now
}

func (d *Drive) state() []protocol.Record {
	state := "open"
	switch {
	case d.target > d.position:
		state = "opening"
	case d.target < d.position:
		state = "closing"
	case d.position == 0:
		state = "closed"
	}
	return []protocol.Record{word(d.name+"/state", state), number(d.name+"/position", round(d.position, 0))}
}

// Command implements Model.
func (d *Drive) Command(now time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	d.move(now)
	code, problem := obey(set, map[string]setter{
		d.name + "/position": setNumber(0, 100, func(p float64) { d.target = p }),
		d.name + "/action": setWord([]string{"open", "close", "stop"}, func(a string) {
			d.target = map[string]float64{"open": 100, "close": 0, "stop": d.position}[a]
		}),
	})
	if code != protocol.ResultOK {
		return code, problem, nil
	}
	return code, "", d.state()
}
