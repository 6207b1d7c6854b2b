package broker

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

// What a socket does not take at once is written by the connection's writer, in
// order; who publishes does not wait for it, and is told when it would have to.
func TestWhoPublishesNowDoesNotWaitForAClient(t *testing.T) {
	b, _ := start(t)
	sub := dialTCP(t, b.Addr().String())(v311)
	sub.enter(hello{id: "sub"})
	sub.subscribe("hearthgate/#", 1, "")
	const topic = "hearthgate/device/lamp/result"
	large := bytes.Repeat([]byte("x"), 60<<10)
	sent := 0
	for sent < maxQueued && b.PublishNow(topic, append(fmt.Appendf(nil, "%04d ", sent), large...)) {
		sent++
	}
	if sent == 0 || sent == maxQueued {
		t.Fatalf("%d were taken of a client that does not read", sent)
	}
	for i := range sent {
		m := sub.message()
		if want := fmt.Sprintf("%04d x", i); m.payload[:6] != want || len(m.payload) != 5+len(large) {
			t.Fatalf("got %.6q of %d bytes, want %q", m.payload, len(m.payload), want)
		}
	}
	eventually(t, "there is room again", func() bool {
		_ = b.Publish("x", false, nil) // waits for who is behind, if anybody is
		return b.PublishNow(topic, []byte("again"))
	})
}

// Answers, messages of the gateway now and in its own time, and messages of others
// go to one client through one socket, whoever writes them: nothing is torn.
func TestManyWriteToOneClient(t *testing.T) {
	b, _ := start(t)
	sub := dialTCP(t, b.Addr().String())(v311)
	sub.enter(hello{id: "sub"})
	sub.subscribe("#", 0, "")
	const each = 2000
	var publishers sync.WaitGroup
	publishers.Go(func() {
		for i := range each {
			for !b.PublishNow("hearthgate/now", fmt.Append(nil, i)) {
				_ = b.Publish("hearthgate/filler", false, nil)
			}
		}
	})
	publishers.Go(func() {
		for i := range each {
			if err := b.Publish("hearthgate/own-time", false, fmt.Append(nil, i)); err != nil {
				t.Error(err)
			}
		}
	})
	publishers.Go(func() { // its PUBACKs go elsewhere
		k := dialTCP(t, b.Addr().String())(v311)
		k.enter(hello{id: "k"})
		for i := range each {
			k.publish(1, false, 1, "workshop/door", "", fmt.Sprint(i))
			k.expect(typePuback<<4, num16(1))
		}
	})
	next := map[string]int{}
	for pongs, all := 0, 0; all < 3*each; {
		if all%16 == 0 && pongs*16 <= all {
			sub.say("\xc0\x00")
			pongs++
		}
		head, body := sub.hear()
		if head == typePingresp<<4 {
			continue
		}
		n := 2 + int(body[0])<<8 + int(body[1])
		topic, payload := body[2:n], body[n:]
		if topic == "hearthgate/filler" {
			continue
		}
		if want := fmt.Sprint(next[topic]); payload != want {
			t.Fatalf("%s: %q comes where %s should", topic, payload, want)
		}
		next[topic]++
		all++
	}
	publishers.Wait()
}
