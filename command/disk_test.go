package command_test

import (
	"fmt"
	"testing"
	"time"

	. "github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// stickDisk keeps the store from writing until release is called.
func (h *home) stickDisk() (release func()) {
	h.t.Helper()
	table, err := store.OpenTable[int](h.store, "stick")
	if err != nil {
		h.t.Fatal(err)
	}
	stuck := make(chan struct{})
	if err := table.Put("x", 1, store.Now, func(error) { <-stuck }); err != nil {
		h.t.Fatal(err)
	}
	settle()
	return func() { close(stuck); settle() }
}

func TestADiskThatDoesNotTakeACommand(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		release := h.stickDisk()
		stored := h.ask("stored", time.Hour, on)
		live := h.ask("live", 0, dim)
		time.Sleep(5*time.Second - 1)
		stored.none(t)
		if len(l.received()) != 0 {
			t.Fatal("a later command overtook one that is being stored")
		}
		time.Sleep(time.Nanosecond)
		if r := stored.one(t); r.Outcome != Failed {
			t.Fatalf("%s", r.Outcome)
		}
		c := l.last(t, 1)
		if c.Left != 5000 {
			t.Fatalf("sent as %+v", c)
		}
		h.answer(c, protocol.ResultOK)
		live.one(t)
		release()
		stored.one(t)
		l.last(t, 1)
		if w, _ := stored.told(); len(w) != 0 {
			t.Fatal("told that it waits after it failed")
		}
		if keys := h.rows(); len(keys) != 0 {
			t.Fatalf("rows %v are left", keys)
		}
	})
}

func TestADiskThatDoesNotTakeTheMark(t *testing.T) {
	inHome(t, func(h *home) {
		bell := h.ask("bell", time.Hour, press)
		settle()
		release := h.stickDisk()
		l := h.connect(boot1)
		live := h.ask("live", 0, dim)
		if len(l.received()) != 0 {
			t.Fatal("sent before the mark was on disk, or overtaken at once")
		}
		time.Sleep(5 * time.Second)
		h.answer(l.last(t, 1), protocol.ResultOK)
		live.one(t)
		release()
		c := l.last(t, 2)
		if c.Records[0].Name != "bell" {
			t.Fatalf("sent %+v", c)
		}
		bell.none(t)
		h.answer(c, protocol.ResultOK)
		bell.one(t)
	})
}

func TestAStoredOutcomeIsToldWhenItIsOnDisk(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		n := h.ask("x", time.Minute, on)
		c := l.last(t, 1)
		release := h.stickDisk()
		h.answer(c, protocol.ResultOK)
		time.Sleep(time.Hour)
		n.none(t)
		if len(h.Waiting("")) != 0 {
			t.Fatal("a command that was answered is still listed")
		}
		release()
		if r := n.one(t); r.Outcome != OK || r.Took != 0 {
			t.Fatalf("%+v", r)
		}
	})
}

func TestOutOfTimeBeforeItWasStored(t *testing.T) {
	inHome(t, func(h *home) {
		release := h.stickDisk()
		n := h.ask("x", time.Second, on)
		time.Sleep(time.Second)
		if r := n.one(t); r.Outcome != Expired {
			t.Fatalf("%s", r.Outcome)
		}
		release()
		n.one(t)
		if keys := h.rows(); len(keys) != 0 {
			t.Fatalf("rows %v are left", keys)
		}
	})
}

// What is taken back or superseded while it is being stored is over on disk too.
func TestTakenBackWhileItIsBeingStored(t *testing.T) {
	inHome(t, func(h *home) {
		l := h.connect(boot1)
		release := h.stickDisk()
		cancelled := h.ask("cancelled", time.Hour, on)
		superseded := h.ask("superseded", time.Hour, dim)
		if !h.Cancel("lamp", "cancelled") {
			t.Fatal("nothing to cancel")
		}
		h.ask("newer", 0, dim)
		l.last(t, 1)
		cancelled.none(t)
		superseded.none(t)
		release()
		if r := cancelled.one(t); r.Outcome != Cancelled {
			t.Fatalf("%s", r.Outcome)
		}
		if r := superseded.one(t); r.Outcome != Superseded {
			t.Fatalf("%s", r.Outcome)
		}
		l.last(t, 1)
	})
}

// Each commit wears an SD card: when many commands with a ttl come one after
// another they share commits, as whatever else a person may be waiting for.
func TestManyStoredCommandsShareTheirCommits(t *testing.T) {
	inHome(t, func(h *home) {
		before, start := h.store.Health().Commits, time.Now()
		for i := range 100 {
			a := h.ask(fmt.Sprint(i), time.Hour, on)
			for {
				if w, _ := a.told(); len(w) == 1 {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
		took := time.Since(start)
		if n := h.store.Health().Commits - before; n > 20+20*uint64(took/time.Second+1) {
			t.Errorf("%d commits in %v", n, took)
		}
	})
}
