package devices_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

func presence(home *devicetest.Home, id string) store.PresenceState {
	synctest.Wait()
	p, _ := home.Store.PresenceOf(id)
	return p.State
}

func TestASilentLinkIsGivenUp(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{Heartbeat: 30 * time.Second})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1)
		d.Mute = true
		begin := time.Now()
		d.ExpectClose(protocol.CloseSilence)
		if took := time.Since(begin); took < 75*time.Second || took > 76*time.Second {
			t.Errorf("given up after %v, want 2.5 heartbeats", took)
		}
		if n := d.Pings(); n != 2 {
			t.Errorf("%d pings before that, want 2", n)
		}
		if s := presence(home, "kitchen"); s != store.Online {
			t.Errorf("%s within the grace", s)
		}
		time.Sleep(10 * time.Second)
		if s := presence(home, "kitchen"); s != store.Lost {
			t.Errorf("%s after the grace", s)
		}
	})
}

// Of two changes at a moment the hub may hear of the first one last. What the registry
// says then is what holds.
func TestARevocationThatIsHeardOfLate(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		home.Dial(home.Add("kitchen")).Open(1)
		if err := home.Registry.Revoke("kitchen"); err != nil {
			t.Fatal(err)
		}
		token, err := home.Registry.Rotate("kitchen")
		if err != nil {
			t.Fatal(err)
		}
		home.Hub.Hear("kitchen", registry.Revoked)
		if s := presence(home, "kitchen"); s == store.Disabled {
			t.Error("it is disabled though it may come again")
		}
		home.Dial(token).Open(2)
		if s := presence(home, "kitchen"); s != store.Online {
			t.Errorf("%s though it is there", s)
		}

		if err := home.Registry.Remove("kitchen"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		home.Hub.Hear("kitchen", registry.Revoked)
		if s := presence(home, "kitchen"); s != "" {
			t.Errorf("the log has it as %s though it left the home", s)
		}
	})
}

// A peer that went without a word (its power was cut) reads nothing and sends
// nothing: its socket's buffer takes the pings.
func TestAHalfOpenLinkIsGivenUp(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1)
		time.Sleep(3 * time.Minute)
		if s := presence(home, "kitchen"); s != store.Lost {
			t.Errorf("%s", s)
		}
		if n := home.Hub.Status(); n.Links != 0 {
			t.Errorf("%d links", n.Links)
		}
	})
}

func TestHeartbeatIsGranted(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{Heartbeat: 45 * time.Second})
		tok := home.Add("kitchen")
		for wish, want := range map[uint64]uint64{0: 45, 1: 10, 10: 10, 77: 77, 600: 600, 1 << 60: 600} {
			h := devicetest.Hello(1)
			h.Heartbeat = wish
			if w := home.Dial(tok).OpenWith(h); w.Heartbeat != want {
				t.Errorf("wish %d: granted %d, want %d", wish, w.Heartbeat, want)
			}
		}
	})
}

// A device that talks all the time, and is answered, needs no ping.
func TestNoPingWhereThereIsTraffic(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1)
		for seq := range uint64(100) {
			d.Send(devicetest.Number(seq+1, "x", 1)).Expect(protocol.Ack{Seq: seq + 1})
			time.Sleep(10 * time.Second)
		}
		if d.Pings() != 0 {
			t.Errorf("%d pings", d.Pings())
		}
	})
}

