package devices

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// maxFragments is how many WebSocket frames one message may come in. A device
// that streams 64 KiB in pieces of 128 bytes needs 512.
const maxFragments = 1024

// errRefusedFrame ends the read loop after the guard refused a frame header.
var errRefusedFrame = errors.New("frame header refused")

// headers follows the WebSocket frame headers in a stream of bytes (RFC 6455
// §5.2) and stops at the first one that must not reach the library: it would
// take a length with its top bit set for a negative one, cut a long one to 32
// bits on small machines, and never count fragments. What the library itself
// refuses well (masks, reserved bits, control frames) is left to it.
type headers struct {
	limit     uint64 // bytes a message
	header    [10]byte
	have      int    // bytes of the header seen so far
	skip      uint64 // mask and payload bytes until the next header
	message   uint64 // payload bytes of the message so far
	fragments int
}

// scan looks at the next bytes of the stream. It returns how many of them are
// good and, if that is not all, the close code for the rest.
func (h *headers) scan(p []byte) (good int, code protocol.CloseCode) {
	for i := 0; i < len(p); {
		if h.skip > 0 {
			n := min(h.skip, uint64(len(p)-i))
			h.skip -= n
			i += int(n)
			continue
		}
		h.header[h.have] = p[i]
		h.have++
		if h.have >= 2 && h.have == h.size() {
			if code := h.check(); code != 0 {
				return i, code
			}
			h.have = 0
		}
		i++
	}
	return len(p), 0
}

// size is how long the header is, without its mask.
func (h *headers) size() int {
	switch h.header[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// check judges a complete header and sets what there is to skip after it.
func (h *headers) check() protocol.CloseCode {
	length := uint64(h.header[1] & 0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(h.header[2:]))
	case 127:
		length = binary.BigEndian.Uint64(h.header[2:])
	}
	if length>>63 != 0 {
		return protocol.CloseFraming
	}
	if length > h.limit {
		return protocol.CloseTooBig
	}
	if opcode := h.header[0] & 0x0f; opcode < 8 { // not a control frame
		if opcode == 1 {
			return protocol.CloseText
		}
		h.message += length
		h.fragments++
		if h.message > h.limit || h.fragments > maxFragments {
			return protocol.CloseTooBig
		}
		if h.header[0]&0x80 != 0 { // FIN
			h.message, h.fragments = 0, 0
		}
	}
	h.skip = length
	if h.header[1]&0x80 != 0 {
		h.skip += 4 // the mask
	}
	return 0
}

// Deadlines of a connection.
const (
	writeTimeout = 10 * time.Second // a write that takes longer ends the link
	renewEvery   = time.Second      // its deadline is not set for each write: that costs as much as a small write
	lingerTime   = time.Second      // for the peer to read our close frame
)

// guard is the connection as the WebSocket library sees it. Reads pass the
// header check; writes have a deadline; closing it closes only our direction,
// so that the peer can read why before the socket goes (a socket closed while
// the peer still sends is reset, and the close code is lost with it).
type guard struct {
	net.Conn // with all that is around the socket: its Close counts
	link     *link
	socket   net.Conn        // where reads and writes go: TLS, or the bare socket
	raw      syscall.RawConn // of the bare socket, for acks; nil = there is none

	renew atomic.Int64 // ms of the hub's clock: from when on a write sets its deadline

	// owned by the reader
	headers headers
	ahead   ahead
	code    protocol.CloseCode
}

// bare is a connection without what the listener put around it for peers that
// have not shown who they are: a link has its own deadlines, and each layer
// would cost a link at rest some stack. TLS stays.
func bare(c net.Conn) net.Conn {
	if _, secure := c.(*tls.Conn); secure {
		return c
	}
	if around, ok := c.(interface{ NetConn() net.Conn }); ok {
		return around.NetConn()
	}
	return c
}

// Read hands on what the header check lets pass. After a refused header it
// closes the link and ends the read loop. A link at rest waits in here: the
// wait is called directly, to keep its stack small.
func (g *guard) Read(p []byte) (n int, err error) {
	switch {
	case g.code != 0:
		return 0, g.refuse()
	case len(g.ahead.rest) > 0:
		n = g.ahead.take(p)
	case g.raw == nil || len(p) >= aheadSize:
		n, err = g.socket.Read(p)
	default:
		if err = g.raw.Read(g.ahead.fill); err == nil {
			err = g.ahead.err
		}
		n = g.ahead.take(p)
	}
	return g.pass(p[:n], err)
}

// pass checks what was read.
func (g *guard) pass(p []byte, err error) (int, error) {
	good, code := g.headers.scan(p)
	if code == 0 {
		return len(p), err
	}
	if g.code = code; good == 0 {
		return 0, g.refuse()
	}
	return good, nil
}

// refuse queues the close frame and swallows what the peer still sends.
func (g *guard) refuse() error {
	g.link.end(g.code, refusalText(g.code))
	g.drain()
	return errRefusedFrame
}

func refusalText(c protocol.CloseCode) string {
	switch c {
	case protocol.CloseText:
		return "frames are binary messages"
	case protocol.CloseTooBig:
		return "message too big"
	}
	return "frame length has its top bit set"
}

// drain reads and drops until the peer closes, its time to do so is over (see
// Close) or the link is cut.
func (g *guard) drain() {
	var scrap [512]byte
	for {
		if _, err := g.Conn.Read(scrap[:]); err != nil {
			return
		}
	}
}

// sayClose reports whether nobody has sent our close frame yet. Nothing may
// follow that frame (RFC 6455 §5.5.1).
func (g *guard) sayClose() bool { return g.link.saidClose.CompareAndSwap(false, true) }

// Write is used by the library for the handshake and for a close frame of its
// own, when the peer broke the protocol or closed first.
func (g *guard) Write(p []byte) (int, error) {
	if p[0] == 0x80|opClose && !g.sayClose() {
		return len(p), nil
	}
	return g.write(p)
}

// write is every write's way to the socket, but for the acks that need not wait.
func (g *guard) write(p []byte) (int, error) {
	if now := g.link.hub.now(); now >= g.renew.Load() {
		g.renew.Store(now + renewEvery.Milliseconds())
		g.socket.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	return g.socket.Write(p)
}

// Close ends our direction after the close frame; link.finish closes the socket
// once the peer had its time. To throw a peer out at once, sever g.Conn.
func (g *guard) Close() error {
	g.Conn.SetReadDeadline(time.Now().Add(lingerTime))
	if half, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
