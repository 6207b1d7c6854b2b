package mqtt

import (
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// What mapping costs an entry: a frame with two values, in batches.
func BenchmarkCompose(b *testing.B) {
	d, err := protocol.NewDescription(&protocol.Describe{Components: []protocol.Component{thermometer, plug}}, nil, protocol.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	c := &composer{topics: topics{"hearthgate"}, describe: func(string) *protocol.Description { return d },
		device: func(id string) (registry.Device, bool) { return registry.Device{ID: id, Description: d}, true }}
	e := benchEntry("kitchen", 1)
	now := time.Now()
	b.ReportAllocs()
	for i := range b.N {
		if i%64 == 0 {
			c.begin()
		}
		c.add(e, true, now)
	}
}

func benchEntry(device string, seq uint64) *store.Entry {
	now := time.Now().UnixNano()
	return &store.Entry{Pos: 1, Kind: store.Telemetry, Device: device, Boot: testBoot, Seq: seq, Received: now / 1e6, Records: []protocol.Record{
		{Name: "temperature", Value: protocol.Float(21.456), Time: now}, {Name: "plug", Value: protocol.Bool(true), Time: now}}}
}

// The whole way from the log to one subscriber at the embedded broker, which
// runs in this process too, an entry being three messages.
func BenchmarkPublish(b *testing.B) {
	br := embedded(b)
	h := newHome(b)
	h.add("kitchen", thermometer, plug)
	c := newClient(b, br.Dial, "hearthgate/stream/#", "hearthgate/device/+/+/state")
	go func() {
		for range c.msgs {
		}
	}()
	h.run(Options{Embedded: br})
	eventually(b, "connected", func() bool { return h.bridge.Status().Connected })
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%256 == 255 {
			h.append(benchEntry("kitchen", uint64(i+1)))
			for h.bridge.Status().Lag > 1000 {
				time.Sleep(time.Millisecond)
			}
			continue
		}
		if _, err := h.store.Append(benchEntry("kitchen", uint64(i+1)), store.Measured, nil); err != nil {
			b.Fatal(err)
		}
	}
	eventually(b, "all is published", func() bool { return h.bridge.Status().Lag == 0 })
	b.StopTimer()
	h.close()
}
