package devices

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// helloTime is how long a new link may take until its hello.
const helloTime = 10 * time.Second

// link is one connection of one device. Its reader is the goroutine that start
// starts, which takes frames in (session.go); its writer (writer.go) runs only while
// there is something to write, and the hub's acker (acker.go) takes its place for
// acks that can go at once; a timer (alive.go) watches them. Whoever wants
// the link to end calls end or cut, from any goroutine; finish does the rest.
type link struct {
	// set at birth
	hub    *Hub
	device *device
	conn   *guard
	remote netip.Addr // the key of its limits
	since  time.Time

	session // owned by the reader

	lastIn    atomic.Int64 // ms of the hub's clock: a frame came in
	lastOut   atomic.Int64 // ... went out
	saidClose atomic.Bool  // our close frame is out

	mu sync.Mutex // never held while writing, reading or calling another package
	// guarded by mu
	out       []byte // WebSocket frames for the writer
	frames    int    // how many
	writing   bool   // a writer runs, or the acker writes
	welcomed  bool
	leaving   bool // bye was taken
	acksDue   bool // one of boots is due
	heartbeat time.Duration
	era       store.Era     // of the session, 0 = there was no hello yet; the reader reads it without mu
	boots     []counter     // those that hello named, hello.1 first
	unacked   int           // frames that wait for their commit
	paused    bool          // the reader waits; see pause
	wake      chan struct{} // closed to wake the paused reader
	ending    bool          // no frame is taken in any more
	code      protocol.CloseCode
	text      string
	cause     string // the same for people: presence, logs
	over      bool   // the reader has ended
	timer     *time.Timer
	lastPing  int64 // ms of the hub's clock
}

// counter is how far a boot's frames are settled.
type counter struct {
	boot protocol.Boot
	seq  uint64
	due  bool // an ack is to be sent
}

func (h *Hub) newLink(id string, conn net.Conn, remote netip.Addr) *link {
	l := &link{hub: h, device: h.device(id), remote: remote, since: time.Now()}
	socket := bare(conn)
	l.conn = &guard{Conn: conn, link: l, socket: socket, raw: rawSocket(socket), headers: headers{limit: uint64(h.limits.Message)}}
	l.conn.ahead.fill = l.conn.ahead.read
	return l
}

// start makes the link one of its device's and lets it run.
func (l *link) start(socket *gws.Conn) {
	l.conn.renew.Store(0) // the handshake lifted the deadline that its write had
	l.lastIn.Store(l.hub.now())
	l.lastOut.Store(l.hub.now())
	l.mu.Lock()
	l.timer = time.AfterFunc(helloTime, l.tick)
	l.mu.Unlock()
	l.device.add(l)
	// What happened between the checks of the request and add, nobody told it.
	if d, ok := l.hub.o.Registry.Get(l.device.id); !ok || d.Revoked {
		l.end(protocol.CloseRevoked, "revoked")
	}
	if l.hub.stopping() {
		l.end(protocol.CloseRestart, "the gateway stops")
	}
	// The reader, and in the end the one who closes. This is where a link at
	// rest waits, and below 1.2 KB of use the runtime halves an 8 KB stack: so
	// the frames down to the socket are few (see guard.Read).
	go func() {
		defer l.finish()
		socket.ReadLoop()
	}()
}

// finish is the reader's one way out, also out of a panic, which must not take
// the process: the peer gets its time to read why, the socket is closed, and
// everyone is told.
func (l *link) finish() {
	defer l.hub.release(l.remote)
	defer l.hub.rescue(l.device.id)
	if p := recover(); p != nil {
		l.hub.panicked(l.device.id, p)
		l.end(protocol.CloseInternal, "internal error")
	}
	l.conn.ahead.drop()
	if !l.peerDone {
		l.conn.drain()
	}
	l.mu.Lock()
	l.over = true
	if !l.ending {
		l.ending, l.cause = true, "connection lost"
	}
	l.timer.Stop()
	cause := l.cause
	l.mu.Unlock()
	l.conn.Conn.Close()
	l.hub.log.Debug("link over", "device", l.device.id, "cause", cause, "after", time.Since(l.since).Round(time.Second))
	l.device.ended(l)
}

// end lets the link end with a close frame, after what is queued. The first
// call counts.
func (l *link) end(code protocol.CloseCode, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(code, text)
}

func (l *link) endLocked(code protocol.CloseCode, text string) {
	if l.ending || l.over {
		return
	}
	l.ending, l.code, l.text, l.cause = true, code, text, text
	switch code {
	case protocol.CloseFraming, protocol.CloseText, protocol.CloseTooBig, protocol.CloseMalformed:
		l.hub.Counters.Malformed.Add(1)
		l.hub.log.Warn("link closed: the device broke the protocol", "device", l.device.id, "code", code, "err", text)
		l.device.note(registry.AboutLink, fmt.Sprintf("closed with %d, since it broke the protocol: %s", code, text))
	}
	l.resume()
	l.kick()
}

// farewell says when to come back, after the acks that are due, and ends the
// link.
func (l *link) farewell(reason string, holdOff uint64, code protocol.CloseCode, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.welcomed {
		l.gather()
		l.sendLocked(protocol.Bye{Reason: reason, Seconds: holdOff})
	}
	l.endLocked(code, text)
}

