package devices_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

func TestRepeatsAreAckedAndNotStoredAgain(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		tok := home.Add("kitchen")
		d := home.Dial(tok)
		d.Open(1)
		d.Send(devicetest.Number(1, "x", 1), devicetest.Number(2, "x", 2), devicetest.Number(5, "x", 5))
		d.Expect(protocol.Ack{Seq: 5})
		d.Send(devicetest.Number(2, "x", 2)).Expect(protocol.Ack{Seq: 5})
		d.Leave()
		if w := home.Dial(tok).Open(1); w.Settled != 5 {
			t.Errorf("settled %d", w.Settled)
		}
		if n := home.Store.Health().Repeats; n != 1 {
			t.Errorf("%d repeats", n)
		}
	})
}

// Acks gather: the frames of one commit are answered by one ack.
func TestAcksGather(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{Window: 100})
		d := home.Dial(home.Add("kitchen"))
		old := devicetest.Boot(2)
		h := devicetest.Hello(1)
		h.Boots = []protocol.Boot{old}
		d.OpenWith(h)
		time.Sleep(time.Second)
		for seq := range uint64(20) {
			frame := devicetest.Number(seq+1, "x", 1)
			d.Send(frame)
			frame.Boot = &old
			d.Send(frame)
		}
		d.Expect(protocol.Ack{Seq: 20}, protocol.Ack{Seq: 20, Boot: &old}).ExpectSilence(time.Second)
	})
}

// A refused frame is settled in its turn: the ack of what is below goes first.
func TestARefusedFrameIsSettledInOrder(t *testing.T) {
	story(t, func(t *testing.T) {
		home, d := described(t, devices.Options{})
		bad := &protocol.Telemetry{Seq: 2, Records: []protocol.Record{{Name: "temperature", Value: protocol.Text("warm")}}}
		d.Send(devicetest.Number(1, "temperature", 1), bad, devicetest.Number(3, "temperature", 3))
		d.Expect(protocol.Ack{Seq: 1})
		if e := d.Next().(protocol.Error); e.Code != protocol.InvalidRecord || e.Seq != 2 || !strings.Contains(e.Message, "record 0, temperature") {
			t.Fatalf("%+v", e)
		}
		d.Expect(protocol.Ack{Seq: 3})
		d.Send(bad).Expect(protocol.Ack{Seq: 3}) // a repeat, refused or not
		if n, _ := home.Store.NewestOf("kitchen", "temperature"); n.Value.AsFloat() != 3 {
			t.Errorf("newest %v", n.Value)
		}
	})
}

func TestFramesOfAnotherBoot(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		tok := home.Add("kitchen")
		d := home.Dial(tok)
		d.Open(1)
		d.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
		d.Leave()

		tail := home.Store.Follow()
		defer tail.Close()
		old, never := devicetest.Boot(1), devicetest.Boot(3)
		h := devicetest.Hello(2)
		h.Boots = []protocol.Boot{old, never}
		d = home.Dial(tok)
		if w := d.OpenWith(h); w.Settled != 0 || len(w.Boots) != 2 || w.Boots[0] != (protocol.SettledBoot{Boot: old, Seq: 1}) || w.Boots[1] != (protocol.SettledBoot{Boot: never}) {
			t.Errorf("welcome %+v", w)
		}
		late := &protocol.Telemetry{Seq: 2, Boot: &old, Age: 60_000, Records: []protocol.Record{
			{Name: "x", Value: protocol.Text("it was a text then")},
			{Name: "gone", Value: protocol.Int(7)},
			{Name: "x", Value: protocol.Int(2), Time: -1e9},
		}}
		d.Send(devicetest.Number(1, "x", 10)).Expect(protocol.Ack{Seq: 1})
		d.Send(late).Expect(protocol.Ack{Seq: 2, Boot: &old})
		if n, _ := home.Store.NewestOf("kitchen", "x"); n.Value.AsFloat() != 10 {
			t.Errorf("late data overwrote the newest value: %v", n.Value)
		}
		if _, ok := home.Store.NewestOf("kitchen", "gone"); ok {
			t.Error("a record of an old boot made a component")
		}
		for {
			es, _, err := tail.Next(context.Background(), 1)
			if err != nil {
				t.Fatal(err)
			}
			e := es[0]
			if e.Boot != old {
				continue
			}
			if len(e.Records) != 3 || !e.Records[0].Unfit || !e.Records[1].Unfit || e.Records[2].Unfit {
				t.Errorf("records %+v", e.Records)
			}
			break
		}
	})
}

func TestUncertainTimes(t *testing.T) {
	story(t, func(t *testing.T) {
		home, d := described(t, devices.Options{})
		d.Send(&protocol.Telemetry{Seq: 1, Uncertain: true, Records: []protocol.Record{{Name: "temperature", Value: protocol.Int(1), Time: -5e9}}})
		d.Expect(protocol.Ack{Seq: 1})
		if _, ok := home.Store.NewestOf("kitchen", "temperature"); ok {
			t.Error("a value of unknown age became the state")
		}
	})
}

