package broker

import (
	"crypto/rand"
	"runtime"
	"time"
)

// listen handles what the client says until it ends.
func (c *conn) listen() error {
	for {
		head, body, err := c.next()
		if err != nil {
			return err
		}
		if err := c.handle(head, body); err != nil || c.disconnected {
			return err
		}
	}
}

func (c *conn) handle(head byte, body []byte) error {
	switch head >> 4 {
	case typePublish:
		return c.publish(head, body)
	case typePuback, typePubrec, typePubrel, typePubcomp:
		return c.acknowledge(head, body)
	case typeSubscribe:
		return c.subscribe(head, body)
	case typeUnsubscribe:
		return c.unsubscribe(head, body)
	case typePingreq:
		if err := decodeEmpty(head, body); err != nil {
			return err
		}
		c.answer(append(c.out[:0], typePingresp<<4, 0))
		return nil
	case typeDisconnect:
		return c.disconnect(head, body)
	}
	return protocolError // a second CONNECT, AUTH, or what only servers send
}

// publish refuses what the rules forbid. MQTT 3.1.1 has no word for it: the
// message is acknowledged and goes nowhere, as with other brokers. Of a command
// the gateway says on its result topic that it was refused.
func (c *conn) publish(head byte, body []byte) error {
	var p publication
	if err := decodePublish(head, body, c.version, &p); err != nil {
		return err
	}
	if p.props.hasAlias {
		return badAlias
	}
	c.b.received.Add(1)
	if p.qos == 2 {
		first, err := c.session.begin(c, p.id)
		if err != nil {
			return err
		}
		if !first {
			c.acked(typePubrec, p.id, success)
			return nil
		}
	}
	m := message{payload: p.payload, props: p.props.forwarded, qos: p.qos, retain: p.retain, expires: c.b.expiryOf(&p.props)}
	t, code, why := c.b.accept(p.topic, &m, c.session, c.peer.role)
	if why != "" {
		c.b.denied.Add(1)
		c.b.say(&c.b.denials, "refused an MQTT message", "client", c.session.id, "topic", string(p.topic), "reason", why)
	}
	if why == retainedCommand && len(p.payload) > 0 { // without a payload it only clears
		c.b.handOver(string(p.topic), p.payload, true)
	}
	if t != nil && t.command && !m.retain {
		c.b.handOver(t.name, p.payload, false)
		runtime.Gosched() // the device's writer, which that woke, goes before the PUBACK
	}
	switch {
	case code == badTopic:
		return badTopic
	case p.qos == 1:
		c.acked(typePuback, p.id, code)
	case p.qos == 2:
		if code != success && c.version == v5 {
			c.session.complete(c, p.id) // a refusal ends the exchange
		}
		c.acked(typePubrec, p.id, code)
	}
	if c.peer.role == gateway {
		c.flush()
		c.b.holdBack()
	}
	return nil
}

func (c *conn) acked(kind byte, id uint16, code reason) {
	c.out = appendAck(c.out[:0], c.version, kind, id, code)
	c.answer(c.out)
}

// accept publishes what the rules let through, on the topic t; of what they do
// not t is nil.
func (b *Broker) accept(name []byte, m *message, from *session, who role) (t *topic, code reason, why string) {
	b.exchange.mu.Lock()
	defer b.exchange.mu.Unlock()
	return b.exchange.accept(b, name, m, from, who)
}

func (x *exchange) accept(b *Broker, name []byte, m *message, from *session, who role) (t *topic, code reason, why string) {
	t = x.topics[string(name)]
	if t == nil && !validTopic(name) {
		return nil, badTopic, ""
	}
	if who != gateway {
		if why := b.rules.mayWrite(who, string(name), m.retain); why != "" {
			return nil, notAuthorized, why
		}
		if m.retain && len(m.payload) > 0 && !x.mayRetain(string(name), len(m.payload)+len(m.props)) {
			return nil, quotaExceeded, "too many retained messages"
		}
	}
	if t == nil {
		t = x.learn(string(name))
		t.command = b.rules.takesCommands(t.name)
	}
	if m.retain {
		x.retain(t, m, who != gateway)
	}
	x.route(t, m, from)
	x.shed(b)
	return t, success, ""
}

// expiryOf is when a message with these properties expires, by the broker's clock.
func (b *Broker) expiryOf(p *properties) time.Duration {
	if !p.hasExpiry {
		return 0
	}
	return max(1, b.now()+time.Duration(p.expiry)*time.Second)
}

