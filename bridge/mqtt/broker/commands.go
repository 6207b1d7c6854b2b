package broker

import "sync"

// commands is how commands reach the gateway without a connection in between: the
// goroutine that read one from a client gives it to the gateway by a plain call,
// after the subscribers of its topic and before the client's PUBACK. So those of
// one client arrive in its order.
type commands struct {
	mu   sync.RWMutex // held while take runs, so with no other lock of the broker's
	take func(topic string, payload []byte, refused bool)
}

// command is one that a will gives.
type command struct {
	topic   string
	payload []byte
}

// OnCommand lets take have what clients publish on topics that take commands, from
// now on; nil ends it. It waits until the calls of an earlier take have returned.
// take is called from many goroutines. It must not block, and payload is valid
// only until it returns. One with the retain flag is refused: the broker kept
// nothing, and take has to see that its sender learns of it.
func (b *Broker) OnCommand(take func(topic string, payload []byte, refused bool)) {
	b.commands.mu.Lock()
	defer b.commands.mu.Unlock()
	b.commands.take = take
}

func (b *Broker) handOver(topic string, payload []byte, refused bool) {
	b.commands.mu.RLock()
	defer b.commands.mu.RUnlock()
	if b.commands.take != nil {
		b.commands.take(topic, payload, refused)
	}
}

// unlock releases mu and then hands over what wills asked for while it was held.
func (x *exchange) unlock(b *Broker) {
	due := x.commands
	x.commands = nil
	x.mu.Unlock()
	for _, c := range due {
		b.handOver(c.topic, c.payload, false)
	}
}
