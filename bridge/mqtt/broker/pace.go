package broker

import (
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// pace holds a new subscription's retained messages back to what its client
// takes. The broker puts all of them in the client's queue at once and drops what
// does not fit, and a home can have more topics than a queue has places.
type pace struct {
	// Owned by the reader.
	queued int64 // retained messages since the last SUBSCRIBE
	base   int64 // of sent, at that time
	gaveUp bool  // until the next SUBSCRIBE

	// Written by the writer, which also wakes the reader.
	sent    atomic.Int64 // messages
	waiting atomic.Bool
	wake    chan struct{} // holds one
}

const (
	// paceQueued is the queue's share that retained messages may fill.
	paceQueued = maxQueued / 2
	// paceWait ends the holding back if nothing is sent for so long: under MQTT 5
	// a client can ask for a few at a time, and those are not in the queue.
	paceWait = time.Second
)

// OnSubscribed starts counting.
func (*gatekeeper) OnSubscribed(cl *mqtt.Client, _ packets.Packet, _ []byte) {
	if p, ok := cl.Net.Conn.(*peer); ok {
		p.pace.queued, p.pace.base, p.pace.gaveUp = 0, p.pace.sent.Load(), false
	}
}

// OnRetainPublished waits while too many are in the queue. It runs on the
// client's own reader, so that nobody else waits.
func (*gatekeeper) OnRetainPublished(cl *mqtt.Client, _ packets.Packet) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return
	}
	p.pace.queued++
	for p.pace.behind() && !p.pace.gaveUp {
		p.holdBack()
	}
}

// OnPacketSent counts what has left the queue.
func (*gatekeeper) OnPacketSent(cl *mqtt.Client, pk packets.Packet, _ []byte) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok || pk.FixedHeader.Type != packets.Publish {
		return
	}
	p.pace.sent.Add(1)
	if p.pace.waiting.Load() {
		select {
		case p.pace.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

func (c *pace) behind() bool { return c.queued-(c.sent.Load()-c.base) > paceQueued }

// holdBack waits for one message to leave the queue.
func (p *peer) holdBack() {
	p.pace.waiting.Store(true)
	defer p.pace.waiting.Store(false)
	if !p.pace.behind() {
		return // it left before the writer knew that we wait
	}
	patience := time.NewTimer(paceWait)
	defer patience.Stop()
	select {
	case <-p.pace.wake:
	case <-p.gone:
		p.pace.gaveUp = true
	case <-patience.C:
		p.pace.gaveUp = true
	}
}