func (c *conn) acknowledge(head byte, body []byte) error {
	a, err := decodeAck(head, body, c.version)
	if err != nil {
		return err
	}
	switch head >> 4 {
	case typePuback:
		c.session.settle(c, a.id, published, 1)
	case typePubcomp:
		c.session.settle(c, a.id, released, 2)
	case typePubrec:
		if code, release := c.session.receive(c, a); release {
			c.acked(typePubrel, a.id, code)
		}
	case typePubrel:
		c.acked(typePubcomp, a.id, c.session.complete(c, a.id))
	}
	return nil
}

func (c *conn) subscribe(head byte, body []byte) error {
	request, err := decodeSubscribe(head, body, c.version)
	if err != nil {
		return err
	}
	codes, err := c.grant(&request)
	if err != nil {
		return err
	}
	c.answer(appendCodes(c.out[:0], c.version, typeSuback, request.id, codes))
	c.replayNow()
	return nil
}

// grant subscribes to what the client may have.
func (c *conn) grant(request *subscribe) (codes []byte, err error) {
	x, s := &c.b.exchange, c.session
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.conn != c {
		return nil, takenOver
	}
	for _, w := range request.wishes {
		code, why := c.maySubscribe(w)
		if why != "" {
			c.b.denied.Add(1)
			c.b.say(&c.b.denials, "refused an MQTT subscription", "client", s.id, "filter_bytes", len(w.filter), "reason", why)
		}
		switch {
		case code != success && c.version != v5:
			codes = append(codes, byte(unspecified))
			continue
		case code != success:
			codes = append(codes, byte(code))
			continue
		}
		codes = append(codes, w.qos)
		sub, isNew := x.subscribe(s, w, request.identifier)
		if sub.inner == w.filter && (w.retainHandling == 0 || w.retainHandling == 1 && isNew) {
			s.askReplay(sub)
		}
	}
	return codes, nil
}

// replayNow queues as much of what is retained as there is room for, so that it
// comes before what the client's next words bring about.
func (c *conn) replayNow() {
	for {
		s := c.session
		s.mu.Lock()
		more := s.conn == c && !c.ending && s.replaying && s.takesReplay()
		s.mu.Unlock()
		if !more {
			return
		}
		c.b.exchange.replay(s)
	}
}

// maySubscribe is called with the exchange's mu held.
func (c *conn) maySubscribe(w wish) (code reason, why string) {
	x, s := &c.b.exchange, c.session
	group, inner, ok := shareOf(w.filter)
	_, had := s.subscriptions[w.filter]
	switch {
	case !reasonable(w.filter) || !had && len(s.subscriptions) >= maxSubscriptions ||
		!had && x.subscriptions >= maxAllSubscriptions && c.peer.role != gateway ||
		!had && group != "" && (s.shared >= maxShared || x.shared >= maxAllShared):
		return quotaExceeded, "too much for one client"
	case !ok || !validFilter(inner) || w.noLocal && group != "":
		return badFilter, ""
	case !c.b.rules.mayRead(c.peer.role, w.filter):
		return notAuthorized, "an account may not read this"
	}
	return success, ""
}

func (c *conn) unsubscribe(head byte, body []byte) error {
	request, err := decodeUnsubscribe(head, body, c.version)
	if err != nil {
		return err
	}
	codes, err := c.dismiss(request.filters)
	if err != nil {
		return err
	}
	if c.version != v5 {
		codes = nil
	}
	c.answer(appendCodes(c.out[:0], c.version, typeUnsuback, request.id, codes))
	return nil
}

func (c *conn) dismiss(filters []string) (codes []byte, err error) {
	x := &c.b.exchange
	x.mu.Lock()
	defer x.mu.Unlock()
	if c.session.conn != c {
		return nil, takenOver
	}
	for _, filter := range filters {
		code := success
		if !x.unsubscribe(c.session, filter) {
			code = noSubscription
		}
		codes = append(codes, byte(code))
	}
	return codes, nil
}

// disconnect voids the will, unless the client says otherwise.
func (c *conn) disconnect(head byte, body []byte) error {
	f, err := decodeDisconnect(head, body, c.version)
	if err != nil {
		return err
	}
	if f.props.hasSessionExpiry {
		x, s := &c.b.exchange, c.session
		x.mu.Lock()
		defer x.mu.Unlock()
		if s.life == 0 && f.props.sessionExpiry > 0 {
			return protocolError // MQTT 5 §3.14.2.2.2
		}
		if s.conn == c {
			s.life = time.Duration(min(f.props.sessionExpiry, sessionLife)) * time.Second
		}
	}
	if f.code == success {
		c.will = nil
	}
	c.disconnected = true
	return nil
}

// newClientID is for a client that brought none.
func newClientID() string { return "auto-" + rand.Text() }
