package broker

import (
	"sync"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The broker keeps a copy of each message at QoS 1 or 2 for each session until
// that has acknowledged it, also for those that are away, and bounds only their
// number. These bound their bytes; what is above is not delivered, as when a
// queue is full, and a client catches up by the retained states.
const (
	maxUnackedBytes    = 16 << 20 // of one session
	maxUnackedBytesAll = 64 << 20 // of all together; beyond it each may have less:
	fairUnackedBytes   = 1 << 20  // one that is away
	hereUnackedBytes   = 4 << 20  // one that is connected
	packetBytes        = 512      // what a message takes beside its topic and payload
	weighEvery         = 4 << 20  // bytes that may be added between two looks at all sessions
)

// unacked is the weight of all sessions.
type unacked struct {
	added atomic.Int64 // since the last look
	all   atomic.Int64 // at the last look
	mu    sync.Mutex   // one look at a time
}

func weightOf(pk packets.Packet) int64 {
	return int64(packetBytes + len(pk.TopicName) + len(pk.Payload))
}

// OnQosPublish adds to a session's weight. It runs on the publisher's goroutine.
func (g *gatekeeper) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok || p.role == gateway {
		return
	}
	n := weightOf(pk)
	p.unacked.Add(n)
	if g.b.unacked.added.Add(n) > weighEvery {
		g.weighAll()
	}
}

// OnQosComplete sees a client that keeps up; others are weighed when they are heavy.
func (g *gatekeeper) OnQosComplete(cl *mqtt.Client, _ packets.Packet) {
	if p, ok := cl.Net.Conn.(*peer); ok && cl.State.Inflight.Len() == 0 {
		p.unacked.Store(0)
	}
}

// mayHold reports whether a session may be given more.
func (g *gatekeeper) mayHold(cl *mqtt.Client) bool {
	p, ok := cl.Net.Conn.(*peer)
	if !ok || p.role == gateway {
		return true
	}
	most := int64(maxUnackedBytes)
	if g.b.unacked.all.Load()+g.b.unacked.added.Load() > maxUnackedBytesAll {
		if most = hereUnackedBytes; cl.Closed() {
			most = fairUnackedBytes
		}
	}
	if p.unacked.Load() <= most {
		return true
	}
	g.weighAll() // it may have acknowledged much since
	return p.unacked.Load() <= most
}

// weighAll looks at what the sessions really hold. While one looks others go on
// with what is known; without anything added there is nothing new but what was
// acknowledged, for which a heavy client is looked at again with each message.
func (g *gatekeeper) weighAll() {
	u := &g.b.unacked
	if !u.mu.TryLock() {
		return
	}
	defer u.mu.Unlock()
	u.added.Store(0)
	var all int64
	for _, cl := range g.b.server.Clients.GetAll() {
		if p, ok := cl.Net.Conn.(*peer); ok && p.role != gateway {
			all += p.weigh(cl)
		}
	}
	u.all.Store(all)
}

// weigh rights what is known of a session that seems heavy. Its number of
// messages is cheap to know, and says when nothing was acknowledged.
func (p *peer) weigh(cl *mqtt.Client) int64 {
	n := cl.State.Inflight.Len()
	if known := p.unacked.Load(); n > 0 && (known <= fairUnackedBytes || p.weighed.Swap(int64(n)) == int64(n)) {
		return known
	}
	var sum int64
	if n > 0 {
		for _, pk := range cl.State.Inflight.GetAll(false) {
			sum += weightOf(pk)
		}
	}
	p.unacked.Store(sum)
	return sum
}