// Send queues a command and Flush lets it go: the command service's way to the
// device.
func (l *link) Send(c *protocol.Command) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.putLocked(c)
}

func (l *link) info() LinkInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LinkInfo{
		Since: l.since, Remote: l.conn.RemoteAddr().String(), Boot: l.boots[0].boot,
		Heartbeat: l.heartbeat, Unacked: l.unacked, Queued: l.frames, Paused: l.paused,
	}
}

// cut ends the link at once, without a word: the peer does not read.
func (l *link) cut(cause string) {
	l.mu.Lock()
	l.cutLocked(cause)
	l.mu.Unlock()
}

func (l *link) cutLocked(cause string) {
	if !l.ending {
		l.ending, l.cause = true, cause
	}
	l.resume()
	sever(l.conn.Conn)
}

// sever closes the socket under any TLS: closing TLS politely may wait for a
// peer that does not read, and this is for such peers.
func sever(c net.Conn) {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	c.Close()
}

// pause holds the reader, and so TCP slows the device down, until resume or
// for d (0 = without end). While it lasts the device's silence is our doing.
// Called with mu held; it is free while waiting.
func (l *link) pause(d time.Duration) {
	wake := make(chan struct{})
	l.wake, l.paused = wake, true
	l.mu.Unlock()
	var late <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-wake:
	case <-late:
	}
	l.lastIn.Store(l.hub.now()) // what came meanwhile is still unread
	l.mu.Lock()
	l.wake, l.paused = nil, false
}

// resume wakes a paused reader, to look again. Called with mu held.
func (l *link) resume() {
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

// events is what the WebSocket library calls, from the link's goroutine.
type events struct{}

func linkOf(s *gws.Conn) *link { return s.NetConn().(*guard).link }

// OnOpen does nothing: the hello opens a session.
func (events) OnOpen(*gws.Conn) {}

// OnClose notes how the peer ended it. What we did ourselves is known already.
func (events) OnClose(s *gws.Conn, err error) { linkOf(s).peerClosed(err) }

// OnPing answers with the same payload (RFC 6455 §5.5.3).
func (events) OnPing(s *gws.Conn, payload []byte) {
	l := linkOf(s)
	l.seen()
	if l.pace(len(payload)) {
		l.queue(opPong, payload)
	}
}

// OnPong is a sign of life. It counts as a frame: nobody may flood with them.
func (events) OnPong(s *gws.Conn, payload []byte) {
	l := linkOf(s)
	l.seen()
	l.pace(len(payload))
}

// OnMessage takes a frame in.
func (events) OnMessage(s *gws.Conn, m *gws.Message) {
	defer m.Close() // its memory is pooled
	l := linkOf(s)
	l.seen()
	b := m.Bytes()
	switch {
	case !l.pace(len(b)):
	case l.opened:
		l.take(b)
	default: // the hello calls deep, and a link at rest would keep the stack for it
		l.aside(func() { l.take(b) })
	}
}

// aside runs f on a goroutine of its own and waits for it.
func (l *link) aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				l.hub.panicked(l.device.id, p)
				l.end(protocol.CloseInternal, "internal error")
			}
		}()
		f()
	}()
	<-done
}

func (l *link) seen() { l.lastIn.Store(l.hub.now()) }

// peerClosed notes why the read loop ended, if it was not our doing.
func (l *link) peerClosed(err error) {
	var said *gws.CloseError
	l.peerDone = errors.As(err, &said) // nothing comes after a close frame
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return
	}
	var broke interface{ Uint16() uint16 } // the library's code for what it refused
	switch {
	case l.peerDone:
		l.ending, l.cause = true, "closed by the device"
	case errors.As(err, &broke):
		l.hub.Counters.Malformed.Add(1)
		l.ending, l.cause = true, "broke the WebSocket protocol"
		l.hub.log.Warn("link closed: the device broke the WebSocket protocol", "device", l.device.id, "code", broke.Uint16())
	default:
		l.ending, l.cause = true, "connection lost"
	}
}

// pace lets a frame of so many bytes through at the device's rate. False: the
// link ends.
func (l *link) pace(bytes int) bool {
	l.hub.Counters.FramesIn.Add(1)
	rate := l.hub.o.DeviceRate
	if rate <= 0 {
		return l.slow(func() time.Duration { return 0 })
	}
	return l.slow(func() time.Duration { return l.rate.take(time.Now(), rate, max(1, 2*rate)) }) &&
		l.slow(func() time.Duration { return l.device.bytes.take(float64(bytes), rate*bytesAFrame, bytesBurst) })
}

// slow holds the reader until take has no more wait for it. False: the link ends.
func (l *link) slow(take func() (wait time.Duration)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.ending {
		wait := take()
		if wait == 0 {
			return true
		}
		l.hub.Counters.RatePauses.Add(1)
		l.pause(wait)
	}
	return false
}

// room waits until the link has fewer un-acked frames than its window, and
// counts one more. False: the link ends.
func (l *link) room() (unacked int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.ending && l.unacked >= l.hub.o.Window {
		l.hub.Counters.WindowPauses.Add(1)
		l.pause(0)
	}
	if l.ending {
		return 0, false
	}
	l.unacked++
	return l.unacked, true
}
