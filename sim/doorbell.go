package sim

import (
	"math/rand/v2"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

var (
	presses  = []string{"single", "double", "long"}
	melodies = []string{"dingdong", "westminster", "silent"}
)

// Doorbell has a button that visitors press (an event), one that plays its
// chime on command, and two settings.
type Doorbell struct {
	pace
	rng    *rand.Rand
	rings  time.Time
	volume float64
	melody string
	Chimes int // how often it was made to chime
}

// NewDoorbell returns a doorbell that rings about every 20 minutes.
func NewDoorbell(o Options) *Doorbell {
	rng := o.rng(8)
	return &Doorbell{
		pace: newPace(o, 30*time.Minute), rng: rng, volume: 60, melody: melodies[0],
		rings: o.Start.Add(about(rng, 20*time.Minute)),
	}
}

// Describe implements Model.
func (d *Doorbell) Describe() *protocol.Describe {
	return &protocol.Describe{
		Model: "DB-1", Manufacturer: "Hearthgate", Name: "Doorbell",
		Components: []protocol.Component{
			{ID: "bell", Kind: "event", Class: "doorbell", Options: presses},
			{ID: "chime", Kind: "button", Name: "Chime"},
			{ID: "volume", Kind: "number", Min: ptr(0.0), Max: ptr(100.0), Step: ptr(5.0), Category: "config"},
			{ID: "melody", Kind: "select", Options: melodies, Category: "config"},
		},
	}
}

// Next implements Model.
func (d *Doorbell) Next() time.Time {
	if d.rings.Before(d.next) {
		return d.rings
	}
	return d.next
}

// Step implements Model.
func (d *Doorbell) Step(now time.Time) []protocol.Record {
	var records []protocol.Record
	if !now.Before(d.rings) {
		d.rings = now.Add(about(d.rng, 20*time.Minute))
		records = append(records, word("bell", presses[d.rng.IntN(len(presses))]))
	}
	if d.due(now) {
		records = append(records, d.settings()...)
	}
	return records
}

func (d *Doorbell) settings() []protocol.Record {
	return []protocol.Record{number("volume", d.volume), word("melody", d.melody)}
}

// Command implements Model.
func (d *Doorbell) Command(_ time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	code, problem := obey(set, map[string]setter{
		"chime":  press(func() { d.Chimes++ }),
		"volume": setNumber(0, 100, func(v float64) { d.volume = v }),
		"melody": setWord(melodies, func(m string) { d.melody = m }),
	})
	if code != protocol.ResultOK {
		return code, problem, nil
	}
	return code, "", d.settings()
}
