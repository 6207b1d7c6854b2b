package broker

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// The two ways in which the gateway can publish, with one subscriber over TCP at
// QoS 1; each round ends when the subscriber has the message.
func BenchmarkPublish(b *testing.B) {
	payload := []byte("21.5")
	const topic = "hearthgate/device/kitchen/temperature/state"
	const window = 64 // published and not yet seen by the subscriber

	ways := map[string]func(b *testing.B, br *Broker) func(){
		"paho in memory": func(b *testing.B, br *Broker) func() {
			c := connect(b, br, inMemory(br))
			tokens := make(chan paho.Token, window)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for token := range tokens {
					token.Wait()
				}
			}()
			b.Cleanup(func() { close(tokens); <-done })
			return func() { tokens <- c.Publish(topic, 1, true, payload) }
		},
		"in process": func(b *testing.B, br *Broker) func() {
			return func() {
				if err := br.Publish(topic, true, payload); err != nil {
					b.Fatal(err)
				}
			}
		},
	}
	for _, name := range []string{"paho in memory", "in process"} {
		b.Run(name, func(b *testing.B) {
			br, _ := start(b)
			sub := connect(b, br)
			sub.subscribe(b, "hearthgate/#", 1)
			publish := ways[name](b, br)
			b.ResetTimer()
			for i := range b.N {
				publish()
				if i >= window {
					<-sub.got
				}
			}
			for range min(window, b.N) {
				<-sub.got
			}
		})
	}
}

// What publishing costs the broker by itself: the subscribers are as light as a
// reader can be, so that next to nothing else is measured.
func BenchmarkRoute(b *testing.B) {
	payload := bytes.Repeat([]byte("x"), 200)
	for _, bench := range []struct {
		name             string
		topics, watchers int
		qos              byte
	}{
		{"QoS 0, 1 topic, 1 subscriber", 1, 1, 0},
		{"QoS 1, 1 topic, 1 subscriber", 1, 1, 1},
		{"QoS 1, 1000 topics, 1 subscriber", 1000, 1, 1},
		{"QoS 1, 1000 topics, 8 subscribers", 1000, 8, 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			br, _ := start(b)
			for range bench.watchers {
				acknowledgeEverything(b, br, bench.qos)
			}
			names := make([]string, bench.topics)
			for i := range names {
				names[i] = fmt.Sprintf("hearthgate/device/d%d/temperature/state", i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if err := br.Publish(names[i%len(names)], true, payload); err != nil {
					b.Fatal(err)
				}
				if i%256 == 255 { // it does not wait for connections of its own
					awaitSent(br, int64((i-512)*bench.watchers))
				}
			}
			awaitSent(br, int64(b.N*bench.watchers))
			b.StopTimer()
			if s := br.Stats(); s.Sent != int64(b.N*bench.watchers) || s.Dropped != 0 {
				b.Errorf("%+v", s)
			}
		})
	}
}

func TestPublishingLeavesNoGarbage(t *testing.T) {
	br, _ := start(t)
	acknowledgeEverything(t, br, 1)
	payload := []byte("21.5")
	sent := int64(0)
	allocations := testing.AllocsPerRun(1000, func() {
		for range 10 {
			if err := br.Publish("hearthgate/device/kitchen/temperature/state", true, payload); err != nil {
				t.Fatal(err)
			}
		}
		sent += 10
		awaitSent(br, sent)
	})
	if allocations > 9 { // less than one a message, also where the pool forgets on purpose (-race)
		t.Errorf("%v allocations for ten messages", allocations)
	}
}

func awaitSent(br *Broker, n int64) {
	for s := br.Stats(); s.Sent+s.Dropped < n; s = br.Stats() {
		runtime.Gosched()
	}
}

// acknowledgeEverything subscribes in memory and reads as fast as it can.
func acknowledgeEverything(b testing.TB, br *Broker, qos byte) {
	conn, err := br.Dial()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	io.WriteString(conn, greeting+packet(typeSubscribe<<4|2, []byte("\x00\x01\x00\x0chearthgate/#"+string(qos))))
	if _, err := io.ReadFull(conn, make([]byte, 4+5)); err != nil {
		b.Fatal(err)
	}
	go func() {
		var have, acks []byte
		chunk := make([]byte, 64<<10)
		for {
			n, err := conn.Read(chunk)
			if err != nil {
				return
			}
			have, acks = append(have, chunk[:n]...), acks[:0]
			at := 0
			for {
				head, body, size, _, _ := split(have[at:], maxOwnPacket)
				if size == 0 {
					break
				}
				at += size
				if head&6 != 0 {
					topic := int(body[0])<<8 | int(body[1])
					acks = append(acks, typePuback<<4, 2, body[2+topic], body[3+topic])
				}
			}
			have = have[:copy(have, have[at:])]
			if _, err := conn.Write(acks); err != nil {
				return
			}
		}
	}()
}
