package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// pace counts what waits in one client's queue. The broker drops what does not
// fit there, without waiting; the gateway can publish faster than any client
// reads, and a home can have more retained topics than a queue has places. So who
// fills the queue waits here for it to drain: the client's own reader for the
// retained messages of a new subscription, the gateway for live ones, though
// never for long: one slow client must not hold up the home.
type pace struct {
	offered atomic.Int64 // deliveries to the queue; by publishers
	sent    atomic.Int64 // out of it; by the writer
	waiters atomic.Int64
	used    atomic.Int64 // ns of gatewayWaits since the queue was last short; by publishers

	mu      sync.Mutex    // guards what follows
	drained chan struct{} // closed when the queue is short again; nil if nobody waits

	gaveUp bool // owned by the reader: no pacing until the next SUBSCRIBE
}

const (
	longQueue  = maxQueued / 2 // who fills it further waits
	shortQueue = maxQueued / 8 // and goes on from here

	// gatewayWaits is how long one client may hold the gateway up until its queue
	// is short again. After that it loses what it does not take in time.
	gatewayWaits = 2 * time.Second
	// readerWaits is how long a client's reader waits while nothing is sent: under
	// MQTT 5 a client can ask for a few messages at a time, which it can only
	// acknowledge to its reader.
	readerWaits = time.Second
)

func (c *pace) queued() int64 { return c.offered.Load() - c.sent.Load() }

// wait returns whether the queue became short within patience.
func (c *pace) wait(patience time.Duration, gone <-chan struct{}) bool {
	c.waiters.Add(1)
	defer c.waiters.Add(-1)
	c.mu.Lock()
	if c.drained == nil {
		c.drained = make(chan struct{})
	}
	drained := c.drained
	c.mu.Unlock()
	if c.queued() <= shortQueue {
		return true // before the writer could know that we wait
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-drained:
		return true
	case <-gone:
	case <-timer.C:
	}
	return false
}

// OnPacketSent counts what has left the queue and wakes who waits for that.
func (*gatekeeper) OnPacketSent(cl *mqtt.Client, pk packets.Packet, _ []byte) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok || pk.FixedHeader.Type != packets.Publish {
		return
	}
	c := &p.pace
	c.sent.Add(1)
	if c.waiters.Load() == 0 || c.queued() > shortQueue {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}

// deliver counts a message that the rules let through to p.
func (b *Broker) deliver(p *peer) {
	c := &p.pace
	c.offered.Add(1)
	switch queued := c.queued(); {
	case queued > longQueue && p.role != gateway:
		b.laggard.Store(p)
	case queued <= shortQueue && c.used.Load() != 0:
		c.used.Store(0)
	}
}

// OnPublished holds the gateway back for a client whose queue has become long. It
// runs on the goroutine that published.
func (g *gatekeeper) OnPublished(cl *mqtt.Client, _ packets.Packet) {
	if g.b.laggard.Load() == nil || roleOf(cl) != gateway {
		return
	}
	p := g.b.laggard.Swap(nil)
	if p == nil {
		return // another goroutine waits for it
	}
	c := &p.pace
	if left := gatewayWaits - time.Duration(c.used.Load()); left > 0 {
		began := time.Now()
		c.wait(left, p.gone)
		c.used.Add(int64(time.Since(began)))
	}
}

// OnSubscribed takes back what the check of each granted filter counted as a
// delivery, and paces the retained messages that come next.
func (*gatekeeper) OnSubscribed(cl *mqtt.Client, _ packets.Packet, codes []byte) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return
	}
	p.pace.gaveUp = false
	for _, code := range codes {
		if code < packets.ErrUnspecifiedError.Code {
			p.pace.offered.Add(-1)
		}
	}
}

// OnRetainPublished waits while the queue is long. It runs on the client's own
// reader, so that nobody else waits.
func (*gatekeeper) OnRetainPublished(cl *mqtt.Client, _ packets.Packet) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return
	}
	c := &p.pace
	for c.queued() > longQueue && !c.gaveUp {
		before := c.sent.Load()
		c.gaveUp = !c.wait(readerWaits, p.gone) && c.sent.Load() == before
	}
}
