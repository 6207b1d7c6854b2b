package broker

import (
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
