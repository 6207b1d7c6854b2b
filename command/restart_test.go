package command_test

import (
	"slices"
	"testing"
	"time"

	. "github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// byMQTT submits for the registered asker "mqtt".
func (h *home) byMQTT(id string, ttl time.Duration, s ...Setting) {
	h.Submit(Request{ID: id, Device: "lamp", Set: s, TTL: ttl, Asker: "mqtt"}, nil)
}

func (h *home) mqtt() *notes {
	n := &notes{}
	h.Register("mqtt", n)
	return n
}

// again is a stop and a start, or a kill and a start.
var again = map[string]func(h *home){
	"stopped": func(h *home) { h.stop(); h.start() },
	"killed":  func(h *home) { h.kill() },
}

func eachEnd(t *testing.T, story func(t *testing.T, h *home, restart func())) {
	for name, end := range again {
		t.Run(name, func(t *testing.T) {
			inHome(t, func(h *home) {
				h.t = t
				story(t, h, func() { settle(); end(h) })
			})
		})
	}
}

func TestWhatWaitsSurvivesARestart(t *testing.T) {
	eachEnd(t, func(t *testing.T, h *home, restart func()) {
		before := h.mqtt()
		h.byMQTT("a", time.Hour, on)
		h.byMQTT("b", 2*time.Minute, dim)
		h.byMQTT("c", time.Hour, press)
		settle()
		if w, _ := before.told(); !slices.Equal(w, []string{"a", "b", "c"}) {
			t.Fatalf("told that they wait: %v", w)
		}
		time.Sleep(time.Minute)
		restart()
		after := h.mqtt()
		if n := h.CountWaiting("lamp"); n != 3 {
			t.Fatalf("%d wait after the restart, want 3", n)
		}
		time.Sleep(2 * time.Minute)
		if r := after.one(t); r.ID != "b" || r.Outcome != Expired {
			t.Fatalf("%+v", r)
		}
		got := h.connect(boot1).received()
		if len(got) != 2 || got[0].Records[0].Name != "desk/on" || got[1].Records[0].Name != "bell" {
			t.Fatalf("the device got %+v", got)
		}
		if got[0].Left != 57*60_000 || got[0].Attempt != 1 {
			t.Fatalf("sent as %+v", got[0])
		}
		h.answer(got[0], protocol.ResultOK)
		h.answer(got[1], protocol.ResultFailed)
		settle()
		_, results := after.told()
		if len(results) != 3 || results[1].Outcome != OK || results[2].Outcome != Failed || results[1].Took != 3*time.Minute {
			t.Fatalf("%+v", results)
		}
		if w, _ := after.told(); len(w) != 0 {
			t.Fatalf("told again that they wait: %v", w)
		}
		if _, results := before.told(); len(results) != 0 {
			t.Fatalf("the asker of before the restart was told %+v", results)
		}
		if keys := h.rows(); len(keys) != 0 {
			t.Fatalf("rows %v are left", keys)
		}
	})
}

func TestWhatWasNotConfirmedIsGivenAgain(t *testing.T) {
	eachEnd(t, func(t *testing.T, h *home, restart func()) {
		before := h.mqtt()
		before.unsure = true
		h.sleep(600)
		h.byMQTT("x", 0, on)
		settle()
		state := []protocol.Record{
			{Name: "desk/on", Value: protocol.Bool(true), Time: 5, Absolute: true},
			{Name: "temperature", Value: protocol.MakeValue(protocol.Float16, 0x4d60, ""), Unit: "Cel"},
		}
		c := h.connect(boot1).last(t, 1)
		time.Sleep(time.Second)
		h.Answered("lamp", &protocol.Result{ID: c.ID, Message: "fine", Records: state})
		first := before.one(t)
		for range 2 {
			restart()
			time.Sleep(time.Minute)
			after := &notes{unsure: true}
			h.Register("mqtt", after)
			second := after.one(t)
			if second.ID != first.ID || second.Outcome != OK || second.Message != "fine" || second.Took != time.Second ||
				!slices.Equal(second.State, state) || !slices.Equal(second.Set, first.Set) {
				t.Fatalf("given again as %+v, first as %+v", second, first)
			}
			if !h.Answered("lamp", &protocol.Result{ID: c.ID}) {
				t.Fatal("after the restart its answer is not known")
			}
		}
		h.mqtt().one(t)             // a new asker of that name is owed it too, and confirms
		time.Sleep(2 * time.Minute) // that it did rides on a later commit
		restart()
		h.mqtt().none(t)
	})
}

// A stored command of an asker without a name: its outcome has nobody to go to.
func TestAnAskerThatIsGoneCanLookItUp(t *testing.T) {
	eachEnd(t, func(t *testing.T, h *home, restart func()) {
		h.ask("x", time.Minute, on)
		lost := h.ask("y", time.Hour, press)
		lost.unsure = true
		settle()
		h.Cancel("lamp", "y")
		lost.one(t)
		restart()
		time.Sleep(2 * time.Minute)
		settle()
		for id, want := range map[string]Outcome{"x": Expired, "y": Cancelled} {
			if r, ok := h.Outcome("lamp", id); !ok || r.Outcome != want {
				t.Fatalf("Outcome(%s) = %+v, %v", id, r, ok)
			}
		}
		if keys := h.rows(); len(keys) != 0 {
			t.Fatalf("rows %v are left", keys)
		}
	})
}

func TestWhatWasSentBeforeARestart(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Setting
		boot protocol.Boot
		want Outcome // "" = it is sent again
	}{
		{"a value, same boot", on, boot1, ""},
		{"a value, another boot", on, boot2, ""},
		{"a button, same boot", press, boot1, ""},
		{"a button, another boot", press, boot2, OutcomeUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachEnd(t, func(t *testing.T, h *home, restart func()) {
				h.mqtt()
				first := h.connect(boot1)
				h.byMQTT("x", time.Hour, c.s)
				sent := first.last(t, 1)
				restart()
				after := h.mqtt()
				l := h.connect(c.boot)
				if c.want != "" {
					if r := after.one(t); r.Outcome != c.want || len(l.received()) != 0 {
						t.Fatalf("%s, and %d were sent", r.Outcome, len(l.received()))
					}
					return
				}
				after.none(t)
				again := l.last(t, 1)
				if again.ID != sent.ID || again.Attempt != 2 {
					t.Fatalf("sent again as %+v, first as %+v", again, sent)
				}
				h.answer(again, protocol.ResultOK)
				if r := after.one(t); r.Outcome != OK {
					t.Fatalf("%s", r.Outcome)
				}
			})
		})
	}
}

