package broker

import "time"

// refusal is why a client stays outside.
type refusal struct {
	code reason
	why  string
}

func (r *refusal) Error() string { return r.why }

// connack is the refusal in a protocol version's own terms (MQTT 3.1.1 §3.2.2.3).
func (r *refusal) connack(version byte) byte {
	if version == v5 {
		return byte(r.code)
	}
	switch r.code {
	case unsupportedVersion:
		return 1
	case badClientID:
		return 2
	}
	return 5 // not authorized
}

// greet handles CONNECT: it finds out who the client is and connects it to its
// session, or says why not.
func (c *conn) greet() error {
	head, body, err := c.next()
	if err != nil {
		return err
	}
	var k connectPacket
	if err := decodeConnect(head, body, &k); err != nil {
		if r := reasonOf(err); r == unsupportedVersion || k.version == v5 {
			c.refuse(&k, &refusal{r, r.Error()})
		}
		return err
	}
	c.version = k.version
	present, refused := c.enter(&k)
	if refused != nil {
		c.b.refused.Add(1)
		c.b.say(&c.b.strangers, "refused an MQTT client", "address", c.peer.address, "client", k.id, "reason", refused.why)
		c.refuse(&k, refused)
		return refused
	}
	c.answer(appendConnack(nil, c.version, present, 0, c.terms(&k)))
	c.written = make(chan struct{})
	go c.write()
	return nil
}

// refuse is said by the reader, since there is no writer yet.
func (c *conn) refuse(k *connectPacket, r *refusal) {
	_ = c.peer.Conn.SetWriteDeadline(time.Now().Add(farewellTime))
	_, _ = c.peer.Conn.Write(appendConnack(nil, k.version, false, r.connack(k.version), nil)) // it is closed next
}

// enter authenticates a client, checks what it asks for, and gives it its session.
func (c *conn) enter(k *connectPacket) (present bool, refused *refusal) {
	x := &c.b.exchange
	x.mu.Lock()
	drops := x.drops
	x.mu.Unlock()
	if c.peer.role != gateway {
		if refused = c.authenticate(k); refused != nil {
			return false, refused
		}
	}
	if refused = c.check(k); refused != nil {
		return false, refused
	}
	c.settleTerms(k)
	x.mu.Lock()
	defer x.unlock(c.b)
	if c.peer.role == user && x.drops != drops {
		return false, &refusal{notAuthorized, "accounts were changed while it came"}
	}
	return x.attach(c, k)
}

// authenticate finds a client's role: with a name and password that account,
// without from this machine alone. Where the home has no accounts, this machine's
// programs may give any name: many cannot be told to give none.
func (c *conn) authenticate(k *connectPacket) *refusal {
	accounts := c.b.opts.Accounts
	exist := accounts != nil && len(accounts.MQTTUsers()) > 0
	switch {
	case !c.peer.network && (!k.hasUser || !exist):
		c.peer.role = local
	case !k.hasUser:
		return &refusal{notAuthorized, "from the network only with an account (hearthgate mqtt user add)"}
	case !exist:
		return &refusal{badUser, "there are no accounts (hearthgate mqtt user add)"}
	case !c.b.guesses.mayGuess(c.peer.address):
		return &refusal{notAuthorized, "too many wrong passwords came from its address: none is looked at for a moment"}
	case !accounts.CheckMQTTUser(k.user, k.password):
		c.b.guesses.wrong(c.peer.address)
		return &refusal{badUser, "unknown account or wrong password"}
	default:
		c.peer.role, c.peer.account = user, k.user
	}
	return nil
}

// check refuses what no session could have.
func (c *conn) check(k *connectPacket) *refusal {
	switch {
	case k.props.hasAuthMethod:
		return &refusal{badAuthMethod, "it wants an authentication method beyond a password"}
	case k.id == "" && (k.version == v31 || k.version == v311 && !k.clean):
		return &refusal{badClientID, "it has no client id"}
	case len(k.id) > maxClientID:
		return &refusal{badClientID, "its client id is too long"}
	case k.will == nil:
		return nil
	}
	if !validTopic(k.will.topic) {
		return &refusal{badTopic, "its will has no topic that can be published to"}
	}
	if why := c.b.rules.mayWrite(c.peer.role, k.will.topic, k.will.retain); why != "" {
		return &refusal{notAuthorized, "its will: " + why}
	}
	return nil
}

// settleTerms sets what holds for the connection. A client that asks for no or a
// very long keepalive may be silent for 1.5 times maxKeepalive, so that one that
// is gone is noticed. MQTT 5 clients are told; older ones cannot be, and connect
// again after such a silence.
func (c *conn) settleTerms(k *connectPacket) {
	if c.peer.role != gateway && (k.keepalive == 0 || k.keepalive > maxKeepalive) {
		k.keepalive = maxKeepalive
		k.capped = true
	}
	c.keepalive = time.Duration(k.keepalive) * time.Second * 3 / 2
	c.receiveMax, c.maxPacket = maxUnacked, k.props.maxPacket
	if n := int(k.props.receiveMax); n > 0 {
		c.receiveMax = min(n, maxUnacked)
	}
	c.will = k.will
	if k.id == "" {
		k.id, k.assigned = newClientID(), true
	}
}