// A day in the life of a home: some devices are always there, some sleep most
// of the time, some lose their link every few minutes.
func TestADay(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		ctx, cancel := context.WithCancel(context.Background())
		var watched []*store.Entry
		tail := home.Store.Follow()
		over := make(chan struct{})
		go func() {
			defer close(over)
			for {
				es, _, err := tail.Next(ctx, 100)
				if err != nil {
					return
				}
				watched = append(watched, es...)
			}
		}()
		done := make(chan uint64)
		live := func(id string, f func(tok string) uint64) {
			tok := home.Add(id)
			go func() { done <- f(tok) }()
		}
		const day = 24 * time.Hour
		end := time.Now().Add(day)
		for i := range 3 {
			live(fmt.Sprint("mains", i), func(tok string) (seq uint64) {
				d := home.Dial(tok)
				d.Open(1)
				for time.Now().Before(end) {
					seq++
					d.Send(devicetest.Number(seq, "power", float64(seq))).Expect(protocol.Ack{Seq: seq})
					d.ExpectSilence(5 * time.Minute) // pings are answered meanwhile
				}
				return seq
			})
			live(fmt.Sprint("sleeper", i), func(tok string) (seq uint64) {
				for time.Now().Before(end) {
					d := home.Dial(tok)
					d.Open(1)
					seq++
					d.Send(devicetest.Number(seq, "moisture", float64(seq)), protocol.Bye{Seconds: 900})
					d.Expect(protocol.Ack{Seq: seq}).ExpectClose(protocol.CloseNormal)
					time.Sleep(15 * time.Minute)
				}
				return seq
			})
			live(fmt.Sprint("flaky", i), func(tok string) (seq uint64) {
				for time.Now().Before(end) {
					d := home.Dial(tok)
					seq = d.Open(1).Settled
					for range 3 {
						seq++
						d.Send(devicetest.Number(seq, "rain", float64(seq))).Expect(protocol.Ack{Seq: seq})
						d.ExpectSilence(4 * time.Minute)
					}
					d.Leave()
					time.Sleep(5 * time.Second)
				}
				return seq
			})
		}
		var sent uint64
		for range 9 {
			sent += <-done
		}
		time.Sleep(time.Minute)
		cancel()
		<-over
		tail.Close()

		var stored uint64
		states := map[string]map[store.PresenceState]int{}
		for _, e := range watched {
			switch e.Kind {
			case store.Telemetry:
				stored++
			case store.Presence:
				if e.Received > end.UnixMilli() {
					continue // they stop one by one
				}
				if states[e.Device] == nil {
					states[e.Device] = map[store.PresenceState]int{}
				}
				states[e.Device][e.Presence.State]++
			}
		}
		if stored != sent {
			t.Errorf("%d frames acked, %d in the log", sent, stored)
		}
		for i := range 3 {
			if s := states[fmt.Sprint("mains", i)]; s[store.Online] != 1 || s[store.Sleeping] != 0 || s[store.Lost] != 0 {
				t.Errorf("mains%d: %v, want online once", i, s)
			}
			if s := states[fmt.Sprint("sleeper", i)]; s[store.Online] != 96 || s[store.Sleeping] != 96 || s[store.Lost] != 0 {
				t.Errorf("sleeper%d: %v, want 96 times online and sleeping, never lost", i, s)
			}
			if s := states[fmt.Sprint("flaky", i)]; s[store.Online] != 1 || s[store.Lost] != 0 {
				t.Errorf("flaky%d: %v, want online once: it was always back within its grace", i, s)
			}
		}
	})
}

func TestSleepersAndOthersOverARestart(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		plug, back, sensor := home.Add("plug"), home.Add("back"), home.Add("sensor")
		home.Dial(plug).Open(1)
		home.Dial(back).Open(1)
		d := home.Dial(sensor)
		d.Open(1)
		d.Send(protocol.Bye{Seconds: 3600}).ExpectClose(protocol.CloseNormal)
		home.Stop()
		time.Sleep(time.Minute)
		home.Start()
		if a, b := presence(home, "plug"), presence(home, "sensor"); a != store.Unknown || b != store.Sleeping {
			t.Fatalf("after the restart plug is %s, sensor %s", a, b)
		}
		time.Sleep(89 * time.Second)
		home.Dial(back).Open(1)
		time.Sleep(2 * time.Second)
		if a, b, c := presence(home, "plug"), presence(home, "back"), presence(home, "sensor"); a != store.Lost || b != store.Online || c != store.Sleeping {
			t.Fatalf("after 91 s plug is %s, back %s, sensor %s", a, b, c)
		}
		time.Sleep(87 * time.Minute)
		if s := presence(home, "sensor"); s != store.Sleeping {
			t.Fatalf("sensor is %s before 1.5 times its nap was over", s)
		}
		time.Sleep(2 * time.Minute)
		if s := presence(home, "sensor"); s != store.Lost {
			t.Fatalf("sensor is %s after that", s)
		}
	})
}

// A reconnect storm: the whole home comes at once, and again.
func TestReconnectStorm(t *testing.T) {
	story(t, func(t *testing.T) {
		const n = 200
		home := devicetest.New(t, devices.Options{})
		tokens := make([]string, n)
		for i := range tokens {
			tokens[i] = home.Add(fmt.Sprintf("d%03d", i))
		}
		for round := range uint64(3) {
			done := make(chan *devicetest.Device)
			for _, tok := range tokens {
				go func() {
					d := home.Dial(tok)
					w := d.Open(1)
					if w.Settled != round {
						t.Errorf("settled %d, want %d", w.Settled, round)
					}
					done <- d.Send(devicetest.Number(round+1, "x", 1)).Expect(protocol.Ack{Seq: round + 1})
				}()
			}
			for range tokens {
				d := <-done
				if round == 1 {
					d.Leave()
				}
			}
			if s := home.Hub.Status(); s.Sessions != n && round != 1 {
				t.Errorf("%d sessions", s.Sessions)
			}
		}
		if c := home.Hub.Counters.Clashes.Load(); c != 0 {
			t.Errorf("%d clashes", c)
		}
	})
}
