package devices_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

func textLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestNewestWins(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		tok := home.Add("kitchen")
		first := home.Dial(tok)
		first.Open(1)
		second := home.Dial(tok)
		first.ExpectSilence(time.Second) // a link without a hello replaces nobody
		second.Open(1)
		first.ExpectClose(protocol.CloseReplaced)
		second.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
		if s := presence(home, "kitchen"); s != store.Online {
			t.Errorf("%s", s)
		}
	})
}

func TestTwoDevicesWithOneIdentity(t *testing.T) {
	story(t, func(t *testing.T) {
		var lines proctest.Transcript
		var alerted string
		home := devicetest.New(t, devices.Options{
			Log: textLog(&lines), Alert: func(device, _ string) { alerted = device },
		})
		tok := home.Add("kitchen")
		current := home.Dial(tok)
		current.Open(1)
		for n := byte(2); n <= 4; n++ {
			time.Sleep(time.Second)
			next := home.Dial(tok)
			next.Open(n)
			current.ExpectClose(protocol.CloseReplaced)
			current = next
		}
		if home.Hub.Counters.Clashes.Load() != 1 || !strings.Contains(lines.String(), "one identity") || alerted != "kitchen" {
			t.Error("no alert")
		}
		home.Dial(tok).Send(devicetest.Hello(5)).ExpectClose(protocol.CloseIdentityClash)
		current.Send(protocol.Ping{Token: 1})
		current.Next() // it stays
		again := home.Dial(tok)
		again.Open(4) // the same device may come back
		current.ExpectClose(protocol.CloseReplaced)
		time.Sleep(time.Minute)
		home.Dial(tok).Open(5)
		again.ExpectClose(protocol.CloseReplaced)
	})
}

// A device that restarts has another boot each time; its dead link is no clash.
func TestRestartsAreNoClash(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		tok := home.Add("kitchen")
		for n := range byte(8) {
			home.Dial(tok).Open(n)
			time.Sleep(6 * time.Second)
		}
		if n := home.Hub.Counters.Clashes.Load(); n != 0 {
			t.Errorf("%d clashes", n)
		}
	})
}

func TestRevokedWhileLive(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		tok := home.Add("kitchen")
		d, silent := home.Dial(tok), home.Dial(tok)
		d.Open(1)
		if err := home.Registry.Revoke("kitchen"); err != nil {
			t.Fatal(err)
		}
		d.ExpectClose(protocol.CloseRevoked)
		silent.ExpectClose(protocol.CloseRevoked)
		if s := presence(home, "kitchen"); s != store.Disabled {
			t.Errorf("%s", s)
		}
		if _, r := home.Ask(devicetest.Request{Headers: devicetest.Handshake(tok)}); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s", r.Status)
		}
		fresh := token(t, home, "kitchen")
		if s := presence(home, "kitchen"); s != store.Lost {
			t.Errorf("%s once it may come again", s)
		}
		home.Dial(fresh).Open(1)
		if s := presence(home, "kitchen"); s != store.Online {
			t.Errorf("%s", s)
		}
	})
}

func TestRemovedWhileLive(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		tok := home.Add("kitchen")
		d := home.Dial(tok)
		d.Open(1)
		d.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
		if err := home.Registry.Remove("kitchen"); err != nil {
			t.Fatal(err)
		}
		d.ExpectClose(protocol.CloseRevoked)
		synctest.Wait()
		if _, ok := home.Store.PresenceOf("kitchen"); ok || len(home.Store.Newest("kitchen")) != 0 {
			t.Error("the log still knows it")
		}
		if _, r := home.Ask(devicetest.Request{Headers: devicetest.Handshake(tok)}); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s", r.Status)
		}
	})
}

func TestGrantOverTheLiveLink(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		old := home.Add("kitchen")
		d := home.Dial(old)
		if home.Hub.Grant("kitchen", "x") {
			t.Error("granted without a session")
		}
		d.Open(1)
		fresh := token(t, home, "kitchen")
		if !home.Hub.Grant("kitchen", fresh) {
			t.Fatal("not granted")
		}
		d.Expect(&protocol.Grant{Device: "kitchen", Token: fresh})
		home.Dial(old).Open(1) // both hold
		home.Dial(fresh).Open(1)
		if _, r := home.Ask(devicetest.Request{Headers: devicetest.Handshake(old)}); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("the old token still holds: %s", r.Status)
		}
	})
}

// A device that sends far beyond its window is read no faster than its frames
// are stored; nothing is lost, and nobody else notices.
func TestWindowIgnored(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{Window: 4})
		d := home.Dial(home.Add("greedy"))
		d.Open(1)
		other := home.Dial(home.Add("other"))
		other.Open(1)
		go func() {
			for seq := range uint64(500) {
				d.Send(devicetest.Number(seq+1, "x", float64(seq)))
			}
		}()
		other.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
		for d.Next().(protocol.Ack).Seq < 500 {
			if info, _ := home.Hub.Link("greedy"); info.Unacked > 4 {
				t.Fatalf("%d frames un-acked", info.Unacked)
			}
		}
		if home.Hub.Counters.WindowPauses.Load() == 0 {
			t.Error("its reading was never paused")
		}
	})
}

