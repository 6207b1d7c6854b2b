package broker

// Sessions of clients that are away are kept for a day, and there is room for so
// many of them and for so much that waits for them. Nobody may keep others out by
// filling it: who keeps the most gives way.

// owner is whose a session is.
type owner struct {
	role    role
	account string
}

func (p *peer) owner() owner { return owner{p.role, p.account} }

// sessionKey finds a session: each owner has client ids of its own, so that nobody
// can push another out by its id or keep it for himself.
type sessionKey struct {
	owner owner
	id    string
}

func (s *session) key() sessionKey { return sessionKey{s.owner, s.id} }

// makeRoom ends a session, if there are as many as may be: the one that has been
// away longest of the owner that has the most. Called with the exchange's mu held.
func (x *exchange) makeRoom(b *Broker) {
	if len(x.sessions) < maxSessions {
		return
	}
	has := map[owner]int{}
	for _, s := range x.sessions {
		has[s.owner]++
	}
	var last *session
	for _, s := range x.sessions {
		if s.conn != nil {
			continue
		}
		if last == nil || has[s.owner] > has[last.owner] || s.owner == last.owner && s.left < last.left {
			last = s
		}
	}
	if last == nil {
		return // all are connected: they have a limit of their own
	}
	b.say(&b.crowd, "the session of an MQTT client that is away was ended: too many are kept", "client", last.id)
	x.lapse(last)
}

// shed ends the session that is away and holds the most, when all hold too much.
// Called with the exchange's mu held; the session ends soon after.
func (x *exchange) shed(b *Broker) {
	if b.queued.Load() <= maxCrowded {
		return
	}
	var fattest *session
	most := 0
	for _, s := range x.sessions {
		if s.conn != nil || s.ending == nil {
			continue
		}
		if n := s.held(); n > most {
			fattest, most = s, n
		}
	}
	if fattest == nil {
		return
	}
	b.say(&b.crowd, "the session of an MQTT client that is away was ended: too much waits for it", "client", fattest.id, "bytes", most)
	fattest.ending.Reset(0)
}

func (s *session) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.size() + s.window.kept
}
