package devices

import (
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// Committed is called by the log's committer for each telemetry frame of the
// link, in order, when it is durable: the frame no longer counts against the
// window, and an ack is due. The acks of one commit gather until all of its
// frames are told (see sendAcks). In a session whose welcome said so an ack means
// that the frame is in memory; in any other such a frame gets none.
func (l *link) Committed(e *store.Entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done(err)
	if c := l.counter(e.Boot); c != nil && l.settles(err) {
		c.seq = max(c.seq, e.Seq)
		c.due = true
		if !l.acksDue {
			l.acksDue = true
			l.hub.acking = append(l.hub.acking, l)
		}
	}
}

// sendAcks is called by the committer when it has told everyone of a commit.
func (h *Hub) sendAcks() {
	h.acker.add(h.acking)
	clear(h.acking)
	h.acking = h.acking[:0]
}

// done takes a frame off the window.
func (l *link) done(err error) {
	l.unacked--
	switch {
	case err == nil:
		l.hub.Counters.Acked.Add(1)
	case l.settles(err):
		l.hub.Counters.AckedInMemory.Add(1)
	}
	l.resume()
}

// settles reports whether what the log said of a frame is an ack in this session.
// Called with mu held.
func (l *link) settles(err error) bool {
	return err == nil || err == store.ErrInMemory && l.era.InMemory()
}

// counter is that of a boot that hello named. Called with mu held.
func (l *link) counter(b protocol.Boot) *counter {
	for i := range l.boots {
		if l.boots[i].boot == b {
			return &l.boots[i]
		}
	}
	return nil
}

// settling is a refused frame on its way through the log.
type settling struct {
	link  *link
	frame protocol.Error

	// guarded by link.mu; the log may be faster than Append's return
	committed, known, repeat bool
	err                      error
}

// Committed sends the error frame: all below it are settled, and their ack
// goes before it.
func (s *settling) Committed(e *store.Entry, err error) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done(err)
	s.committed, s.err = true, err
	s.answer()
}

// appended tells whether the log knew the seq: then it was settled before, one
// way or the other, and gets an ack like any repeat.
func (s *settling) appended(repeat bool) {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	s.known, s.repeat = true, repeat
	s.answer()
}

// answer sends the answer once it is known what it is. Called with mu held.
func (s *settling) answer() {
	l := s.link
	if !s.committed || !s.known || !l.settles(s.err) {
		return
	}
	b := l.boot
	if s.frame.Boot != nil {
		b = *s.frame.Boot
	}
	c := l.counter(b)
	if s.repeat {
		c.seq = max(c.seq, s.frame.Seq)
		c.due, l.acksDue = true, true
		l.kick()
		return
	}
	l.gather() // the ack of what is below goes first
	c.seq = max(c.seq, s.frame.Seq)
	l.hub.Counters.Settled.Add(1)
	l.hub.Counters.Errors.Add(1)
	l.sendLocked(s.frame)
}
