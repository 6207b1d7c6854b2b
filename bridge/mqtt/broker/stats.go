package broker

import (
	"sync"
	"sync/atomic"
	"time"
)

// counters counts what did not go as a client wished.
type counters struct {
	refused atomic.Int64 // connections
	denied  atomic.Int64 // publishes and subscriptions that the rules forbid

	// What is said about it.
	trouble, full, strangers, denials, slow seldom
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
	Denied        int64 // publishes and subscriptions that the rules forbid
	Refused       int64 // connections
}

// Stats returns the numbers of now; the counting ones count since New.
func (b *Broker) Stats() Stats {
	i := b.server.Info
	return Stats{
		Clients:       atomic.LoadInt64(&i.ClientsConnected),
		Sessions:      int64(b.server.Clients.Len()) - 1, // without the one that Publish uses
		Subscriptions: atomic.LoadInt64(&i.Subscriptions),
		Retained:      atomic.LoadInt64(&i.Retained),
		Received:      atomic.LoadInt64(&i.MessagesReceived),
		Sent:          atomic.LoadInt64(&i.MessagesSent),
		Dropped:       atomic.LoadInt64(&i.MessagesDropped) + atomic.LoadInt64(&i.InflightDropped),
		Denied:        b.denied.Load(),
		Refused:       b.refused.Load(),
	}
}

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
