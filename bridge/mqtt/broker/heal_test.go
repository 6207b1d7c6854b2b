package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// A client that did not read for a while loses messages, and of each state that it
// lost it gets the newest once it reads again, or that there is none any more.
func TestASlowClientEndsWithTheNewestStates(t *testing.T) {
	for name, topics := range map[string]int{"few states": 10, "more than are noted": maxQueued + maxMissed + 1000} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, b *Broker, dial dialer) {
				k := dial(v311)
				k.enter(hello{id: "k"})
				k.subscribe("home/#", 1, "")
				publish := func(topic, payload string) {
					if err := b.Publish(topic, true, []byte(payload)); err != nil {
						t.Fatal(err)
					}
				}
				publish("home/gone/state", "ON")
				want := map[string]string{}
				for i := range topics + 2*maxQueued {
					topic, payload := fmt.Sprintf("home/d%d/state", i%topics), fmt.Sprint(i)
					publish(topic, payload)
					want[topic] = payload
				}
				if topics < maxMissed {
					publish("home/gone/state", "")
				}
				synctest.Wait()
				if b.Stats().Dropped == 0 {
					t.Fatal("nothing was lost: the test tests nothing")
				}
				got := map[string]string{}
				seen := func(m said) {
					got[m.topic] = m.payload
					k.say("\x40\x02" + num16(m.id))
				}
				for len(want) > 0 {
					m := k.message()
					seen(m)
					if want[m.topic] == m.payload {
						delete(want, m.topic)
					}
				}
				if topics < maxMissed {
					for got["home/gone/state"] != "" {
						seen(k.message())
					}
					if n := b.Stats().Healed; n == 0 || n > int64(topics)+1 {
						t.Errorf("%d states were sent again", n)
					}
				}
			})
		})
	}
}

// Where nothing is lost nothing comes twice, and what has no state is not healed.
func TestOnlyStatesAreHealed(t *testing.T) {
	inTime(t, func(t *testing.T, b *Broker, dial dialer) {
		k := dial(v311)
		k.enter(hello{id: "k"})
		k.subscribe("home/#", 1, "")
		for i := range maxQueued + 2*maxUnacked {
			if err := b.Publish("home/stream", false, []byte(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		lost := int(b.Stats().Dropped)
		if lost == 0 {
			t.Fatal("nothing was lost: the test tests nothing")
		}
		for i := range maxQueued + 2*maxUnacked - lost {
			m := k.message()
			if m.payload != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, m.payload)
			}
			k.say("\x40\x02" + num16(m.id))
		}
		k.nothing()
		if n := b.Stats().Healed; n != 0 {
			t.Errorf("%d healed", n)
		}
	})
}

// When all clients together hold so much that each may have little, a state that a
// client lost is not lost once more by sending it again: it waits for room.
func TestAStateWaitsForRoomInACrowd(t *testing.T) {
	inTime(t, func(t *testing.T, b *Broker, dial dialer) {
		k := dial(v311)
		k.enter(hello{id: "k"})
		k.subscribe("home/#", 1, "")
		publish := func(topic string, retained bool, payload string) {
			if err := b.Publish(topic, retained, []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		const messages, size = 45, 10_000 // together more than crowdedBytes and less than shortBytes
		for range messages {
			publish("home/stream", false, strings.Repeat("x", size))
		}
		b.queued.Add(maxCrowded) // that others hold
		publish("home/lamp/state", true, "ON")
		if b.Stats().Dropped != 1 {
			t.Fatal("nothing was lost: the test tests nothing")
		}
		state := 0
		for range messages + 1 {
			m := k.message()
			if m.topic == "home/lamp/state" {
				state++
			}
			k.say("\x40\x02" + num16(m.id))
		}
		b.queued.Add(-maxCrowded)
		if n := b.Stats().Dropped; state != 1 || n != 1 {
			t.Errorf("the state came %d times, and %d messages were lost", state, n)
		}
		k.nothing()
	})
}
