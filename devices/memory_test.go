package devices_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// failing is a disk that takes nothing while broken.
func failing(broken *atomic.Bool) *segmenttest.Disk {
	disk := segmenttest.Reborn(nil)
	disk.Fault = func(what, _ string) error {
		if broken.Load() && what != "read" {
			return syscall.EROFS
		}
		return nil
	}
	return disk
}

// The disk fails for a while (PROTOCOL.md, conversation 3): no acks, then a
// session whose acks mean "in memory only", then one whose welcome says what is
// on disk; what is not is sent again, and counts as new.
func TestSessionsWhileTheDiskFails(t *testing.T) {
	story(t, func(t *testing.T) {
		var broken atomic.Bool
		home := devicetest.NewOn(t, failing(&broken), devices.Options{})
		tok := home.Add("kitchen")
		d := home.Dial(tok)
		if w := d.Open(1); w.Durability != protocol.OnDisk {
			t.Errorf("%+v", w)
		}
		d.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
		d.Send(devicetest.Number(2, "x", 2)).Expect(protocol.Ack{Seq: 2})

		broken.Store(true)
		d.Send(devicetest.Number(3, "x", 3)).ExpectSilence(9 * time.Second)
		d.Send(devicetest.Number(4, "x", 4))
		bye, ok := d.Next().(protocol.Bye)
		if !ok || bye.Seconds == 0 || bye.Seconds > 8 {
			t.Errorf("%+v", bye)
		}
		d.ExpectClose(protocol.CloseOverloaded)
		if v, _ := home.Store.NewestOf("kitchen", "x"); v.Value.Normal() != protocol.Int(4) {
			t.Errorf("the newest is %v", v.Value)
		}

		d = home.Dial(tok)
		if w := d.Open(1); w.Durability != protocol.InMemory || w.Settled > 2 {
			t.Errorf("%+v", w)
		}
		d.Send(devicetest.Number(3, "x", 3), devicetest.Number(4, "x", 4), devicetest.Number(5, "x", 5)).Expect(protocol.Ack{Seq: 5})
		d.Send(devicetest.Number(5, "x", 5)).Expect(protocol.Ack{Seq: 5}) // a repeat

		back := home.Dial(tok) // it comes back in the middle of it
		if w := back.Open(1); w.Durability != protocol.InMemory || w.Settled > 2 {
			t.Errorf("%+v", w)
		}
		d.ExpectClose(protocol.CloseReplaced)
		back.Send(devicetest.Number(6, "x", 6)).Expect(protocol.Ack{Seq: 6})

		broken.Store(false)
		if _, ok := back.Next().(protocol.Bye); !ok {
			t.Error("no bye")
		}
		back.ExpectClose(protocol.CloseRestart)
		d = home.Dial(tok)
		w := d.Open(1)
		if w.Durability != protocol.OnDisk || w.Settled > 3 {
			t.Fatalf("%+v", w) // 3 was in the hand when the disk failed, 4 to 6 were in memory only
		}
		before := home.Hub.Counters.Repeats.Load()
		for seq := w.Settled + 1; seq <= 6; seq++ {
			d.Send(devicetest.Number(seq, "x", float64(seq))).Expect(protocol.Ack{Seq: seq})
			time.Sleep(time.Second)
		}
		if n := home.Hub.Counters.Repeats.Load() - before; n != 0 {
			t.Errorf("%d frames that were in memory only count as repeats", n)
		}
		if c := &home.Hub.Counters; c.AckedInMemory.Load() != 5 {
			t.Errorf("%d acks in memory", c.AckedInMemory.Load())
		}
		got, err := home.Store.History(t.Context(), "kitchen", "x", time.Time{}, time.Now().Add(time.Hour), 0)
		if err != nil || len(got) != 6 {
			t.Errorf("%d samples, %v", len(got), err)
		}
		if err := home.Store.Check(); err != nil {
			t.Error(err)
		}
	})
}

// A refused frame is settled in memory, too; its number is a gap afterwards.
func TestARefusalWhileTheDiskFails(t *testing.T) {
	story(t, func(t *testing.T) {
		var broken atomic.Bool
		home := devicetest.NewOn(t, failing(&broken), devices.Options{})
		tok := home.Add("kitchen")
		d := home.Dial(tok)
		d.Open(1)
		broken.Store(true)
		d.Send(devicetest.Number(1, "x", 1))
		d.Next()
		d.ExpectClose(protocol.CloseOverloaded)
		d = home.Dial(tok)
		d.Open(1)
		d.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
		d.Send(devicetest.Number(2, "no such/name", 1))
		if e, ok := d.Next().(protocol.Error); !ok || e.Seq != 2 {
			t.Errorf("%+v", e)
		}
		d.Send(devicetest.Number(3, "x", 3)).Expect(protocol.Ack{Seq: 3})
		broken.Store(false)
		d.Next()
		d.ExpectClose(protocol.CloseRestart)
		d = home.Dial(tok)
		if w := d.Open(1); w.Settled != 1 {
			t.Errorf("%+v", w)
		}
		d.Send(devicetest.Number(3, "x", 3)).Expect(protocol.Ack{Seq: 3})
	})
}

// A device that went to sleep and one that was lost meanwhile are so afterwards.
func TestPresenceWhileTheDiskFails(t *testing.T) {
	story(t, func(t *testing.T) {
		var broken atomic.Bool
		home := devicetest.NewOn(t, failing(&broken), devices.Options{})
		sleeper, lost := home.Add("sleeper"), home.Add("lost")
		home.Dial(sleeper).Open(1)
		home.Dial(lost).Open(1)
		broken.Store(true)
		time.Sleep(70 * time.Second) // presence rides: a minute until it is missed
		d := home.Dial(sleeper)
		d.Open(1)
		d.Send(protocol.Bye{Seconds: 3600}).ExpectClose(protocol.CloseNormal)
		broken.Store(false)
		time.Sleep(2 * time.Minute)
		home.Stop()
		home.Start()
		if p, _ := home.Store.PresenceOf("sleeper"); p.State != store.Sleeping {
			t.Errorf("%+v", p)
		}
		if p, _ := home.Store.PresenceOf("lost"); p.State != store.Lost {
			t.Errorf("%+v", p)
		}
	})
}
