package command_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

func TestALampIsSwitched(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		n := h.ask("a1", 0, Setting{Name: "desk/on", Text: "ON"}, setting("desk/brightness", protocol.Float(40)))
		c := l.last(t, 1)
		want := &protocol.Command{
			ID:      c.ID,
			Records: []protocol.Record{{Name: "desk/on", Value: protocol.Bool(true)}, {Name: "desk/brightness", Value: protocol.Int(40)}},
			Left:    10_000, Attempt: 1,
		}
		if diff := cmp.Diff(want, c, cmp.AllowUnexported(protocol.Value{})); diff != "" {
			t.Fatalf("what the device got (-want +got):\n%s", diff)
		}
		if c.ID == 0 || c.ID >= 1<<53 {
			t.Fatalf("id %d is not in 1 … 2^53-1", c.ID)
		}
		time.Sleep(12 * time.Millisecond)
		state := []protocol.Record{{Name: "desk/on", Value: protocol.Bool(true)}}
		if !h.Answered("lamp", &protocol.Result{ID: c.ID, Message: "done", Records: state}) {
			t.Fatal("the answer is not known")
		}
		got := n.one(t)
		wantResult := Result{
			ID: "a1", Device: "lamp", Outcome: OK, Message: "done", Took: 12 * time.Millisecond, State: state,
			Set: []Setting{on, setting("desk/brightness", protocol.Int(40))},
		}
		if diff := cmp.Diff(wantResult, got, cmp.AllowUnexported(protocol.Value{})); diff != "" {
			t.Fatalf("the outcome (-want +got):\n%s", diff)
		}
		if w, _ := n.told(); len(w) != 0 {
			t.Fatal("a command that was sent at once was said to wait")
		}
		if len(h.rows()) != 0 {
			t.Fatal("a live command went to the disk")
		}
		// Its repeat, and one that nobody asked for.
		if !h.Answered("lamp", &protocol.Result{ID: c.ID, Code: protocol.ResultFailed}) {
			t.Fatal("a second answer to the same command is not known")
		}
		if h.Answered("lamp", &protocol.Result{ID: c.ID + 1}) || h.Answered("attic", &protocol.Result{ID: c.ID}) {
			t.Fatal("an answer to nothing is known")
		}
		n.one(t)
	})
}

// rows are the keys of the stored commands.
func (h *home) rows() (keys []string) {
	h.t.Helper()
	settle()
	table, err := store.OpenTable[map[int]any](h.store, "commands")
	if err != nil {
		h.t.Fatal(err)
	}
	if err := table.Each(func(key string, _ map[int]any) error { keys = append(keys, key); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return keys
}

func TestOfSeveralValuesForANameTheLastCounts(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		h.ask("x", 0, on, dim, off)
		c := l.last(t, 1)
		if len(c.Records) != 2 || c.Records[0].Name != "desk/brightness" || c.Records[1].Value != protocol.Bool(false) {
			t.Fatalf("the device got %+v", c.Records)
		}
	})
}

func TestEightAtADeviceAndTheRestInOrder(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		for i := range 12 {
			h.ask("", 0, nth(i)...)
		}
		if got := l.received(); len(got) != MaxUnanswered {
			t.Fatalf("%d are at the device, want %d", len(got), MaxUnanswered)
		}
		if n := h.CountWaiting("lamp"); n != 12 {
			t.Fatalf("%d wait, want 12", n)
		}
		h.answer(l.received()[3], protocol.ResultOK) // answers may come in any order
		h.answer(l.received()[0], protocol.ResultFailed)
		if got := l.received(); len(got) != 10 {
			t.Fatalf("%d were sent after two answers, want 10", len(got))
		}
		// One whose time is over gives its place to the next before it has its
		// outcome, but not beyond its own deadline.
		late := h.ask("late", time.Minute, nth(12)...)
		time.Sleep(LiveDeadline)
		got := l.received()
		if len(got) != 11 {
			t.Fatalf("%d were sent when the first were over, want 11: two are out of time", len(got))
		}
		for i, c := range got[:10] {
			if c.Records[0].Value != protocol.Int(int64(i)) {
				t.Fatalf("command %d carries %v: out of order", i, c.Records[0].Value)
			}
		}
		if got[10].Records[0].Value != protocol.Int(12) || got[10].Left != 50_000 {
			t.Fatalf("the last is %+v", got[10])
		}
		late.none(t)
	})
}

