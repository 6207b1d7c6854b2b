package main

import (
	"crypto/rand"
	"fmt"
	"sync/atomic"

	"github.com/hearthgate/hearthgate/protocol"
)

// A credential is one entry of what `hearthgate device add --json` prints.
type credential struct {
	ID    string `json:"id"`
	Token string `json:"token"`
}

// A device is one simulated device, welcomed by a gateway.
type device struct {
	*link
	id    string
	seq   uint64 // last sent
	acked uint64
	frame []byte
}

// measured is what a device of the benchmark sends: two values a frame.
var measured = []protocol.Record{{Name: "temperature"}, {Name: "humidity"}}

// description is the device's own: two sensors, and a switch to command.
var description = &protocol.Describe{
	Model: "BENCH-1", Manufacturer: "Hearthgate",
	Components: []protocol.Component{
		{ID: "temperature", Kind: "sensor", Unit: "Cel", Class: "temperature"},
		{ID: "humidity", Kind: "sensor", Unit: "%RH", Class: "humidity"},
		{ID: "relay", Kind: "switch"},
	},
}

// connectDevice dials, says hello under a new boot, and describes itself where
// the gateway asks for it.
func connectDevice(t target, c credential) (*device, error) {
	t.path, t.protocol = "/device", protocol.Subprotocol
	t.header = "Authorization: Bearer " + c.Token + "\r\n"
	l, err := dial(t, maxMessage)
	if err != nil {
		return nil, err
	}
	d := &device{link: l, id: c.ID}
	if err := d.hello(); err != nil {
		l.Close()
		return nil, fmt.Errorf("hello of %s: %w", c.ID, err)
	}
	return d, nil
}

func (d *device) hello() error {
	h := &protocol.Hello{Firmware: "1.0.0"}
	rand.Read(h.Boot[:])
	hash := description.Hash()
	h.Description = &hash
	d.Send(protocol.Append(nil, h))
	if err := d.Flush(); err != nil {
		return err
	}
	f, err := d.receive()
	if err != nil {
		return err
	}
	w, ok := f.(*protocol.Welcome)
	if !ok {
		return fmt.Errorf("expected a welcome, got %#v", f)
	}
	if w.Describe {
		d.Send(protocol.Append(nil, description))
	}
	return d.Flush()
}

func (d *device) receive() (protocol.Frame, error) {
	b, err := d.Next()
	if err != nil {
		return nil, err
	}
	f, err := protocol.Decode(b, protocol.Limits{})
	if err != nil {
		return nil, fmt.Errorf("frame % x from the gateway: %w", b, err)
	}
	if e, ok := f.(protocol.Error); ok {
		return nil, fmt.Errorf("error %d from the gateway: %s", e.Code, e.Message)
	}
	return f, nil
}

// offer queues n telemetry frames.
func (d *device) offer(n int) {
	for range n {
		d.seq++
		d.frame = appendTelemetry(d.frame[:0], d.seq)
		d.Send(d.frame)
	}
}

// settled waits for acks and says how many frames they settle.
func (d *device) settled() (int, error) {
	before := d.acked
	for d.acked == before || d.More() {
		f, err := d.receive()
		if err != nil {
			return 0, err
		}
		if a, ok := f.(protocol.Ack); ok {
			d.acked = a.Seq
		}
	}
	return int(d.acked - before), nil
}

// answer carries out commands until the link ends.
func (d *device) answer() error {
	for {
		f, err := d.receive()
		if err != nil {
			return err
		}
		if c, ok := f.(*protocol.Command); ok {
			d.Send(protocol.Append(nil, &protocol.Result{ID: c.ID, Records: c.Records}))
			if err := d.Flush(); err != nil {
				return err
			}
		}
	}
}

// idle does nothing but answer the gateway's pings, which beats counts.
func (d *device) idle(beats *atomic.Int64) error {
	d.pings = beats
	for {
		if _, err := d.receive(); err != nil {
			return err
		}
	}
}

// appendTelemetry is the frame of that seq, with values that change.
func appendTelemetry(b []byte, seq uint64) []byte {
	records := [2]protocol.Record{measured[0], measured[1]}
	records[0].Value = protocol.Float(20 + float64(seq%64)/8)
	records[1].Value = protocol.Int(40 + int64(seq%16))
	return protocol.Append(b, &protocol.Telemetry{Seq: seq, Records: records[:]})
}