// By a clock from before its build the gateway corrects no device's time, and
// it tells nobody its own.
func TestAClockThatCannotBeRight(t *testing.T) {
	story(t, func(t *testing.T) {
		build := time.Now().AddDate(26, 0, 0)
		home := devicetest.New(t, devices.Options{Build: build})
		d := home.Dial(home.Add("kitchen"))
		if w := d.Open(1); w.Time != 0 {
			t.Errorf("welcome.2 is %d", w.Time)
		}
		d.Send(protocol.Ping{Token: 1}).Expect(protocol.Pong{Token: 1})
		measured := build.Add(time.Hour)
		d.Send(&protocol.Telemetry{Seq: 1, Records: []protocol.Record{
			{Name: "clocked", Value: protocol.Int(1), Time: measured.UnixNano(), Absolute: true},
			{Name: "relative", Value: protocol.Int(1), Time: -60e9},
		}}).Expect(protocol.Ack{Seq: 1})
		if n, _ := home.Store.NewestOf("kitchen", "clocked"); n.Time != measured.UnixNano() {
			t.Errorf("the device's time became %v", time.Unix(0, n.Time))
		}
		if n, _ := home.Store.NewestOf("kitchen", "relative"); time.Since(time.Unix(0, n.Time)).Round(time.Second) != time.Minute {
			t.Errorf("the relative time became %v", time.Unix(0, n.Time))
		}
	})
}

func TestComponentsThatRecordsMake(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{Limits: protocol.Limits{Components: 3}})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1)
		d.Send(&protocol.Telemetry{Seq: 1, Records: []protocol.Record{
			{Name: "level", Unit: "%", Value: protocol.Int(40)}, {Name: "wet", Value: protocol.Bool(true)},
		}}).Expect(protocol.Ack{Seq: 1})
		for _, c := range []struct {
			seq     uint64
			records []protocol.Record
		}{
			{2, []protocol.Record{{Name: "level", Value: protocol.Text("low")}}},
			{3, []protocol.Record{{Name: "new", Value: protocol.Int(1)}, {Name: "new", Value: protocol.Bool(true)}}},
			{4, []protocol.Record{{Name: "c3", Value: protocol.Int(1)}, {Name: "c4", Value: protocol.Int(1)}}},
		} {
			d.Send(&protocol.Telemetry{Seq: c.seq, Records: c.records})
			if e, ok := d.Next().(protocol.Error); !ok || e.Seq != c.seq {
				t.Errorf("frame %d: %+v", c.seq, e)
			}
		}
		desc := home.Registry.Description("kitchen")
		if len(desc.Components) != 2 || !desc.Components[0].Auto || desc.Components[0].Unit != "%" || desc.Components[1].Kind != protocol.KindBinarySensor {
			t.Errorf("components %+v", desc.Components)
		}
	})
}

func TestADescriptionThatCannotBeUsed(t *testing.T) {
	story(t, func(t *testing.T) {
		home, d := described(t, devices.Options{})
		before := home.Registry.Description("kitchen")
		d.Send(&protocol.Describe{Components: []protocol.Component{{ID: "a", Kind: "sensor"}, {ID: "a", Kind: "switch"}}})
		if e := d.Next().(protocol.Error); e.Code != protocol.InvalidRecord || e.Seq != 0 {
			t.Errorf("%+v", e)
		}
		if home.Registry.Description("kitchen") != before {
			t.Error("the old description went")
		}
	})
}

// asker notes outcomes.
type asker struct{ done chan command.Result }

func (a asker) Waiting(command.Request, time.Time) {}
func (a asker) Done(r command.Result, confirm func()) {
	confirm()
	a.done <- r
}

func ask(home *devicetest.Home, name, value string) asker {
	a := asker{make(chan command.Result, 1)}
	home.Commands.Submit(command.Request{ID: "1", Device: "kitchen", Set: []command.Setting{{Name: name, Text: value}}}, a)
	return a
}

