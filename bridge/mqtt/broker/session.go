package broker

import (
	"sync"
	"time"
)

// session is what the broker keeps of one client: its subscriptions, what
// waits for it, what it has not acknowledged. It outlives its connection if the
// client asked for that.
type session struct {
	// Set at birth.
	b     *Broker
	id    string
	owner owner

	// Guarded by the exchange's mu.
	subscriptions map[string]*subscription
	shared        int                 // of subscriptions, those of a group
	replays       []replay            // retained messages that are still to come
	missed        map[string]struct{} // retained topics of which it lost a message
	missedMore    bool                // than those
	life          time.Duration       // once it is away
	ending        *time.Timer         // while it is away
	left          time.Duration       // by the broker's clock: when it was last connected
	absences      int                 // how often it was
	will          *lastWill           // delayed, while it is away
	willTimer     *time.Timer
	matched       uint64 // the match that has a target for it already
	target        int    // and which

	// Written under the exchange's mu and mu, read under either.
	conn *conn // nil while it is away

	mu        sync.Mutex // after the exchange's; guards what follows
	keeps     bool       // life > 0
	queue     queue
	window    window
	sent      int      // of window, on this connection
	resend    []uint16 // ids still to be sent again on this connection, the oldest first
	incoming  map[uint16]struct{}
	replaying bool // there are replays, or topics that it missed
	wanted    int  // bytes of the first of those that found no room; 0 = all did

	pace
}

// offer queues a message, unless it is lost for want of room. Whoever calls holds
// the exchange's mu.
func (s *session) offer(m *message, topic string, ids []byte, qos byte, retain bool) (lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn
	if c == nil && (qos == 0 || !s.keeps) {
		return false // QoS 0 is for who is there
	}
	e := entry{topic: len(topic), props: len(ids) + len(m.props), payload: len(m.payload), expires: m.expires, qos: qos, retain: retain}
	if s.full(e.size()) {
		s.lose(topic, "an MQTT client is too slow and loses messages")
		return true
	}
	s.queue.push(e, topic, ids, m.props, m.payload)
	s.b.queued.Add(int64(e.size()) + overhead)
	if c == nil {
		return false
	}
	if s.owner.role != gateway && s.used < gatewayWaits && s.long() {
		s.b.laggard.Store(s)
	}
	switch {
	case !c.idle || qos > 0 && !s.mayGoOut(c):
	case len(m.writers) < cap(m.writers) && c.standIn():
		m.writers = append(m.writers, c)
	default:
		c.rouse()
	}
	return false
}

// full is the end of the queue. What is under way counts as well, and when all
// sessions together hold much, each may hold less.
func (s *session) full(more int) bool {
	held, most := s.queue.size()+s.window.kept, maxQueuedBytes
	switch all := s.b.queued.Load(); {
	case all > maxCrowded:
		most = crowdedBytes
	case all > maxAllQueued && s.conn == nil:
		most = awayQueuedBytes
	case all > maxAllQueued:
		most = hereQueuedBytes
	}
	return s.queue.count() >= maxQueued || held > 0 && held+more > most
}

func (s *session) lose(topic, why string) {
	s.b.dropped.Add(1)
	s.b.say(&s.b.slow, why, "client", s.id, "topic", topic)
}

// mayGoOut reports whether one more message at QoS 1 or 2 may be under way.
func (s *session) mayGoOut(c *conn) bool {
	return s.sent < c.receiveMax && s.window.used < maxUnacked
}

// sendable reports whether the writer has something to do.
func (s *session) sendable(c *conn) bool {
	if len(s.resend) > 0 {
		return s.sent < c.receiveMax
	}
	if s.queue.count() == 0 {
		return false
	}
	e, _ := s.queue.front()
	return e.qos == 0 || s.mayGoOut(c)
}

// gather appends what may go out now, up to a batch.
func (s *session) gather(c *conn, batch []byte) []byte {
	batch = s.gatherAgain(c, batch)
	if len(s.resend) > 0 {
		return batch
	}
	freed := 0
	for s.queue.count() > 0 && len(batch) < batchSize {
		e, body := s.queue.front()
		if e.qos > 0 && !s.mayGoOut(c) {
			break
		}
		freed += e.size() + overhead + s.window.kept
		batch = s.emit(c, batch, e, body)
		freed -= s.window.kept // it is held there now
		s.queue.pop()
	}
	if freed > 0 {
		s.b.queued.Add(int64(-freed))
		if s.short() {
			s.relieve()
		}
	}
	return batch
}

