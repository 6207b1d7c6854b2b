package broker

// A client that is too slow loses what does not fit its queue. On a retained topic
// that would leave it with an old state for as long as nothing changes there. So it
// is noted which topics those were, and once the client has caught up it gets what
// is retained on them by then, or an empty message where nothing is any more.

// maxMissed bounds how many topics are noted of one session. If it misses more it
// gets all that is retained, as for a new subscription.
const maxMissed = 8 << 10

// miss notes that s lost a message on the retained topic t. Called with the
// exchange's mu held.
func (s *session) miss(t *topic) {
	if s.missed == nil {
		s.missed = map[string]struct{}{}
	}
	if len(s.missed) < maxMissed {
		s.missed[t.name] = struct{}{}
	} else if _, noted := s.missed[t.name]; !noted {
		s.missedMore = true
	}
	s.mu.Lock()
	s.replaying = true
	s.mu.Unlock()
}

// heal gives s what is retained on one of the topics that it missed; false if
// there is none. Called with the exchange's mu held.
func (x *exchange) heal(s *session) bool {
	for name := range s.missed {
		if x.healOne(s, name) {
			delete(s.missed, name)
		}
		return true
	}
	s.missed = nil
	if !s.missedMore {
		return false
	}
	s.missedMore = false
	for filter, sub := range s.subscriptions {
		if sub.inner == filter {
			s.askReplay(sub)
		}
	}
	return true
}

// healOne is false where there is no room; then its turn comes again.
func (x *exchange) healOne(s *session, name string) (done bool) {
	t := x.topics[name]
	if t == nil {
		t = &topic{name: name} // emptied, and forgotten since
		defer x.unremember(t)
	}
	if t.generation != x.generation {
		x.match(t)
	}
	var m message
	qos := byte(1)
	if k := t.kept; k != nil {
		if k.expires != 0 && k.expires <= s.b.now() {
			return true
		}
		m, qos = message{payload: k.payload, props: k.props, expires: k.expires}, k.qos
	}
	for i := range t.targets {
		g := &t.targets[i]
		if g.session != s {
			continue
		}
		d, ok := g.delivery, true
		if g.anyNoLocal && t.kept != nil && t.kept.foreign {
			d, ok = merge(g.subscriptions, true) // it may be its own
		}
		if !ok {
			continue
		}
		if !s.hasRoom(&m, name, d.identifiers) {
			return false
		}
		s.b.healed.Add(1)
		s.offer(&m, name, d.identifiers, min(qos, d.qos), d.asPublished)
	}
	return true
}
