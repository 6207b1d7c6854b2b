package broker

import (
	"slices"
	"time"
)

// kept is the retained message of a topic. Its memory is used again by the next,
// since states change all the time.
type kept struct {
	payload, props []byte
	expires        time.Duration // by the broker's clock; 0 is never
	qos            byte
	foreign        bool // not the gateway's
}

// weight is what a topic's message takes.
func (t *topic) weight() int {
	return overhead + len(t.name) + len(t.kept.payload) + len(t.kept.props)
}

// retainedSums is what is retained, for the limits.
type retainedSums struct {
	count        int
	foreignBytes int
}

// mayRetain reports whether there is room for a message of others.
func (x *exchange) mayRetain(name string, size int) bool {
	bytes, count := x.store.foreignBytes+overhead+len(name)+size, x.store.count
	if t := x.topics[name]; t != nil && t.kept != nil {
		if count--; t.kept.foreign {
			bytes -= t.weight()
		}
	}
	return count < maxRetained && bytes <= maxRetainedBytes
}

// retain keeps a message, or with an empty one nothing.
func (x *exchange) retain(t *topic, m *message, foreign bool) {
	x.release(t)
	if len(m.payload) == 0 {
		if t.kept != nil {
			x.forget(t)
		}
		return
	}
	k := t.kept
	if k == nil {
		k = &kept{}
		t.kept = k
		x.retained.put(t.name, t)
		x.store.count++
		x.passing--
	}
	k.payload, k.props = reuse(k.payload, m.payload), reuse(k.props, m.props)
	k.expires, k.qos, k.foreign = m.expires, m.qos, foreign
	if foreign {
		x.store.foreignBytes += t.weight()
	}
}

// reuse copies b over old, unless old is far too large.
func reuse(old, b []byte) []byte {
	if cap(old) > 4*len(b)+64 {
		old = nil
	}
	return append(old[:0], b...)
}

// release takes the topic's message out of the sums.
func (x *exchange) release(t *topic) {
	if t.kept != nil && t.kept.foreign {
		x.store.foreignBytes -= t.weight()
	}
}

// forget makes the topic one that is not retained.
func (x *exchange) forget(t *topic) {
	t.kept = nil
	x.retained.remove(t.name)
	x.store.count--
	x.passing++
}

// replay is the retained messages that a new subscription still has to get. The
// messages are looked up when it is their turn, so that none is older than what
// went out live in the meantime.
type replay struct {
	subscription *subscription
	topics       []*topic
	collected    bool
}

// replayStep is how many topics are looked at before others get their turn.
const replayStep = 512

// askReplay notes that a subscription gets what is retained.
func (s *session) askReplay(sub *subscription) {
	if len(s.replays) > 2*len(s.subscriptions) { // who subscribes again and again does not let it grow
		s.replays = slices.DeleteFunc(s.replays, func(r replay) bool { return r.subscription.gone })
	}
	s.replays = append(s.replays, replay{subscription: sub})
	s.mu.Lock()
	s.replaying = true
	s.mu.Unlock()
}

// replay queues retained messages while the session's queue is not long. The rest
// follows when the writer has made room. To find out which they are takes a walk,
// and a client can ask for thousands of long ones: so all walks together get a
// quarter of the time at most, and who caused one waits.
func (x *exchange) replay(s *session) {
	wait := x.replaySome(s)
	if wait == 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.b.closed:
	}
}

// replaySome ends with the first walk, and says how long to wait after it.
func (x *exchange) replaySome(s *session) (wait time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for range replayStep {
		s.mu.Lock()
		if len(s.replays) == 0 && len(s.missed) == 0 && !s.missedMore {
			s.replaying = false
		}
		stop := !s.replaying || !s.takesReplay()
		s.mu.Unlock()
		if stop {
			return 0
		}
		if x.heal(s) {
			continue
		}
		r := &s.replays[0]
		if !r.collected {
			return x.collect(s.b, r)
		}
		if r.subscription.gone || len(r.topics) == 0 {
			s.replays = s.replays[1:]
			continue
		}
		if x.replayOne(s, r.subscription, r.topics[0]) {
			r.topics = r.topics[1:]
		}
	}
	return 0
}

// collect walks through what is retained, and says how long to wait after it.
func (x *exchange) collect(b *Broker, r *replay) time.Duration {
	r.collected = true
	if r.subscription.gone {
		return 0
	}
	began := b.now()
	x.retained.topicsOf(r.subscription.filter, func(t *topic) { r.topics = append(r.topics, t) })
	now := b.now()
	x.walks = max(x.walks, now) + 3*(now-began)
	if wait := x.walks - now; wait >= time.Millisecond {
		return wait
	}
	return 0 // those of a small home
}

// replayOne is false where there is no room; then its turn comes again.
func (x *exchange) replayOne(s *session, sub *subscription, t *topic) (done bool) {
	k := t.kept
	switch {
	case k == nil:
		return true
	case k.expires != 0 && k.expires <= s.b.now():
		x.release(t)
		x.forget(t)
		return true
	}
	d, _ := merge([]*subscription{sub}, false)
	m := message{payload: k.payload, props: k.props, expires: k.expires}
	if !s.hasRoom(&m, t.name, d.identifiers) {
		return false
	}
	s.offer(&m, t.name, d.identifiers, min(k.qos, sub.qos), true)
	return true
}

// takesReplay reports whether more of what is retained may be queued. While all
// sessions hold much that may be next to nothing, though the queue is not long: then
// it waits, since nobody would send it once more. Called with mu held.
func (s *session) takesReplay() bool {
	return !s.long() && (s.wanted == 0 || !s.full(s.wanted))
}

// hasRoom reports whether s takes m now, and else notes what is wanted.
func (s *session) hasRoom(m *message, topic string, ids []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := len(topic) + len(ids) + len(m.props) + len(m.payload)
	if s.wanted = 0; s.full(size) {
		s.wanted = size
	}
	return s.wanted == 0
}