// emit appends one message of the queue, unless it has expired or is larger than
// the client takes.
func (s *session) emit(c *conn, batch []byte, e *entry, body []byte) []byte {
	remaining, ok := s.remaining(e)
	if !ok {
		return batch
	}
	topic, props, payload := e.cut(body)
	flags := e.qos << 1
	if e.retain {
		flags |= 1
	}
	if c.maxPacket > 0 {
		n := publishBody(c.version, flags, topic, props, payload, remaining)
		if 1+varintSize(n)+n > int(c.maxPacket) {
			s.lose(string(topic), "a message is larger than an MQTT client takes")
			return batch
		}
	}
	var id uint16
	if e.qos > 0 {
		slot := s.window.take()
		s.sent++
		id = slot.id
		slot.entry = *e
		if s.keeps {
			s.window.keep(slot, *e, body)
		}
	}
	c.messages++
	return appendPublish(batch, c.version, flags, id, topic, props, payload, remaining)
}

// remaining is what is left of a message's life, in seconds, rounded up; negative
// for one without end.
func (s *session) remaining(e *entry) (seconds int64, ok bool) {
	if e.expires == 0 {
		return -1, true
	}
	left := e.expires - s.b.now()
	return int64((left + time.Second - 1) / time.Second), left > 0
}

// gatherAgain appends what was under way when the last connection ended.
func (s *session) gatherAgain(c *conn, batch []byte) []byte {
	for len(s.resend) > 0 && len(batch) < batchSize && s.sent < c.receiveMax {
		slot := s.window.find(s.resend[0])
		if s.resend = s.resend[1:]; slot == nil || slot.sent {
			continue
		}
		slot.sent = true
		s.sent++
		if slot.step == released {
			batch = appendAck(batch, c.version, typePubrel, slot.id, success)
			continue
		}
		topic, props, payload := slot.entry.cut(slot.bytes)
		remaining, ok := s.remaining(&slot.entry)
		if !ok {
			remaining = 1 // it was sent in time, and the exchange has to end
		}
		flags := 8 | slot.entry.qos<<1
		if slot.entry.retain {
			flags |= 1
		}
		c.messages++
		batch = appendPublish(batch, c.version, flags, slot.id, topic, props, payload, remaining)
	}
	return batch
}

// settle handles a PUBACK or PUBCOMP.
func (s *session) settle(c *conn, id uint16, step, qos byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.window.find(id)
	if s.conn != c || slot == nil || slot.step != step || slot.entry.qos != qos {
		return
	}
	s.finish(c, slot)
}

func (s *session) finish(c *conn, slot *slot) {
	if slot.sent {
		s.sent--
	}
	s.b.queued.Add(int64(-len(slot.bytes)))
	s.window.free(slot)
	if c.idle {
		if _, any := c.work(); any {
			c.rouse()
		}
	}
}

// receive handles a PUBREC: from here on only the id is under way. release says
// whether a PUBREL with code answers it.
func (s *session) receive(c *conn, a ack) (code reason, release bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.window.find(a.id)
	switch {
	case s.conn != c:
		return success, false
	case slot == nil || slot.entry.qos != 2:
		return unknownID, true
	case a.code >= unspecified:
		s.finish(c, slot)
		return success, false
	}
	slot.step = released
	s.b.queued.Add(int64(-len(slot.bytes)))
	s.window.forget(slot)
	return success, true
}

// begin notes a QoS 2 message of the client; first is false for one that it sent
// before.
func (s *session) begin(c *conn, id uint16) (first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c {
		return false, takenOver
	}
	if _, had := s.incoming[id]; had {
		return false, nil
	}
	if len(s.incoming) >= maxUnacked {
		return false, tooManyUnacked
	}
	if s.incoming == nil {
		s.incoming = map[uint16]struct{}{}
	}
	s.incoming[id] = struct{}{}
	return true, nil
}

// complete ends a QoS 2 message of the client.
func (s *session) complete(c *conn, id uint16) reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, had := s.incoming[id]; !had || s.conn != c {
		return unknownID
	}
	delete(s.incoming, id)
	return success
}

// come connects c to the session, goAway ends that. Both with the exchange's mu held.
func (s *session) come(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.sent, s.keeps = c, 0, s.life > 0
	for i := range s.window.slots {
		s.window.slots[i].sent = false
	}
	s.resend = s.window.unsettled()
}

func (s *session) goAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.resend = nil, nil
	s.relieve()
}

// clear frees what waits for a session that has ended.
func (s *session) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.queued.Add(int64(-s.queue.size() - s.window.kept))
	s.queue, s.window, s.incoming, s.resend, s.keeps, s.replaying, s.wanted = queue{}, window{}, nil, nil, false, false, 0
}
