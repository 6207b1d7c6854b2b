package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// A link is one connection of the load generator: raw TCP, or WebSocket over
// TCP or TLS. It does the least that a correct client must, so that the
// generator's core is not what a run measures. One goroutine reads and writes;
// Send and Flush may be another's only while nothing reads.
type link struct {
	conn      net.Conn
	in        *bufio.Reader
	out       []byte // what Send gathered for the next Flush
	websocket bool
	rest      []byte // of a message that Read has handed out in part
	held      int    // bytes of in that the last message still occupies
	pings     *atomic.Int64
}

// A target is where links go and what they ask for there.
type target struct {
	address  string
	tls      *tls.Config // nil = plain
	path     string      // "" = raw TCP
	protocol string      // the WebSocket subprotocol
	header   string      // further header lines, each ended by CRLF
}

// maxMessage is the largest WebSocket message that a link takes. The servers
// send the generator acks, commands and single MQTT packets, all far below it.
const maxMessage = 4096

// maxHandshake bounds connecting, TLS and the upgrade together.
const maxHandshake = 20 * time.Second

// sources spreads links over loopback addresses, so that neither the ports of
// one address nor a server's limit for one decides how many links there can be.
var sources atomic.Uint32

func dial(t target, buffer int) (*link, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+sources.Add(1)%100))}
	d := net.Dialer{LocalAddr: from, Timeout: maxHandshake, KeepAlive: -1}
	conn, err := d.Dial("tcp", t.address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(maxHandshake))
	if t.tls != nil {
		conn = tls.Client(conn, t.tls)
	}
	l := newLink(conn, max(buffer, maxMessage), t.path != "")
	if l.websocket {
		if err := l.upgrade(t); err != nil {
			conn.Close()
			return nil, fmt.Errorf("upgrade at %s: %w", t.address, err)
		}
	}
	conn.SetDeadline(time.Time{})
	return l, nil
}

func newLink(conn net.Conn, buffer int, websocket bool) *link {
	return &link{conn: conn, in: bufio.NewReaderSize(conn, buffer), websocket: websocket}
}

// upgrade is the client's half of RFC 6455 §4. It believes a 101: who measures
// need not be protected from the server.
func (l *link) upgrade(t target) error {
	_, err := fmt.Fprintf(l.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
		"Sec-WebSocket-Protocol: %s\r\n%s\r\n", t.path, t.address, t.protocol, t.header)
	if err != nil {
		return err
	}
	status, err := l.in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.Contains(status, " 101 ") {
		return errors.New(strings.TrimSpace(status))
	}
	for line := ""; line != "\r\n"; {
		if line, err = l.in.ReadString('\n'); err != nil {
			return err
		}
	}
	return nil
}

// The opcodes of RFC 6455 §5.2 that are met here.
const (
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// Send adds one message to what the next Flush writes: one WebSocket frame, or
// the bytes alone on raw TCP.
func (l *link) Send(message []byte) {
	if !l.websocket {
		l.out = append(l.out, message...)
		return
	}
	l.sendFrame(opBinary, message)
}

// sendFrame masks with the key 0: legal on the wire, and while a server has to
// unmask all the same, the generator need not touch each byte.
func (l *link) sendFrame(op byte, payload []byte) {
	if n := len(payload); n < 126 {
		l.out = append(l.out, 0x80|op, 0x80|byte(n))
	} else {
		l.out = append(l.out, 0x80|op, 0x80|126, byte(n>>8), byte(n))
	}
	l.out = append(l.out, 0, 0, 0, 0)
	l.out = append(l.out, payload...)
}

// Flush writes what was gathered in one write.
func (l *link) Flush() error {
	if len(l.out) == 0 {
		return nil
	}
	_, err := l.conn.Write(l.out)
	l.out = l.out[:0]
	return err
}

// Next is the next binary message. It is valid until the call after. Pings are
// answered, and counted where someone counts them.
func (l *link) Next() ([]byte, error) {
	for {
		op, payload, err := l.nextFrame()
		if err != nil {
			return nil, err
		}
		switch op {
		case opBinary:
			return payload, nil
		case opPing:
			if l.pings != nil {
				l.pings.Add(1)
			}
			l.sendFrame(opPong, payload)
			if err := l.Flush(); err != nil {
				return nil, err
			}
		case opPong:
		case opClose:
			return nil, closeError(payload)
		default:
			return nil, fmt.Errorf("unexpected WebSocket opcode %d", op)
		}
	}
}

func (l *link) nextFrame() (op byte, payload []byte, err error) {
	l.in.Discard(l.held)
	l.held = 0
	head, err := l.in.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	op, size, start := head[0], int(head[1]), 2
	if op&0x80 == 0 || size > 126 {
		return 0, nil, fmt.Errorf("a WebSocket frame that the generator does not take (% x)", head)
	}
	if size == 126 {
		start = 4
		if head, err = l.in.Peek(start); err != nil {
			return 0, nil, err
		}
		size = int(binary.BigEndian.Uint16(head[2:]))
	}
	whole, err := l.in.Peek(start + size)
	if err != nil {
		return 0, nil, err
	}
	l.held = start + size
	return op & 0x0f, whole[start:], nil
}

func closeError(payload []byte) error {
	if len(payload) < 2 {
		return io.EOF
	}
	return fmt.Errorf("closed by the server: %d %s", binary.BigEndian.Uint16(payload), payload[2:])
}

// More reports whether a message can be had without waiting for the network.
func (l *link) More() bool { return l.in.Buffered() > l.held }

// Read makes the messages a stream, which is what MQTT takes them for, and
// hands out all that has arrived.
func (l *link) Read(p []byte) (int, error) {
	if !l.websocket {
		return l.in.Read(p)
	}
	n := 0
	for n == 0 || n < len(p) && (len(l.rest) > 0 || l.More()) {
		if len(l.rest) == 0 {
			message, err := l.Next()
			if err != nil {
				return n, err
			}
			l.rest = message
		}
		k := copy(p[n:], l.rest)
		l.rest = l.rest[k:]
		n += k
	}
	return n, nil
}

// Close ends the connection without a word, as a power cut at a device does.
func (l *link) Close() { l.conn.Close() }