func TestAfterABrokenLinkItIsSentAgain(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		first, bell := h.ask("first", 0, on), h.ask("bell", 0, press)
		got := l.received()
		time.Sleep(2 * time.Second)
		h.cut(l)
		third := h.ask("third", 0, dim) // within the grace
		if n := h.CountWaiting("lamp"); n != 3 {
			t.Fatalf("welcome.8 says %d, want 3", n)
		}
		time.Sleep(time.Second)

		l2 := h.connect(boot1)
		again := l2.received()
		if len(again) != 3 {
			t.Fatalf("%d commands after the reconnect, want 3", len(again))
		}
		for i := range 2 {
			if again[i].ID != got[i].ID || again[i].Attempt != 2 || again[i].Left != 7000 {
				t.Fatalf("sent again as %+v, first as %+v", again[i], got[i])
			}
		}
		if again[2].Attempt != 1 || again[2].Left != 9000 {
			t.Fatalf("the waiting one was sent as %+v", again[2])
		}
		h.Disconnected("lamp", l) // the old link's end comes late and means nothing
		h.answer(again[0], protocol.ResultOK)
		h.answer(again[1], protocol.ResultOK)

		// To another boot it is sent again too, for it is no button.
		h.cut(l2)
		l3 := h.connect(boot2)
		if c := l3.last(t, 1); c.ID != again[2].ID || c.Attempt != 2 {
			t.Fatalf("to the other boot it was sent as %+v", c)
		}
		h.answer(l3.last(t, 1), protocol.ResultOK)
		for _, n := range []*notes{first, bell, third} {
			if r := n.one(t); r.Outcome != OK {
				t.Fatalf("%s: %s", r.ID, r.Outcome)
			}
		}
	})
}

func TestALinkThatEndsTakesNothing(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		l.down = true
		n := h.ask("x", 0, press)
		n.none(t)
		c := h.connect(boot2).last(t, 1) // it was never sent, so another boot is no matter
		if c.Attempt != 1 {
			t.Fatalf("attempt %d of a command that was never sent", c.Attempt)
		}
		h.answer(c, protocol.ResultOK)
		n.one(t)
	})
}

func TestTheLastAnswersAreKnown(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		for i := range 100 {
			h.ask("", 0, on)
			h.answer(l.last(t, i+1), protocol.ResultOK)
		}
		for i, c := range l.received() {
			known := h.Answered("lamp", &protocol.Result{ID: c.ID})
			if i >= 100-16 && !known {
				t.Fatalf("the answer to command %d of 100 is not known: a device repeats its last 16", i)
			}
			if i < 50 && known {
				t.Fatalf("the answer to command %d of 100 is still known", i)
			}
		}
	})
}

func TestALateAnswerChangesNothing(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		n := h.ask("x", 0, on)
		c := l.last(t, 1)
		time.Sleep(LiveDeadline + 400*time.Millisecond)
		n.none(t)
		time.Sleep(time.Second)
		if r := n.one(t); r.Outcome != OutcomeUnknown {
			t.Fatalf("%s", r.Outcome)
		}
		h.answer(c, protocol.ResultOK)
		n.one(t)

		// Just late is in time: the device began within the time left.
		n = h.ask("y", 0, on)
		c = l.last(t, 2)
		time.Sleep(LiveDeadline + 400*time.Millisecond)
		h.answer(c, protocol.ResultOK)
		if r := n.one(t); r.Outcome != OK {
			t.Fatalf("an answer 0.4 s after the deadline: %s", r.Outcome)
		}
	})
}

func TestASleeperGetsItsCommandWhenItWakes(t *testing.T) {
	inHome(t, func(h *home) {
		h.sleep(600)
		n := h.ask("x", 0, on)
		n.none(t)
		if w, _ := n.told(); !slices.Equal(w, []string{"x"}) {
			t.Fatalf("told that it waits: %v, want once", w)
		}
		p := h.Waiting("lamp")
		if len(p) != 1 || !p[0].Stored || p[0].Sent || time.Until(p[0].Until) != 20*time.Minute {
			t.Fatalf("Waiting = %+v", p)
		}
		time.Sleep(10 * time.Minute)
		c := h.connect(boot2).last(t, 1)
		if c.Left != 600_000 || c.Attempt != 1 {
			t.Fatalf("sent as %+v", c)
		}
		if p := h.Waiting(""); len(p) != 1 || !p[0].Sent {
			t.Fatalf("Waiting = %+v", p)
		}
		h.answer(c, protocol.ResultOK)
		if r := n.one(t); r.Outcome != OK || r.Took != 10*time.Minute {
			t.Fatalf("%+v", r)
		}
		if keys := h.rows(); len(keys) != 0 {
			t.Fatalf("rows %v are left", keys)
		}
	})
}

func TestNothingIsSentAfterABye(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		h.sleep(60) // the link ends when the gateway has acknowledged everything
		n := h.ask("x", 0, on)
		bell := h.ask("bell", time.Hour, press)
		if len(l.received()) != 0 {
			t.Fatal("sent to a device that said bye")
		}
		h.Disconnected("lamp", l)
		for _, c := range h.connect(boot2).received() {
			h.answer(c, protocol.ResultOK)
		}
		n.one(t)
		bell.one(t)
	})
}

