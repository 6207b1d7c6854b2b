package broker

import "time"

// pace is about the length of a session's queue. A queue drops what does not fit,
// and the gateway can publish faster than any client reads. So the gateway waits
// for one that has become long, though never for long: one slow client must not
// hold up the home. Retained messages, of which a home can have more than a queue
// has places, need no waiting: they are queued only while it is not long (replay).
// Its fields are guarded by the session's mu.
type pace struct {
	used    time.Duration // of gatewayWaits since the queue was last short
	drained chan struct{} // closed when the queue is short again; nil if nobody waits
}

const (
	longQueue  = maxQueued / 2 // who fills it further waits
	shortQueue = maxQueued / 8 // and goes on from here

	longBytes  = hereQueuedBytes / 2
	shortBytes = hereQueuedBytes / 8

	// gatewayWaits is how long one client may hold the gateway up until its queue
	// is short again. After that it loses what it does not take in time.
	gatewayWaits = 2 * time.Second
)

func (s *session) long() bool {
	return s.queue.count() > longQueue || s.queue.size() > longBytes
}

func (s *session) short() bool {
	return s.queue.count() <= shortQueue && s.queue.size() <= shortBytes
}

// relieve wakes who waits and forgives what was waited. Called with mu held.
func (s *session) relieve() {
	s.used = 0
	if s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
}

// holdBack lets the gateway wait for a client whose queue has become long. It runs
// on the goroutine that published, without locks.
func (b *Broker) holdBack() {
	if b.laggard.Load() == nil {
		return
	}
	if s := b.laggard.Swap(nil); s != nil { // else another goroutine waits for it
		s.hold()
	}
}

func (s *session) hold() {
	s.mu.Lock()
	left := gatewayWaits - s.used
	if s.conn == nil || s.short() || left <= 0 {
		s.mu.Unlock()
		return
	}
	if s.drained == nil {
		s.drained = make(chan struct{})
	}
	drained := s.drained
	s.mu.Unlock()

	began, timer := time.Now(), time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-drained: // or gone
	case <-s.b.closed:
	case <-timer.C:
		s.mu.Lock()
		s.used += time.Since(began)
		s.mu.Unlock()
	}
}