// A device that sends faster than its rate is slowed, not dropped, and the
// pause is not held against it.
func TestTooFast(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{DeviceRate: 5, Heartbeat: 10 * time.Second})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1)
		begin := time.Now()
		const frames = 600
		go func() {
			for seq := range uint64(frames) {
				d.Send(devicetest.Number(seq+1, "x", float64(seq)))
			}
		}()
		for d.Next().(protocol.Ack).Seq < frames {
		}
		// Its pongs are frames too, and behind the flood.
		if took := time.Since(begin); took < 115*time.Second || took > 140*time.Second {
			t.Errorf("%d frames at 5/s took %v", frames, took)
		}
	})
}

// While the gateway itself does not read, silence is its own doing.
func TestAPausedLinkIsNotGivenUp(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{DeviceRate: 0.01, Heartbeat: 10 * time.Second})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1) // its hello was the one frame of these 100 s
		d.Mute = true
		begin := time.Now()
		d.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
		if took := time.Since(begin); took < 90*time.Second {
			t.Errorf("the second frame was taken after %v", took)
		}
	})
}

// A device that never reads fills its queue and is cut; the gateway's memory
// for it is bounded, and nobody else notices.
func TestADeviceThatNeverReads(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		_, r := home.Ask(devicetest.Request{Headers: devicetest.Handshake(home.Add("deaf")), Buffer: 4 << 10})
		if r.StatusCode != 101 {
			t.Fatal(r.Status)
		}
		d, _ := home.Ask(devicetest.Request{Headers: devicetest.Handshake(token(t, home, "deaf")), Buffer: 4 << 10})
		other := home.Dial(home.Add("other"))
		other.Open(1)
		begin := time.Now()
		d.Send(devicetest.Hello(1))
		for token := range uint64(5000) {
			d.Send(protocol.Ping{Token: token})
			if info, _ := home.Hub.Link("deaf"); info.Queued > 256 {
				t.Fatalf("%d frames queued", info.Queued)
			}
		}
		other.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
		synctest.Wait()
		if _, live := home.Hub.Link("deaf"); live || time.Since(begin) > 11*time.Second {
			t.Errorf("it is still there after %v", time.Since(begin))
		}
		if home.Hub.Counters.SlowPeers.Load() != 1 {
			t.Error("not counted")
		}
	})
}

// A device that reads too slowly for even one write to end within its time.
func TestAStuckWriteEndsTheLink(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{Heartbeat: 600 * time.Second})
		d, _ := home.Ask(devicetest.Request{Headers: devicetest.Handshake(home.Add("deaf")), Buffer: 256})
		d.Send(devicetest.Hello(1))
		for token := range uint64(60) {
			d.Send(protocol.Ping{Token: token})
		}
		time.Sleep(11 * time.Second)
		if _, live := home.Hub.Link("deaf"); live {
			t.Error("it is still there")
		}
	})
}

func TestShutdownSpreadsTheReturn(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		var all []*devicetest.Device
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
			d := home.Dial(home.Add(id))
			d.Open(1)
			all = append(all, d)
		}
		hanging := home.Dial(home.Add("no-hello"))
		all[0].Send(devicetest.Number(1, "x", 1))
		synctest.Wait()
		stopped := make(chan bool)
		go func() { home.Stop(); close(stopped) }()
		all[0].Expect(protocol.Ack{Seq: 1}) // what came is committed first
		var holdOffs []uint64
		for _, d := range all {
			b := d.Next().(protocol.Bye)
			holdOffs = append(holdOffs, b.Seconds)
			d.ExpectClose(protocol.CloseRestart)
		}
		hanging.ExpectClose(protocol.CloseRestart)
		<-stopped
		slices.Sort(holdOffs)
		if n := len(slices.Compact(holdOffs)); n != 10 || holdOffs[9] > 60 {
			t.Errorf("hold-offs %v: want ten different ones, none above 60", holdOffs)
		}
	})
}

func TestDrainingRefusesNewLinks(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		tok := home.Add("kitchen")
		d := home.Dial(tok)
		d.Open(1)
		d.Mute = true
		stopped := make(chan bool)
		go func() { home.Hub.Shutdown(t.Context()); close(stopped) }()
		synctest.Wait() // its link lingers, since the device reads nothing
		if _, r := home.Ask(devicetest.Request{Headers: devicetest.Handshake(tok)}); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s", r.Status)
		}
		<-stopped
	})
}

// A log that takes nothing more: the device is told when to come back, and to
// keep its frames.
func TestTheLogIsOverloaded(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1)
		home.Hub.FailAppend("kitchen", store.ErrOverloaded)
		if b := d.Next().(protocol.Bye); b.Seconds < 1 || b.Seconds > 8 {
			t.Errorf("%+v", b)
		}
		d.ExpectClose(protocol.CloseOverloaded)
	})
}

// boom is a log handler that panics at a device's word.
type boom struct{ slog.Handler }

func (h boom) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "boom") {
		panic("boom")
	}
	return h.Handler.Handle(ctx, r)
}

// A panic ends the link that it happened on, and nothing else.
func TestAPanicEndsOneLink(t *testing.T) {
	story(t, func(t *testing.T) {
		var lines proctest.Transcript
		home := devicetest.New(t, devices.Options{Log: slog.New(boom{textLog(&lines).Handler()})})
		d, other := home.Dial(home.Add("kitchen")), home.Dial(home.Add("other"))
		d.Open(1)
		other.Open(1)
		d.Send(protocol.Log{Text: "boom"}).ExpectClose(protocol.CloseInternal)
		other.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
		if home.Hub.Counters.Panics.Load() != 1 || !strings.Contains(lines.String(), "stack=") {
			t.Error("it was not reported")
		}
		home.Dial(token(t, home, "kitchen")).Open(1)
	})
}