// terms are what CONNACK tells an MQTT 5 client of them.
func (c *conn) terms(k *connectPacket) (props []byte) {
	if k.props.sessionExpiry > sessionLife {
		props = append32(props, propSessionExpiry, sessionLife)
	}
	props = append16(props, propReceiveMaximum, maxUnacked)
	props = append32(props, propMaximumPacket, uint32(c.limit))
	if k.assigned {
		props = append16(props, propAssignedID, uint16(len(k.id)))
		props = append(props, k.id...)
	}
	if k.capped {
		props = append16(props, propServerKeepalive, k.keepalive)
	}
	return props
}

// life is how long the client's session is to outlive its connection.
func (k *connectPacket) life() time.Duration {
	switch {
	case k.version == v5:
		return time.Duration(min(k.props.sessionExpiry, sessionLife)) * time.Second
	case k.clean:
		return 0
	}
	return sessionLife * time.Second
}

// attach connects c to the session of its client id, made if there is none.
func (x *exchange) attach(c *conn, k *connectPacket) (present bool, refused *refusal) {
	s := x.sessions[sessionKey{c.peer.owner(), k.id}]
	if w := k.will; w != nil && w.retain && c.peer.role != gateway && !x.mayRetain(w.topic, len(w.payload)+len(w.props.forwarded)) {
		return false, &refusal{quotaExceeded, "its will: too many retained messages"}
	}
	if s != nil && s.conn != nil {
		s.conn.endNow(takenOver)
		s.goAway()
		x.connected--
	}
	if s != nil && (k.clean || s.life == 0) { // it was to end with its connection, which is now
		x.lapse(s)
		s = nil
	}
	if present = s != nil; !present {
		x.makeRoom(c.b)
		s = &session{b: c.b, id: k.id, owner: c.peer.owner(), subscriptions: map[string]*subscription{}}
		x.sessions[s.key()] = s
	}
	s.stopTimers()
	s.life = k.life()
	c.session = s
	c.wake.L, c.room.L = &s.mu, &s.mu
	s.come(c)
	x.connected++
	return present, nil
}

// depart is the end of a connection: its session, if it has one, stays or ends,
// and the will is published.
func (c *conn) depart() {
	if c.session == nil {
		return
	}
	c.endNow(unspecified) // if it was not said better
	if c.written != nil {
		<-c.written
	}
	x := &c.b.exchange
	x.mu.Lock()
	defer x.unlock(c.b)
	s, w := c.session, c.will
	if c.b.isClosed() {
		w = nil // who would hear it
	}
	mine := s.conn == c
	if mine {
		x.connected--
		s.goAway()
		if s.life == 0 || c.b.isClosed() {
			x.discard(s)
		} else {
			s.absences++
			absence := s.absences
			s.left = c.b.now()
			s.ending = c.b.after(s.life, func() { x.expire(s, absence) })
		}
	}
	if w == nil {
		return
	}
	delayed := w.props.willDelay > 0 && x.sessions[s.key()] == s
	switch {
	case !delayed:
		x.publishWill(c.b, w, c.peer.role)
	case mine: // else the session goes on, and the will is void (MQTT 5 §3.1.3.2.2)
		s.will = w
		delay := min(time.Duration(w.props.willDelay)*time.Second, s.life)
		s.willTimer = c.b.after(delay, func() { x.willIsDue(s, w) })
	}
}

// after runs f later. It has no connection that could be blamed if it stumbles.
func (b *Broker) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		defer func() {
			if fault := recover(); fault != nil {
				b.log.Error("the MQTT broker stumbled over a session", "panic", fault)
			}
		}()
		f()
	})
}

func (x *exchange) willIsDue(s *session, w *lastWill) {
	x.mu.Lock()
	defer x.unlock(s.b)
	if s.will == w && !s.b.isClosed() {
		s.will = nil
		x.publishWill(s.b, w, s.owner.role)
	}
}

// expire ends a session that nobody came back to.
func (x *exchange) expire(s *session, absence int) {
	x.mu.Lock()
	defer x.unlock(s.b)
	if s.ending == nil || s.absences != absence {
		return // it came back, or ended, just now
	}
	x.lapse(s)
}

// lapse ends a session, and a will that waited for that is due.
func (x *exchange) lapse(s *session) {
	if s.will != nil && !s.b.isClosed() {
		x.publishWill(s.b, s.will, s.owner.role)
	}
	x.discard(s)
}

func (x *exchange) publishWill(b *Broker, w *lastWill, who role) {
	m := message{payload: w.payload, props: w.props.forwarded, qos: w.qos, retain: w.retain, expires: b.expiryOf(&w.props)}
	if t, _, _ := x.accept(b, []byte(w.topic), &m, nil, who); t != nil && t.command && !m.retain {
		x.commands = append(x.commands, command{t.name, w.payload})
	}
}
