package client_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// play runs a device against a scripted gateway in simulated time and ends it
// when the story is over.
func play(t *testing.T, cfg client.Config, story func(t *testing.T, g *gateway, d *client.Device)) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		cfg.Options = g.options()
		d := client.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		story(t, g, d)
		cancel()
		// Whoever still dials or says bye is let go.
		for {
			select {
			case <-ended:
				return
			case c := <-g.dials:
				c.Close()
			}
		}
	})
}

func temperature(v float64) protocol.Record {
	return protocol.Record{Name: "temperature", Value: protocol.Float(v)}
}

func TestWhatIsNotAcknowledgedIsSentAgain(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		d.Report(temperature(1.5))
		d.Report(temperature(2.5))
		d.Report(temperature(3.5))
		l := g.welcome(protocol.Welcome{})
		boot := l.hello.Boot
		for seq := uint64(1); seq <= 3; seq++ {
			if got := expect[*protocol.Telemetry](l); got.Seq != seq || got.Boot != nil {
				t.Fatalf("came %+v, want seq %d of hello's boot", got, seq)
			}
		}
		l.send(protocol.Ack{Seq: 1})
		synctest.Wait()
		l.cut()

		time.Sleep(time.Second)
		// The gateway has 2 on disk too; its ack was lost.
		l = g.welcome(protocol.Welcome{Settled: 2})
		if l.hello.Boot != boot {
			t.Fatalf("boot changed from %x to %x", boot, l.hello.Boot)
		}
		got := expect[*protocol.Telemetry](l)
		if got.Seq != 3 || got.Records[0].Value.AsFloat() != 3.5 {
			t.Fatalf("came %+v, want frame 3 again", got)
		}
		if got.Age < 1000 || got.Age > 5000 {
			t.Errorf("age %d ms: it was composed a second or two ago", got.Age)
		}
		l.send(protocol.Ack{Seq: 3})
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := client.Stats{Sessions: 2, Reported: 3, Sent: 3, Again: 1, Settled: 3}
		if diff := cmp.Diff(want, d.Stats()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTheWindowIsKept(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{Window: 2})
		for v := range 5 {
			d.Report(temperature(float64(v) + 0.5))
		}
		expect[*protocol.Telemetry](l)
		expect[*protocol.Telemetry](l)
		l.silent(time.Minute / 10)
		l.send(protocol.Ack{Seq: 1})
		if got := expect[*protocol.Telemetry](l); got.Seq != 3 {
			t.Fatalf("after one ack came seq %d, want 3", got.Seq)
		}
		l.silent(time.Second)
		l.send(protocol.Ack{Seq: 3})
		expect[*protocol.Telemetry](l)
		expect[*protocol.Telemetry](l)
	})
}

func TestAFullSpoolDropsItsOldestAndLeavesItsNumberOut(t *testing.T) {
	var dropped []float64
	cfg := client.Config{Spool: 3, OnSettled: func(f client.Fate) {
		if f.Err == client.ErrDropped {
			dropped = append(dropped, f.Records[0].Value.AsFloat())
		}
	}}
	play(t, cfg, func(t *testing.T, g *gateway, d *client.Device) {
		for v := range 5 {
			d.Report(temperature(float64(v) + 0.5))
		}
		l := g.welcome(protocol.Welcome{})
		var seqs []uint64
		for range 3 {
			seqs = append(seqs, expect[*protocol.Telemetry](l).Seq)
		}
		if diff := cmp.Diff([]uint64{3, 4, 5}, seqs); diff != "" {
			t.Errorf("numbers: %s", diff)
		}
		if diff := cmp.Diff([]float64{0.5, 1.5}, dropped); diff != "" {
			t.Errorf("dropped: %s", diff)
		}
	})
}

func TestTheDescriptionGoesBeforeTelemetryWhenItIsAsked(t *testing.T) {
	desc := &protocol.Describe{Model: "TH-1", Components: []protocol.Component{{ID: "temperature", Kind: "sensor"}}}
	play(t, client.Config{Describe: desc}, func(t *testing.T, g *gateway, d *client.Device) {
		d.Report(temperature(20.5))
		l := g.welcome(protocol.Welcome{Describe: true})
		got := expect[*protocol.Describe](l)
		if got.Hash() != *l.hello.Description {
			t.Errorf("hello said description %x, it is %x", *l.hello.Description, got.Hash())
		}
		expect[*protocol.Telemetry](l)
		l.cut()
		l = g.welcome(protocol.Welcome{})
		expect[*protocol.Telemetry](l)
	})
}