func TestACommandAndItsAnswer(t *testing.T) {
	story(t, func(t *testing.T) {
		home, d := described(t, devices.Options{})
		a := ask(home, "desk/on", "ON")
		c := d.Next().(*protocol.Command)
		if len(c.Records) != 1 || c.Records[0].Name != "desk/on" || c.Attempt != 1 || c.Left == 0 {
			t.Fatalf("%+v", c)
		}
		d.Send(&protocol.Result{ID: c.ID, Records: []protocol.Record{{Name: "desk/on", Value: protocol.Bool(true)}}})
		if r := <-a.done; r.Outcome != command.OK || len(r.State) != 1 {
			t.Errorf("%+v", r)
		}
		time.Sleep(time.Second)
		if n, ok := home.Store.NewestOf("kitchen", "desk/on"); !ok || !n.Value.AsBool() {
			t.Error("the state did not follow")
		}

		// Records that are wrong are refused, and the code counts all the same.
		a = ask(home, "desk/on", "OFF")
		c = d.Next().(*protocol.Command)
		d.Send(&protocol.Result{ID: c.ID, Code: protocol.ResultDenied, Records: []protocol.Record{{Name: "desk/on", Value: protocol.Int(3)}}})
		if e := d.Next().(protocol.Error); e.Code != protocol.InvalidRecord || e.Seq != 0 {
			t.Errorf("%+v", e)
		}
		if r := <-a.done; r.Outcome != command.Denied || len(r.State) != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// A command that no answer came for is sent again in the next session, before
// anything else.
func TestACommandFollowsTheDevice(t *testing.T) {
	story(t, func(t *testing.T) {
		home, d := described(t, devices.Options{})
		a := ask(home, "desk/on", "ON")
		first := d.Next().(*protocol.Command)
		d.Leave()
		time.Sleep(2 * time.Second)
		d = home.Dial(token(t, home, "kitchen"))
		if w := d.Open(1); w.Waiting != 1 {
			t.Errorf("welcome.8 is %d", w.Waiting)
		}
		again := d.Next().(*protocol.Command)
		if again.ID != first.ID || again.Attempt != 2 || again.Left >= first.Left {
			t.Errorf("first %+v, again %+v", first, again)
		}
		d.Send(&protocol.Result{ID: again.ID})
		if r := <-a.done; r.Outcome != command.OK {
			t.Errorf("%+v", r)
		}
	})
}

// An event or a switch does not wait for the next commit of measurements.
func TestUrgentFramesDoNotWait(t *testing.T) {
	for _, c := range []struct {
		name   string
		record protocol.Record
		soon   bool
	}{
		{"a measurement", protocol.Record{Name: "temperature", Value: protocol.Int(20)}, false},
		{"an event", protocol.Record{Name: "ring", Value: protocol.Text("single")}, true},
		{"a door", protocol.Record{Name: "door", Value: protocol.Bool(true)}, true},
		{"what can be commanded", protocol.Record{Name: "desk/on", Value: protocol.Bool(true)}, true},
		{"a new binary sensor", protocol.Record{Name: "leak", Value: protocol.Bool(true)}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			story(t, func(t *testing.T) {
				_, d := described(t, devices.Options{})
				time.Sleep(time.Minute)
				begin := time.Now()
				d.Send(&protocol.Telemetry{Seq: 1, Records: []protocol.Record{c.record}}).Expect(protocol.Ack{Seq: 1})
				if soon := time.Since(begin) < 50*time.Millisecond; soon != c.soon {
					t.Errorf("acked after %v", time.Since(begin))
				}
			})
		})
	}
}

func TestLogLinesAreBounded(t *testing.T) {
	story(t, func(t *testing.T) {
		var lines proctest.Transcript
		home := devicetest.New(t, devices.Options{Log: textLog(&lines)})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1)
		for i := range 25 {
			d.Send(protocol.Log{Level: 2, Text: fmt.Sprintf("line %d\n\x1b[31mred", i)})
		}
		d.Send(protocol.Ping{Token: 1})
		d.Next()
		if n := strings.Count(lines.String(), "line "); n != 10 {
			t.Errorf("%d lines", n)
		}
		if strings.ContainsAny(lines.String(), "\x1b") || strings.Contains(lines.String(), `\x1b`) || !strings.Contains(lines.String(), "device=kitchen") {
			t.Errorf("%s", lines.String())
		}
		if n := home.Hub.Counters.LogsDropped.Load(); n != 15 {
			t.Errorf("%d dropped", n)
		}
		time.Sleep(time.Second)
		d.Send(protocol.Log{Text: "later"}, protocol.Ping{Token: 2})
		d.Next()
		if !strings.Contains(lines.String(), "later") {
			t.Error("the limit never ends")
		}
	})
}

func TestByeIsCommittedAndAcked(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1)
		begin := time.Now()
		d.Send(devicetest.Number(1, "x", 1), devicetest.Number(2, "x", 2), protocol.Bye{}, devicetest.Number(3, "x", 3))
		d.Expect(protocol.Ack{Seq: 2}).ExpectClose(protocol.CloseNormal)
		if took := time.Since(begin); took > 50*time.Millisecond {
			t.Errorf("after %v", took)
		}
		synctest.Wait()
		if p, _ := home.Store.PresenceOf("kitchen"); p.State != store.Lost || p.Cause != "bye" {
			t.Errorf("%+v", p)
		}
		d = home.Dial(token(t, home, "kitchen"))
		if w := d.Open(1); w.Settled != 2 {
			t.Errorf("settled %d", w.Settled)
		}
	})
}
