package client_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// lamp carries out commands after delay and counts them.
type lamp struct {
	delay time.Duration
	acted []uint64
}

func (l *lamp) obey(_ context.Context, c *protocol.Command) (protocol.ResultCode, string, []protocol.Record) {
	time.Sleep(l.delay)
	l.acted = append(l.acted, c.ID)
	return protocol.ResultOK, "", c.Records
}

func switchOn(id, left uint64) *protocol.Command {
	return &protocol.Command{ID: id, Left: left, Attempt: 1, Records: []protocol.Record{{Name: "desk/on", Value: protocol.Bool(true)}}}
}

func TestACommandIsDoneOnceAndItsLostStateComesAsTelemetry(t *testing.T) {
	desk := &lamp{}
	play(t, client.Config{OnCommand: desk.obey}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{})
		l.send(switchOn(7, 5000))
		if got := expect[*protocol.Result](l); got.ID != 7 || got.Code != protocol.ResultOK || len(got.Records) != 1 {
			t.Fatalf("result %+v", got)
		}
		l.cut() // as if the result had been lost on its way

		l = g.welcome(protocol.Welcome{Waiting: 1})
		l.send(switchOn(7, 4000))
		if got := expect[*protocol.Result](l); got.ID != 7 || got.Code != protocol.ResultOK || len(got.Records) != 0 {
			t.Errorf("repeat %+v, want the code without records", got)
		}
		if got := expect[*protocol.Telemetry](l); got.Records[0].Name != "desk/on" {
			t.Errorf("came %+v, want the state that the lost result had", got)
		}
		l.send(switchOn(7, 3000))
		expect[*protocol.Result](l)
		l.silent(time.Second)
		if !slices.Equal(desk.acted, []uint64{7}) {
			t.Errorf("acted on %v, want 7 once", desk.acted)
		}
	})
}

func TestACommandThatIsStillBeingDoneIsNotDoneAgain(t *testing.T) {
	desk := &lamp{delay: 30 * time.Second}
	play(t, client.Config{OnCommand: desk.obey}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{})
		l.send(switchOn(7, 60_000))
		time.Sleep(time.Second)
		l.cut()
		l = g.welcome(protocol.Welcome{Waiting: 1})
		l.send(switchOn(7, 50_000))
		if got := expect[*protocol.Result](l); got.Code != protocol.ResultOK || len(got.Records) != 1 {
			t.Errorf("result %+v", got)
		}
		if !slices.Equal(desk.acted, []uint64{7}) {
			t.Errorf("acted on %v, want 7 once", desk.acted)
		}
	})
}

func TestNothingIsBegunAfterTheTimeLeft(t *testing.T) {
	desk := &lamp{delay: 3 * time.Second}
	play(t, client.Config{OnCommand: desk.obey}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{})
		l.send(switchOn(1, 10_000))
		l.send(switchOn(2, 2_000)) // its turn comes after three seconds
		if got := expect[*protocol.Result](l); got.ID != 1 || got.Code != protocol.ResultOK {
			t.Errorf("result %+v", got)
		}
		if got := expect[*protocol.Result](l); got.ID != 2 || got.Code != protocol.ResultTooLate {
			t.Errorf("result %+v, want too late", got)
		}
		l.send(switchOn(3, 0)) // no time at all is left
		if got := expect[*protocol.Result](l); got.ID != 3 || got.Code != protocol.ResultTooLate {
			t.Errorf("result %+v, want too late", got)
		}
		if !slices.Equal(desk.acted, []uint64{1}) {
			t.Errorf("acted on %v, want 1 alone", desk.acted)
		}
	})
}

func TestADeviceThatTakesNoCommandsSaysSo(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{})
		l.send(switchOn(1, 1000))
		if got := expect[*protocol.Result](l); got.Code != protocol.ResultUnsupported {
			t.Errorf("result %+v, want unsupported", got)
		}
	})
}

func TestASleeperWaitsForItsCommandsAndComesBackInTime(t *testing.T) {
	desk := &lamp{delay: time.Second}
	play(t, client.Config{OnCommand: desk.obey, WakeInterval: time.Minute}, func(t *testing.T, g *gateway, d *client.Device) {
		d.Report(temperature(8.5))
		d.Sleep(time.Minute)
		l := g.welcome(protocol.Welcome{Waiting: 1})
		if l.hello.WakeInterval != 60 {
			t.Errorf("wake interval %d s, want 60", l.hello.WakeInterval)
		}
		began := time.Now()
		expect[*protocol.Telemetry](l)
		l.send(protocol.Ack{Seq: 1})
		l.silent(2 * time.Second) // a command is still to come
		l.send(switchOn(9, 60_000))
		expect[*protocol.Result](l)
		bye := expect[protocol.Bye](l)
		if bye.Seconds < 50 || bye.Seconds > 60 {
			t.Errorf("bye for %d s, want what is left of a minute", bye.Seconds)
		}
		l.close(protocol.CloseNormal)
		d.Report(temperature(8.75)) // measured while asleep
		l = g.welcome(protocol.Welcome{Settled: 1})
		if away := time.Since(began); away < 55*time.Second || away > 65*time.Second {
			t.Errorf("came back after %s, want a minute", away)
		}
		expect[*protocol.Telemetry](l)
		synctest.Wait()
		l.cut()
	})
}