// A kill in the very moment of sending: that the button may have been pressed is
// on disk already.
func TestAButtonIsOnDiskAsSentBeforeItIsSent(t *testing.T) {
	for name, story := range map[string]func(h *home, l *link){
		"it waited": func(h *home, l *link) {
			h.byMQTT("x", time.Hour, press)
			settle()
			h.Connected("lamp", boot1, l)
		},
		"the device is there": func(h *home, l *link) {
			h.Connected("lamp", boot1, l)
			h.byMQTT("x", time.Hour, press)
		},
		"it restarted while it was being marked": func(h *home, l *link) {
			h.byMQTT("x", time.Hour, press)
			settle()
			h.Connected("lamp", boot2, &link{down: true})
			h.Connected("lamp", boot1, l)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inHome(t, func(h *home) {
				h.t = t
				h.mqtt()
				var image string
				l := &link{onSend: func() { image = h.image() }}
				story(h, l)
				l.last(t, 1)
				h.startFrom(image)
				after := h.mqtt()
				if got := h.connect(boot1).last(t, 1); got.Attempt != 2 {
					t.Fatalf("to the same boot it was sent again as attempt %d", got.Attempt)
				}
				after.none(t)
				h.startFrom(h.image())
				after = h.mqtt()
				l = h.connect(boot2)
				if r := after.one(t); r.Outcome != OutcomeUnknown || len(l.received()) != 0 {
					t.Fatalf("%s, and to another boot %d were sent", r.Outcome, len(l.received()))
				}
			})
		})
	}
}

// A link that breaks before a marked button is sent must not keep it from being
// pressed, for then we know that it was not.
func TestTheMarkOfAButtonThatWasNotSent(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		l.down = true // it breaks before the row is on disk
		n := h.ask("x", time.Hour, press)
		settle()
		if w, _ := n.told(); len(w) != 1 {
			t.Fatal("not told that it waits")
		}
		h.cut(l)
		settle()
		h.kill()
		c := h.connect(boot2).last(t, 1) // we know that it was not sent
		if c.Attempt != 1 {
			t.Fatalf("attempt %d", c.Attempt)
		}
	})
}

func TestOutOfTimeAfterARestart(t *testing.T) {
	eachEnd(t, func(t *testing.T, h *home, restart func()) {
		h.mqtt()
		h.connect(boot1)
		h.byMQTT("sent", time.Minute, on)
		settle()
		h.Presence("lamp", store.Lost, false, 0)
		h.Connected("lamp", boot1, &link{down: true})
		h.byMQTT("waits", time.Minute, dim)
		settle()
		restart()
		after := h.mqtt()
		time.Sleep(2 * time.Minute)
		settle()
		_, results := after.told()
		got := map[string]Outcome{}
		for _, r := range results {
			got[r.ID] = r.Outcome
		}
		if len(results) != 2 || got["sent"] != OutcomeUnknown || got["waits"] != Expired {
			t.Fatalf("%+v", results)
		}
	})
}

func TestTheDeviceWasRemovedMeanwhile(t *testing.T) {
	inHome(t, func(h *home) {
		h.mqtt()
		h.byMQTT("x", time.Hour, on)
		settle()
		h.Close() // the hub is gone first at a stop, so Removed is never called
		if err := h.registry.Remove("lamp"); err != nil {
			t.Fatal(err)
		}
		h.stop()
		h.start()
		if r := h.mqtt().one(t); r.Outcome != Unsupported {
			t.Fatalf("%s", r.Outcome)
		}
	})
}