func TestAnErrorSettlesItsFrameAlone(t *testing.T) {
	var fates []client.Fate
	cfg := client.Config{OnSettled: func(f client.Fate) { fates = append(fates, f) }}
	play(t, cfg, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{})
		d.Report(temperature(1.5))
		d.Report(temperature(2.5))
		expect[*protocol.Telemetry](l)
		expect[*protocol.Telemetry](l)
		l.send(protocol.Error{Code: protocol.InvalidRecord, Message: "record 0: unit", Seq: 1})
		synctest.Wait()
		if d.Pending() != 1 || len(fates) != 1 || fates[0].Seq != 1 || fates[0].Err == nil {
			t.Fatalf("pending %d, fates %+v: want frame 1 refused and 2 waiting", d.Pending(), fates)
		}
		l.cut()
		l = g.welcome(protocol.Welcome{Settled: 1})
		if got := expect[*protocol.Telemetry](l); got.Seq != 2 {
			t.Errorf("seq %d came again, want 2 alone", got.Seq)
		}
	})
}

func TestOneBadFrameDoesNotHoldUpTheRest(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		d.Report(temperature(1.5))
		d.Report(temperature(2.5))
		for range 2 {
			l := g.welcome(protocol.Welcome{})
			expect[*protocol.Telemetry](l)
			l.close(protocol.CloseMalformed)
		}
		l := g.welcome(protocol.Welcome{})
		if got := expect[*protocol.Telemetry](l); got.Seq != 2 {
			t.Errorf("seq %d came, want 2: frame 1 closed the link twice", got.Seq)
		}
	})
}

func TestAckOfAGatewayWithoutDiskIsNoReceipt(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{Window: 1, Durability: protocol.InMemory})
		d.Report(temperature(1.5))
		d.Report(temperature(2.5))
		expect[*protocol.Telemetry](l)
		l.send(protocol.Ack{Seq: 1})
		expect[*protocol.Telemetry](l) // the window is free again
		l.send(protocol.Ack{Seq: 2})
		synctest.Wait()
		if d.Pending() != 2 {
			t.Fatalf("pending %d, want both kept", d.Pending())
		}
		if st := d.Stats(); st.InMemory != 2 || st.Settled != 0 {
			t.Errorf("%+v, want two that are in memory only", st)
		}
		l.close(protocol.CloseRestart)
		l = g.welcome(protocol.Welcome{Settled: 1})
		if got := expect[*protocol.Telemetry](l); got.Seq != 2 {
			t.Errorf("came seq %d, want 2", got.Seq)
		}
	})
}

func TestAHigherCounterThanOursMeansANewBoot(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		d.Report(temperature(1.5))
		l := g.welcome(protocol.Welcome{Settled: 40})
		first := l.hello.Boot
		<-l.ended
		l = g.welcome(protocol.Welcome{})
		if l.hello.Boot == first {
			t.Fatal("the boot is the same")
		}
		if got := expect[*protocol.Telemetry](l); got.Seq != 1 {
			t.Errorf("seq %d, want 1", got.Seq)
		}
	})
}

func TestFramesOfAnEarlierBootKeepTheirName(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{})
		first := l.hello.Boot
		d.Report(temperature(1.5))
		d.Report(temperature(2.5))
		expect[*protocol.Telemetry](l)
		expect[*protocol.Telemetry](l)
		d.Restart(client.KeepSpoolUndated)
		d.Report(temperature(3.5))

		l = g.welcome(protocol.Welcome{Boots: []protocol.SettledBoot{{Boot: first, Seq: 1}}})
		if l.hello.Boot == first || len(l.hello.Boots) != 1 || l.hello.Boots[0] != first {
			t.Fatalf("hello %+v, want a new boot that names the old one %x", l.hello, first)
		}
		old := expect[*protocol.Telemetry](l)
		if old.Seq != 2 || old.Boot == nil || *old.Boot != first || !old.Uncertain {
			t.Errorf("came %+v, want frame 2 of %x of unknown age", old, first)
		}
		if fresh := expect[*protocol.Telemetry](l); fresh.Seq != 1 || fresh.Boot != nil || fresh.Uncertain {
			t.Errorf("came %+v, want frame 1 of this boot", fresh)
		}
		l.send(protocol.Ack{Seq: 2, Boot: &first})
		l.send(protocol.Ack{Seq: 1})
		if err := d.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestByeAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		d := client.New(client.Config{Options: g.options()})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); d.Run(ctx) }()
		l := g.welcome(protocol.Welcome{})
		d.Report(temperature(1.5))
		expect[*protocol.Telemetry](l)
		cancel()
		if bye := expect[protocol.Bye](l); bye.Seconds != 0 {
			t.Errorf("bye %+v, want one without a return", bye)
		}
		l.send(protocol.Ack{Seq: 1})
		l.close(protocol.CloseNormal)
		<-ended
		if d.Pending() != 0 {
			t.Error("the last ack was not taken")
		}
	})
}