func TestAnAbsurdWakeIntervalIsBounded(t *testing.T) {
	inHome(t, func(h *home) {
		h.sleep(1 << 63)
		h.ask("x", 0, on)
		settle()
		if p := h.Waiting("lamp"); len(p) != 1 || time.Until(p[0].Until) != MaxTTL {
			t.Fatalf("Waiting = %+v", p)
		}
	})
}

func TestWithATTLALiveDeviceGetsItAtOnce(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		for i, s := range []Setting{on, press} {
			n := h.ask("x", time.Hour, s)
			c := l.last(t, i+1) // no time has passed but the disk's
			if len(h.rows()) != 1 {
				t.Fatal("it was sent without being stored")
			}
			h.answer(c, protocol.ResultOK)
			n.one(t)
			if w, _ := n.told(); len(w) != 0 {
				t.Fatal("it was said to wait")
			}
		}
	})
}

// The order of submission holds also between what goes to the disk first and
// what does not.
func TestAStoredOneIsNotOvertaken(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		h.ask("stored", time.Hour, on)
		h.ask("bell", time.Hour, press)
		h.ask("live", 0, dim)
		got := l.received()
		if len(got) != 3 {
			t.Fatalf("%d commands arrived, want 3", len(got))
		}
		for i, want := range []string{"desk/on", "bell", "desk/brightness"} {
			if got[i].Records[0].Name != want {
				t.Fatalf("command %d sets %s, want %s", i, got[i].Records[0].Name, want)
			}
		}
	})
}

func TestOnlyWhatWaitsIsSupersededOrCancelled(t *testing.T) {
	inHome(t, func(h *home) {
		both := h.ask("both", time.Hour, on, dim)
		one := h.ask("one", time.Hour, on)
		settle()
		h.ask("brighter", time.Hour, setting("desk/brightness", protocol.Int(90)))
		both.none(t) // the newer one does not set all of it
		one.none(t)
		newest := h.ask("newest", time.Hour, off)
		if r := one.one(t); r.Outcome != Superseded {
			t.Fatalf("one: %s", r.Outcome)
		}
		both.none(t)

		l := h.connect(boot1)
		if got := l.received(); len(got) != 3 {
			t.Fatalf("%d were sent, want 3", len(got))
		}
		h.ask("again", 0, on, dim)
		both.none(t) // it is sent
		if h.Cancel("lamp", "both") || h.Cancel("lamp", "") || h.Cancel("attic", "both") {
			t.Fatal("something was cancelled that does not wait")
		}
		newest.none(t)
	})
}

// A full line takes a command that makes room for itself.
func TestANewerOneTakesThePlaceOfWhatItSupersedes(t *testing.T) {
	inHome(t, func(h *home) {
		first := h.ask("first", time.Hour, nth(0)...)
		for i := 1; i < MaxWaiting; i++ {
			h.ask("", time.Hour, nth(i)...)
		}
		time.Sleep(time.Second) // so many share commits
		h.ask("newer", time.Hour, nth(0)...).none(t)
		if r := first.one(t); r.Outcome != Superseded {
			t.Fatalf("%s", r.Outcome)
		}
		if p := h.Waiting("lamp"); len(p) != 1 {
			t.Fatalf("%d wait: nth(0) sets all names", len(p))
		}
	})
}

func TestTooLargeForTheDevice(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		long := setting("label", protocol.Text(strings.Repeat("x", 600)))
		h.registry.Seen("lamp", &protocol.Hello{MaxFrame: 512})
		if r := h.ask("x", 0, long).one(t); r.Outcome != Invalid {
			t.Fatalf("600 bytes for a device that takes 512: %s", r.Outcome)
		}
		h.registry.Seen("lamp", &protocol.Hello{MaxFrame: 4096})
		h.ask("x", 0, long)
		l.last(t, 1)
	})
}

func TestAnOutcomeCanBeLookedUp(t *testing.T) {
	inHome(t, func(h *home) {
		h.ask("x", 0, on)
		h.ask("", 0, on)
		if r, ok := h.Outcome("lamp", "x"); !ok || r.Outcome != Offline {
			t.Fatalf("Outcome = %+v, %v", r, ok)
		}
		if _, ok := h.Outcome("attic", "x"); ok {
			t.Fatal("an outcome of another device")
		}
		if _, ok := h.Outcome("lamp", ""); ok {
			t.Fatal("an outcome of no id")
		}
		for range 256 {
			h.ask("y", 0, on)
		}
		if _, ok := h.Outcome("lamp", "x"); ok {
			t.Fatal("an outcome is remembered for ever")
		}
	})
}
