package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// inTime runs a test of hours in memory.
func inTime(t *testing.T, test func(t *testing.T, b *Broker, dial dialer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		test(t, b, dialMemory(t, b))
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestASessionLivesAsLongAsItsClientSaid(t *testing.T) {
	inTime(t, func(t *testing.T, b *Broker, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k", keepalive: 60000, props: "\x11" + num32(10)})
		k.subscribe("home/+", 1, "")
		k.hangUp()
		pass(9 * time.Second)
		k = dial(v5)
		if !k.enter(hello{id: "k", keepalive: 60000, resume: true, props: "\x11" + num32(10)}) {
			t.Error("it ended early")
		}
		pass(time.Hour) // it is there: the time does not run
		k.publish(0, false, 0, "home/a", "", "x")
		k.gets("home/a x q0")
		k.hangUp()
		pass(11 * time.Second)
		if s := b.Stats(); s.Sessions != 0 || s.Subscriptions != 0 {
			t.Errorf("still %+v", s)
		}
		k = dial(v5)
		if k.enter(hello{id: "k", resume: true, props: "\x11" + num32(10)}) {
			t.Error("it did not end")
		}
		k.say("\xe0\x07\x00" + block("\x11"+num32(0))) // it does not come back
		k.conn.Read(make([]byte, 1))
		synctest.Wait()
		if s := b.Stats(); s.Sessions != 0 {
			t.Errorf("still %+v", s)
		}
	})
}

func TestWillsThatWait(t *testing.T) {
	inTime(t, func(t *testing.T, b *Broker, dial dialer) {
		watcher := dial(v5)
		watcher.enter(hello{id: "watcher", keepalive: 60000})
		watcher.subscribe("will/+", 0, "")
		with := func(delay, life uint32) hello {
			return hello{id: "k", resume: true, props: "\x11" + num32(life), will: "will/k", lastWord: "gone", willProps: "\x18" + num32(delay)}
		}
		k := dial(v5)
		k.enter(with(10, 60))
		k.hangUp()
		pass(9 * time.Second)
		watcher.nothing()
		k = dial(v5)
		k.enter(with(10, 60)) // in time
		pass(time.Minute)
		watcher.nothing()
		taken := dial(v5)
		taken.enter(with(10, 60)) // the session goes on
		k.ends(takenOver)
		pass(time.Minute)
		watcher.nothing()
		taken.hangUp()
		began := time.Now()
		watcher.gets("will/k gone q0")
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("after %v", took)
		}
		k = dial(v5)
		k.enter(with(100, 5))
		k.hangUp()
		began = time.Now()
		watcher.gets("will/k gone q0") // at the session's end at the latest
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("after %v", took)
		}
		pass(time.Hour)
		watcher.nothing()
	})
}

func TestMessagesExpire(t *testing.T) {
	inTime(t, func(t *testing.T, b *Broker, dial dialer) {
		k, pub := dial(v5), dial(v5)
		k.enter(hello{id: "k", props: "\x11" + num32(3600)})
		k.subscribe("home/+", 1, "")
		k.hangUp()
		synctest.Wait()
		pub.enter(hello{id: "pub", keepalive: 60000})
		pub.publish(1, true, 1, "home/short", "\x02"+num32(10), "x")
		pub.publish(1, true, 2, "home/long", "\x02"+num32(100), "y")
		pub.publish(1, true, 3, "home/ever", "", "z")
		pass(30 * time.Second)
		k = dial(v5)
		k.enter(hello{id: "k", resume: true, props: "\x11" + num32(3600)})
		if m := k.gets("home/long y q1"); m.props != "\x02"+num32(70) {
			t.Errorf("properties %q", m.props)
		}
		k.gets("home/ever z q1")
		k.nothing()
		late := dial(v5)
		late.enter(hello{id: "late"})
		late.subscribe("home/short", 1, "")
		late.nothing()
		late.subscribe("home/long", 1, "")
		if m := late.gets("home/long y q1"); m.props != "\x02"+num32(70) || !m.retain {
			t.Errorf("%+v", m)
		}
		if s := b.Stats(); s.Retained != 2 {
			t.Errorf("%d retained", s.Retained)
		}
	})
}

func TestSilenceEndsAConnection(t *testing.T) {
	inTime(t, func(t *testing.T, b *Broker, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k", keepalive: 10})
		for range 10 {
			pass(14 * time.Second)
			k.nothing()
		}
		began := time.Now()
		k.ends(keepaliveTimeout)
		if took := time.Since(began); took < 15*time.Second || took > 20*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

func TestAQueueForOneThatIsAwayIsBounded(t *testing.T) {
	for name, tt := range map[string]struct{ messages, bytes, most int }{
		"many":  {maxQueued + 100, 10, maxQueued},
		"large": {300, 100 << 10, maxQueuedBytes/(100<<10) + 1},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, b *Broker, dial dialer) {
				k := dial(v311)
				k.enter(hello{id: "k", resume: true})
				k.subscribe("home/+", 1, "")
				k.hangUp()
				synctest.Wait()
				began := time.Now()
				for i := range tt.messages {
					payload := fmt.Sprintf("%6d", i) + strings.Repeat("x", tt.bytes)
					if err := b.Publish("home/a", false, []byte(payload)); err != nil {
						t.Fatal(err)
					}
				}
				if time.Since(began) != 0 {
					t.Errorf("the gateway waited for one that is away: %v", time.Since(began))
				}
				dropped := int(b.Stats().Dropped)
				if kept := tt.messages - dropped; kept > tt.most || kept < tt.most/2 {
					t.Errorf("%d kept, want about %d", kept, tt.most)
				}
				k = dial(v311)
				k.enter(hello{id: "k", resume: true})
				for i := range tt.messages - dropped { // the oldest
					m := k.message()
					if !strings.HasPrefix(m.payload, fmt.Sprintf("%6d", i)) {
						t.Fatalf("message %d is %.10s", i, m.payload)
					}
					k.say("\x40\x02" + num16(m.id))
				}
				k.nothing()
				if n := b.queued.Load(); n != 0 {
					t.Errorf("%d bytes queued", n)
				}
			})
		})
	}
}
