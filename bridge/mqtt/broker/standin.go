package broker

// To wake a writer costs more than a small write. So while it sleeps, who has
// something small for a client stands in for it: the client's own reader with its
// answers, and PublishNow with a message. They write what the socket takes at once,
// and never wait; what is left over is for the writer.

// standIn takes the writer's place if it sleeps. It is called with the session's
// mu held; who gets true calls writeNow without it.
func (c *conn) standIn() bool {
	if !c.idle || c.socket == nil || c.ending {
		return false
	}
	c.idle, c.stood = false, true
	return true
}

func (c *conn) writeNow() {
	defer c.rescue()
	defer c.standDown()
	batch := c.gatherNow()
	if batch == nil {
		return
	}
	if n := c.socket.writeNow(*batch); n < len(*batch) {
		c.leave((*batch)[n:])
	}
	recycle(batch)
}

// gatherNow is gather for who stands in; nil if the connection is ending, since
// the farewell is the writer's.
func (c *conn) gatherNow() *[]byte {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	if c.ending {
		return nil
	}
	return c.collect()
}

// leave leaves the writer what the socket did not take.
func (c *conn) leave(rest []byte) {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	c.rest = append(c.rest, rest...)
}

// standDown lets the writer go on, if there is something to do by now.
func (c *conn) standDown() {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	c.stood = false
	if _, any := c.work(); any {
		c.wake.Signal()
	} else {
		c.idle = true
	}
}

// flush writes what the reader has answered.
func (c *conn) flush() {
	if c.session == nil {
		return
	}
	s := c.session
	s.mu.Lock()
	mine := len(c.replies) > 0 && c.standIn()
	if !mine && c.idle && len(c.replies) > 0 {
		c.rouse()
	}
	s.mu.Unlock()
	if mine {
		c.writeNow()
	}
}
