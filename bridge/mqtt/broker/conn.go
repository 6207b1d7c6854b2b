package broker

import (
	"errors"
	"os"
	"sync"
	"time"
)

// What one connection sets aside.
const (
	readSize     = 4 << 10  // bytes read at once, if packets are not larger
	batchSize    = 64 << 10 // bytes written at once, or one message more
	maxReplies   = 64 << 10 // bytes of answers that wait to be written
	farewellTime = time.Second
)

// conn is one connection: a reader, which is the goroutine that serves it, and a
// writer, which gathers all that has come together into one write.
type conn struct {
	b    *Broker
	peer *peer

	// Set before the writer starts.
	session    *session
	version    byte
	keepalive  time.Duration // how long it may be silent; 0 is for ever
	receiveMax int           // messages at QoS 1 and 2 under way
	maxPacket  uint32        // that it takes; 0 is any

	// Owned by the reader.
	in           []byte // read and not handled from at on
	at           int
	limit        int       // bytes of a packet's body
	refreshed    time.Time // when the keepalive was last moved on
	will         *lastWill // nil after a DISCONNECT
	disconnected bool      // by a DISCONNECT
	out          []byte    // for a reply

	written chan struct{} // made with the writer, closed when it has ended
	socket  *socket       // of a TCP connection, else nil; owned by who writes

	// Guarded by the session's mu.
	replies  []byte    // that the reader has not written yet, see flush
	rest     []byte    // of what was written in the writer's stead; it goes first
	idle     bool      // the writer waits
	stood    bool      // somebody stands in for the writer, see standIn
	wake     sync.Cond // for the writer
	room     sync.Cond // for the reader: replies were taken
	ending   bool
	code     reason // with which it ends
	messages int64  // sent, since Stats was told
}

func newConn(b *Broker, p *peer) *conn {
	c := &conn{b: b, peer: p, limit: maxPacket, socket: socketOf(p.Conn)}
	if p.role == gateway {
		c.limit = maxOwnPacket
	}
	return c
}

// next returns the next packet, which is valid until the call after.
func (c *conn) next() (head byte, body []byte, err error) {
	for {
		head, body, size, need, err := split(c.in[c.at:], c.limit)
		if err != nil {
			return 0, nil, err
		}
		if size > 0 {
			c.at += size
			return head, body, nil
		}
		c.flush()
		if err := c.read(need); err != nil {
			return 0, nil, err
		}
	}
}

// read reads what there is, behind what was read before. The memory grows with
// what came, not with what was promised.
func (c *conn) read(need int) error {
	rest := len(c.in) - c.at
	switch {
	case rest == 0 && cap(c.in) > 16*readSize: // after a large packet
		c.in = make([]byte, 0, readSize)
	case rest == cap(c.in):
		larger := make([]byte, rest, max(readSize, min(2*rest, need)))
		copy(larger, c.in[c.at:])
		c.in = larger
	case c.at > 0:
		c.in = c.in[:copy(c.in, c.in[c.at:])]
	}
	c.at = 0
	if err := c.refresh(); err != nil {
		return err
	}
	n, err := c.peer.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return keepaliveTimeout
	}
	return err
}

// refresh moves the time on until which the client may be silent, though not at
// every read.
func (c *conn) refresh() error {
	if c.keepalive == 0 {
		return nil
	}
	now := time.Now()
	if now.Sub(c.refreshed) < c.keepalive/8 {
		return nil
	}
	c.refreshed = now
	return c.peer.SetReadDeadline(now.Add(c.keepalive + c.keepalive/8))
}

// rouse wakes the writer. Like the next three it is called with the session's mu held.
func (c *conn) rouse() {
	c.idle = false
	c.wake.Signal()
}

// reply queues an answer of the reader, which flushes before it reads again.
func (c *conn) reply(packet []byte) {
	c.replies = append(c.replies, packet...)
	if c.idle && len(c.replies) > readSize {
		c.rouse()
	}
}

// end lets the writer say farewell and close.
func (c *conn) end(code reason) {
	if c.ending {
		return
	}
	c.ending, c.code = true, code
	_ = c.peer.Conn.SetWriteDeadline(time.Now().Add(farewellTime)) // a closed one needs none
	c.idle = false
	c.wake.Signal()
	c.room.Signal()
}

func (c *conn) endNow(code reason) {
	c.session.mu.Lock()
	c.end(code)
	c.session.mu.Unlock()
}

// answer queues an answer of the reader, and waits while the client does not take
// those that it got before.
func (c *conn) answer(packet []byte) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(c.replies) > maxReplies && !c.ending {
		c.room.Wait()
	}
	c.reply(packet)
}

// write is the writer.
func (c *conn) write() {
	defer close(c.written)
	defer c.peer.Close()
	defer c.rescue()
	for {
		for c.awaitWork() {
			c.b.exchange.replay(c.session)
		}
		batch, last := c.gather()
		if len(*batch) > 0 {
			if _, err := c.peer.Conn.Write(*batch); err != nil {
				last = true // the stream may end within a packet
			}
		}
		recycle(batch)
		if last {
			c.endNow(success)
			return
		}
	}
}

// awaitWork waits until there is something to write, or room in the queue for
// more of what is retained.
func (c *conn) awaitWork() (replay bool) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		replay, any := c.work()
		if any && !c.stood {
			return replay
		}
		c.idle = !c.stood
		c.wake.Wait()
		c.idle = false
	}
}

// work is what there is for the writer, with the session's mu held.
func (c *conn) work() (replay, any bool) {
	s := c.session
	mine := s.conn == c && !c.ending
	if mine && s.replaying && s.short() && s.takesReplay() {
		return true, true
	}
	return false, len(c.replies) > 0 || len(c.rest) > 0 || c.ending || mine && s.sendable(c)
}

// gather takes what is to be written by the writer.
func (c *conn) gather() (batch *[]byte, last bool) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.ending && c.peer.role != gateway {
		_ = c.peer.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // else the write fails too
	}
	return c.collect(), c.ending
}

// collect is gather with the session's mu held.
func (c *conn) collect() *[]byte {
	s := c.session
	batch := batches.Get().(*[]byte)
	b := append((*batch)[:0], c.rest...)
	c.rest = nil
	b = append(b, c.replies...)
	if c.replies = c.replies[:0]; cap(c.replies) > readSize {
		c.replies = nil
	}
	c.room.Signal()
	switch {
	case !c.ending:
		if s.conn == c {
			b = s.gather(c, b)
		}
	case c.version == v5 && c.code >= unspecified:
		b = appendDisconnect(b, c.code)
	}
	c.b.sent.Add(c.messages)
	c.messages = 0
	*batch = b
	return batch
}

// rescue ends a connection that made us stumble: it must cost one client, not the
// home.
func (c *conn) rescue() {
	if fault := recover(); fault != nil {
		c.b.log.Error("an MQTT client made the broker stumble", "address", c.peer.address, "panic", fault)
		_ = c.peer.Close()
		if c.session != nil {
			c.endNow(unspecified)
		}
	}
}

// isMistake tells a mistake of the client from a connection's ordinary end.
func isMistake(err error) bool {
	var r reason
	return errors.As(err, &r)
}

// batches are what is under way to clients: one at rest holds none.
var batches = sync.Pool{New: func() any { b := make([]byte, 0, readSize); return &b }}

func recycle(b *[]byte) {
	if cap(*b) <= 2*batchSize {
		batches.Put(b)
	}
}
