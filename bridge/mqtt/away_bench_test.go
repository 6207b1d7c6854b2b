package mqtt

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/broker"
	"github.com/hearthgate/hearthgate/store"
)

// A whole day of a home without its broker: 50 devices, 6 values each every ten
// seconds. docs/outages.md has what it said:
//
//	go test -run '^$' -bench ADayAway -benchtime 1x ./bridge/mqtt
func BenchmarkADayAway(b *testing.B) {
	b.Run("mosquitto", func(b *testing.B) {
		m := startMosquitto(b, true)
		benchADayAway(b, Options{Broker: "mqtt://" + m.Address}, m.dial, m.Stop, m.Start)
	})
	b.Run("embedded", func(b *testing.B) {
		br, err := broker.New(broker.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer br.Close()
		s := &shaky{Broker: br, forgets: true}
		benchADayAway(b, Options{Embedded: s}, br.Dial, s.leave, func() { s.come(0) })
	})
}

func benchADayAway(b *testing.B, o Options, dial func() (net.Conn, error), leave, come func()) {
	d := newDay(openHomeWith(b, store.Options{Dir: b.TempDir()}), 50)
	d.runWith(o, func(b *Bridge) { b.backoff = time.Second })
	eventually(b, "connected", func() bool { return d.bridge.Status().Connected && d.bridge.Status().Lag == 0 })
	leave()
	eventually(b, "it is away", func() bool { return !d.bridge.Status().Connected })
	const ticks = 24 * 60 * 6
	begin := time.Now().Add(-24 * time.Hour)
	d.now = func() time.Time { return begin.Add(time.Duration(d.n) * 10 * time.Second) }
	done := make(committed, 1)
	for i := range ticks {
		if i%20 != 19 {
			d.tick(nil)
			continue
		}
		d.tick(done)
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	log := d.store.Health().LogBytes
	waiting := d.store.Cursors()[0].Bytes

	before := cpu()
	come()
	back := time.Now()
	c := newClient(b, dial, "hearthgate/device/+/+/state")
	right := map[string]bool{}
	for len(right) < len(d.newest) {
		if x := <-c.msgs; d.newest[x.topic] == x.payload {
			right[x.topic] = true
		}
	}
	states, statesCPU := time.Since(back), cpu()-before
	for d.bridge.Status().Lag > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	entries := float64(ticks * len(d.meters))
	b.ReportMetric(states.Seconds(), "s-until-states-right")
	b.ReportMetric(statesCPU.Seconds(), "cpu-s-until-states-right")
	b.ReportMetric(time.Since(back).Seconds(), "s-until-stream-whole")
	b.ReportMetric(float64((cpu()-before).Microseconds())/entries, "cpu-µs/entry")
	b.ReportMetric(float64(log)/(1<<20), "MiB-log")
	b.ReportMetric(float64(waiting)/entries, "B/entry")
	b.ReportMetric(0, "ns/op")
	if s := d.bridge.Status(); s.Lost+s.Skipped > 0 {
		b.Errorf("%+v", s)
	}
	d.close()
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
