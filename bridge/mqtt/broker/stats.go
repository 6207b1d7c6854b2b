package broker

import (
	"sync"
	"sync/atomic"
	"time"
)

// counters counts what did not go as a client wished.
type counters struct {
	refused  atomic.Int64 // connections
	received atomic.Int64 // messages
	sent     atomic.Int64 // messages
	dropped  atomic.Int64 // messages
	healed   atomic.Int64 // retained topics that such a client got again
	denied   atomic.Int64 // publishes and subscriptions that the rules forbid

	// What is said about it.
	trouble, full, strangers, denials, slow, crowd, mistakes seldom
}

// Stats is a look at the broker.
type Stats struct {
	Clients       int64 // connected, the gateway's own among them
	Sessions      int64 // those and the ones that may come back
	Subscriptions int64
	Retained      int64
	Received      int64 // messages
	Sent          int64 // messages
	Dropped       int64 // messages that a slow client lost
	Healed        int64 // states that it got again once it had caught up
	Denied        int64 // publishes and subscriptions that the rules forbid
	Refused       int64 // connections
}

// Stats returns the numbers of now; the counting ones count since New.
func (b *Broker) Stats() Stats {
	x := &b.exchange
	x.mu.Lock()
	defer x.mu.Unlock()
	return Stats{
		Clients:       int64(x.connected),
		Sessions:      int64(len(x.sessions)),
		Subscriptions: int64(x.subscriptions),
		Retained:      int64(x.store.count),
		Received:      b.received.Load(),
		Sent:          b.sent.Load(),
		Dropped:       b.dropped.Load(),
		Healed:        b.healed.Load(),
		Denied:        b.denied.Load(),
		Refused:       b.refused.Load(),
	}
}

// Dropped is Stats.Dropped.
func (b *Broker) Dropped() int64 { return b.dropped.Load() }

// seldom lets one event a minute be said and counts the others.
type seldom struct {
	mu   sync.Mutex
	next time.Time
	held int64
}

func (s *seldom) allow(now time.Time) (held int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		s.held++
		return 0, false
	}
	held, s.held, s.next = s.held, 0, now.Add(time.Minute)
	return held, true
}
