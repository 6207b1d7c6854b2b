package command

import (
	"fmt"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// row is a stored command. Its key counts up, so that the table is in the order
// of submission. Times are ms since 1970.
type row struct {
	ID        uint64        `cbor:"1,keyasint"` // towards the device
	Device    string        `cbor:"2,keyasint"`
	Asker     string        `cbor:"3,keyasint,omitempty"`
	AskerID   string        `cbor:"4,keyasint,omitempty"`
	Set       []settingRow  `cbor:"5,keyasint"`
	Momentary bool          `cbor:"6,keyasint,omitempty"`
	Born      int64         `cbor:"7,keyasint"`
	Until     int64         `cbor:"8,keyasint"`
	Sent      bool          `cbor:"9,keyasint,omitempty"` // from here on it may have been sent,
	Boot      protocol.Boot `cbor:"10,keyasint"`          // to this boot
	Attempt   uint64        `cbor:"11,keyasint,omitempty"`

	Outcome Outcome     `cbor:"12,keyasint,omitempty"` // "" while it has none
	Message string      `cbor:"13,keyasint,omitempty"`
	Took    int64       `cbor:"14,keyasint,omitempty"` // ms
	State   []recordRow `cbor:"15,keyasint,omitempty"`

	Via string `cbor:"16,keyasint,omitempty"`
}

type settingRow struct {
	Name  string   `cbor:"1,keyasint"`
	Value valueRow `cbor:"2,keyasint"`
}

type recordRow struct {
	Name  string   `cbor:"1,keyasint"`
	Value valueRow `cbor:"2,keyasint"`
	Unit  string   `cbor:"3,keyasint,omitempty"`
	Time  int64    `cbor:"4,keyasint,omitempty"` // ns, as in protocol.Record
	Fixed bool     `cbor:"5,keyasint,omitempty"` // Time is absolute
}

// valueRow keeps a value bit for bit.
type valueRow struct {
	Kind protocol.Kind `cbor:"1,keyasint"`
	Bits uint64        `cbor:"2,keyasint,omitempty"`
	Text string        `cbor:"3,keyasint,omitempty"`
}

func rowOfValue(v protocol.Value) valueRow { return valueRow{v.Kind(), v.Bits(), v.AsText()} }
func (v valueRow) value() protocol.Value   { return protocol.MakeValue(v.Kind, v.Bits, v.Text) }

func (c *command) key() string { return fmt.Sprintf("%016x", c.number) }

// row is the command as it stands.
func (c *command) row() row {
	r := row{
		ID: c.id, Device: c.req.Device, Asker: c.req.Asker, AskerID: c.req.ID, Via: c.req.Via,
		Momentary: c.momentary,
		Born:      c.born.UnixMilli(), Until: c.deadline.UnixMilli(),
		Sent: c.marked, Boot: c.boot, Attempt: c.attempt,
		Outcome: c.result.Outcome, Message: c.result.Message, Took: c.result.Took.Milliseconds(),
	}
	for _, s := range c.req.Set {
		r.Set = append(r.Set, settingRow{s.Name, rowOfValue(s.Value)})
	}
	for _, rec := range c.result.State {
		r.State = append(r.State, recordRow{rec.Name, rowOfValue(rec.Value), rec.Unit, rec.Time, rec.Absolute})
	}
	return r
}

// fromRow is the stored command, with the time that is left of it at now. If
// the clock went back since, it does not get more than it had.
func fromRow(number uint64, r row, now time.Time) *command {
	born, until := time.UnixMilli(r.Born), time.UnixMilli(r.Until)
	left := min(until.Sub(now), until.Sub(born))
	c := &command{
		number: number, id: r.ID,
		req:       Request{ID: r.AskerID, Device: r.Device, Asker: r.Asker, Via: r.Via},
		momentary: r.Momentary,
		born:      born, deadline: now.Add(left),
		stored: true, marked: r.Sent, boot: r.Boot, attempt: r.Attempt,
		state: queued,
	}
	for _, s := range r.Set {
		v := s.Value.value()
		c.req.Set = append(c.req.Set, Setting{Name: s.Name, Value: v})
		c.records = append(c.records, protocol.Record{Name: s.Name, Value: v})
	}
	switch {
	case r.Outcome != "":
		c.state = over
		c.result = Result{
			ID: r.AskerID, Device: r.Device, Via: r.Via, Set: c.req.Set,
			Outcome: r.Outcome, Message: r.Message, Took: time.Duration(r.Took) * time.Millisecond,
		}
		for _, s := range r.State {
			c.result.State = append(c.result.State, protocol.Record{
				Name: s.Name, Value: s.Value.value(), Unit: s.Unit, Time: s.Time, Absolute: s.Fixed,
			})
		}
	case r.Sent:
		c.state = sent
		c.attempt = max(1, c.attempt)
	}
	return c
}
