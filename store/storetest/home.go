package storetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// A Home is devices that say six values each Every, received with the jitter of a
// network: the same ones whenever it is told to.
type Home struct {
	Devices int
	Every   time.Duration

	chance *rand.Rand
	values [][6]float64
}

// homeSeries is what each device measures: how far it strays in a moment, and the
// decimals that are shown of it. The last one is a counter.
var homeSeries = [6]struct {
	name         string
	middle, step float64
	decimals     float64
}{
	{"temperature", 21, 0.01, 1}, {"humidity", 48, 0.05, 1}, {"co2", 620, 4, 0},
	{"light", 140, 2, 0}, {"power", 35, 0.4, 1}, {"energy", 1000, 0.1, 3},
}

// HomeDevice is the name of the device of that number.
func HomeDevice(n int) string { return fmt.Sprintf("home-%02d", n) }

// Counter is for Store.Describe.
func (h *Home) Counter(_, name string) (counter, known bool) { return name == "energy", true }

// Measure is what a device finds next.
func (h *Home) Measure(device int) (records []protocol.Record) {
	if h.chance == nil {
		h.chance, h.values = rand.New(rand.NewPCG(1, 2)), make([][6]float64, h.Devices)
	}
	for i, s := range homeSeries {
		v := &h.values[device][i]
		switch {
		case *v == 0:
			*v = s.middle * (0.9 + 0.2*h.chance.Float64())
		case s.name == "energy":
			*v += s.step * h.chance.Float64()
		default:
			*v += s.step*h.chance.NormFloat64() + 0.02*s.step*(s.middle-*v)
		}
		scale := math.Pow(10, s.decimals)
		value := protocol.Float(math.Round(*v*scale) / scale)
		if s.decimals == 0 {
			value = protocol.Int(int64(*v))
		}
		records = append(records, protocol.Record{Name: s.name, Value: value})
	}
	return records
}

// inFlight is how many frames of a Home wait for the disk at once.
const inFlight = 4096

// Live lets the devices from first on say what they say from one time to another,
// and returns when all is acknowledged.
func (h *Home) Live(t testing.TB, s *store.Store, first int, from, to time.Time) (samples int) {
	t.Helper()
	acks := acknowledged(make(chan error, inFlight))
	waiting := 0
	await := func(left int) {
		for ; waiting > left; waiting-- {
			if err := <-acks; err != nil {
				t.Fatal(err)
			}
		}
	}
	for at := from; at.Before(to); at = at.Add(h.Every) {
		for d := first; d < h.Devices; d++ {
			await(inFlight - 1)
			e := &store.Entry{
				Kind: store.Telemetry, Device: HomeDevice(d), Boot: protocol.Boot{byte(d), 1}, Seq: uint64(at.Unix()),
				Records: h.Measure(d), Received: at.UnixMilli() + int64(d)*137%h.Every.Milliseconds(),
			}
			e.Received += int64(h.chance.ExpFloat64() * 2)
			for i := range e.Records {
				e.Records[i].Time, e.Records[i].Absolute = e.Received*1e6, true
			}
			if _, err := s.Append(e, store.Measured, acks); err != nil {
				t.Fatal(err)
			}
			waiting++
			samples += len(e.Records)
		}
	}
	await(0)
	return samples
}

// acknowledged is a store.Waiter.
type acknowledged chan error

func (a acknowledged) Committed(_ *store.Entry, err error) { a <- err }
