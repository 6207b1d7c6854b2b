package devicetest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// WebSocket opcodes (RFC 6455 §5.2).
const (
	OpContinuation = 0
	OpText         = 1
	OpBinary       = 2
	OpClose        = 8
	OpPing         = 9
	OpPong         = 10
)

// patience is how long an expectation waits, in the test's time.
const patience = 30 * time.Minute

// Device is the device's end of a connection. It answers nothing by itself but
// WebSocket pings (unless Mute). Its methods fail the test when they cannot do
// what they say, and return the device, so that a conversation reads as one.
type Device struct {
	Conn net.Conn
	Mute bool // leave pings unanswered

	home   *Home
	reader *bufio.Reader
	pings  int
	closed *Closed
}

// Closed is how the gateway ended a link.
type Closed struct {
	Code   protocol.CloseCode // 0 = without a close frame
	Reason string
}

// Request is what a device asks with to become a link.
type Request struct {
	Path    string // /device
	Proto   string // HTTP/1.1
	From    string // 192.0.2.1:40000, its address
	Buffer  int    // 64 KiB, what its socket holds in each direction
	Method  string // GET
	Headers http.Header
}

// Handshake is the header of a right request with a token.
func Handshake(token string) http.Header {
	return http.Header{
		"Connection":             {"Upgrade"},
		"Upgrade":                {"websocket"},
		"Sec-WebSocket-Version":  {"13"},
		"Sec-WebSocket-Key":      {"dGhlIHNhbXBsZSBub25jZQ=="},
		"Sec-WebSocket-Protocol": {protocol.Subprotocol},
		"Authorization":          {"Bearer " + token},
	}
}

// Dial connects a device that shows the token.
func (h *Home) Dial(token string) *Device {
	h.t.Helper()
	d, r := h.Ask(Request{Headers: Handshake(token)})
	if r.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(r.Body)
		h.t.Fatalf("dial: %s: %s", r.Status, body)
	}
	return d
}

// Ask sends a request and reads the answer to it.
func (h *Home) Ask(q Request) (*Device, *http.Response) {
	h.t.Helper()
	d := h.Open(q.From, q.Buffer)
	fmt.Fprintf(d.Conn, "%s %s %s\r\nHost: gateway\r\n", or(q.Method, "GET"), or(q.Path, "/device"), or(q.Proto, "HTTP/1.1"))
	for k, lines := range q.Headers { // as written: names need not be canonical
		for _, v := range lines {
			fmt.Fprintf(d.Conn, "%s: %s\r\n", k, v)
		}
	}
	io.WriteString(d.Conn, "\r\n")
	return d, d.ReadResponse()
}

// ReadResponse reads the answer to a request.
func (d *Device) ReadResponse() *http.Response {
	d.home.t.Helper()
	r, err := http.ReadResponse(d.reader, nil)
	if err != nil {
		d.home.t.Fatalf("no answer to the request: %v", err)
	}
	return r
}

// Open opens a connection and says nothing on it.
func (h *Home) Open(from string, buffer int) *Device {
	if buffer == 0 {
		buffer = 64 << 10
	}
	client, server := connect(address(or(from, "192.0.2.1:40000")), address("gateway"), buffer)
	h.listener.conns <- server
	d := &Device{Conn: client, home: h, reader: bufio.NewReader(client)}
	h.t.Cleanup(func() { client.Close() })
	return d
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Send sends frames.
func (d *Device) Send(frames ...protocol.Frame) *Device {
	d.home.t.Helper()
	for _, f := range frames {
		d.SendBytes(protocol.Append(nil, f))
	}
	return d
}

// SendBytes sends one binary message.
func (d *Device) SendBytes(b []byte) *Device { return d.SendFrame(true, OpBinary, b) }

// SendFrame sends one WebSocket frame, masked as it should be.
func (d *Device) SendFrame(fin bool, opcode byte, payload []byte) *Device {
	d.home.t.Helper()
	return d.SendRaw(WebSocketFrame(fin, opcode, payload))
}

// SendRaw sends bytes as they are. A gateway that has gone already is no
// failure; what it said before is still to be read.
func (d *Device) SendRaw(b []byte) *Device {
	d.Conn.Write(b)
	return d
}

// WebSocketFrame is a client's frame, masked.
func WebSocketFrame(fin bool, opcode byte, payload []byte) []byte {
	b := []byte{opcode, 0x80}
	if fin {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n <= 125:
		b[1] |= byte(n)
	case n <= 0xffff:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// Expect reads a frame for each of want and compares.
func (d *Device) Expect(want ...protocol.Frame) *Device {
	d.home.t.Helper()
	for _, w := range want {
		got := d.Next()
		if !bytes.Equal(protocol.Append(nil, got), protocol.Append(nil, w)) {
			d.home.t.Fatalf("got %s, want %s", Show(got), Show(w))
		}
	}
	return d
}

// Show is a frame for a person.
func Show(f protocol.Frame) string {
	v := reflect.Indirect(reflect.ValueOf(f))
	return fmt.Sprintf("%s%+v", strings.ToLower(v.Type().Name()), v.Interface())
}

// Next reads the next frame.
func (d *Device) Next() protocol.Frame {
	d.home.t.Helper()
	f, err := d.TryNext(patience)
	if err != nil {
		d.home.t.Fatalf("no frame: %v", err)
	}
	return f
}

// Open opens a session: hello with Boot(n), and whatever welcome.
func (d *Device) Open(n byte) *protocol.Welcome {
	d.home.t.Helper()
	return d.OpenWith(Hello(n))
}

// OpenWith opens a session with that hello.
func (d *Device) OpenWith(h *protocol.Hello) *protocol.Welcome {
	d.home.t.Helper()
	d.Send(h)
	w, ok := d.Next().(*protocol.Welcome)
	if !ok {
		d.home.t.Fatal("the first frame was no welcome")
	}
	return w
}

// ExpectClose reads until the link is closed and compares the code.
func (d *Device) ExpectClose(code protocol.CloseCode) *Device {
	d.home.t.Helper()
	f, err := d.TryNext(patience)
	switch {
	case err == nil:
		d.home.t.Fatalf("got %s, want close %d", Show(f), code)
	case d.closed == nil:
		d.home.t.Fatalf("got %v, want close %d", err, code)
	case d.closed.Code != code:
		d.home.t.Fatalf("closed with %d %q, want %d", d.closed.Code, d.closed.Reason, code)
	}
	return d
}

// ExpectEnd reads until the connection is over, by whatever means.
func (d *Device) ExpectEnd() *Device {
	d.home.t.Helper()
	for d.closed == nil {
		if _, err := d.TryNext(patience); err != nil && d.closed == nil {
			d.home.t.Fatal(err)
		}
	}
	return d
}

// ExpectSilence wants no frame for so long (WebSocket pings do not count).
func (d *Device) ExpectSilence(t time.Duration) *Device {
	d.home.t.Helper()
	if f, err := d.TryNext(t); err == nil {
		d.home.t.Fatalf("got %s, want nothing", Show(f))
	} else if d.closed != nil {
		d.home.t.Fatalf("closed with %d %q, want nothing", d.closed.Code, d.closed.Reason)
	}
	return d
}

// Leave closes the connection without a word.
func (d *Device) Leave() { d.Conn.Close() }

// Pings is how many WebSocket pings came while frames were read.
func (d *Device) Pings() int { return d.pings }

// Closed is how the link ended, nil while nothing was read of that.
func (d *Device) Closed() *Closed { return d.closed }

// errClosed: the link is over; Closed says how.
var errClosed = errors.New("the link is closed")

// TryNext reads the next frame, for so long at most.
func (d *Device) TryNext(wait time.Duration) (protocol.Frame, error) {
	if d.closed != nil {
		return nil, errClosed
	}
	d.Conn.SetReadDeadline(time.Now().Add(wait))
	for {
		opcode, payload, err := d.readFrame()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrUnexpectedEOF):
			d.closed = &Closed{}
			return nil, errClosed
		case err != nil:
			return nil, err
		}
		switch opcode {
		case OpBinary:
			return protocol.Decode(payload, protocol.Limits{})
		case OpPing:
			d.pings++
			if !d.Mute {
				d.SendFrame(true, OpPong, payload)
			}
		case OpPong:
		case OpClose:
			d.closed = &Closed{}
			if len(payload) >= 2 {
				d.closed.Code = protocol.CloseCode(binary.BigEndian.Uint16(payload))
				d.closed.Reason = string(payload[2:])
			}
			d.SendFrame(true, OpClose, payload)
			return nil, errClosed
		default:
			return nil, fmt.Errorf("the gateway sent opcode %d", opcode)
		}
	}
}

// ReadFrame reads one WebSocket frame as it comes.
func (d *Device) ReadFrame() (opcode byte, payload []byte) {
	d.home.t.Helper()
	d.Conn.SetReadDeadline(time.Now().Add(patience))
	opcode, payload, err := d.readFrame()
	if err != nil {
		d.home.t.Fatal(err)
	}
	return opcode, payload
}

func (d *Device) readFrame() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(d.reader, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("the gateway's frame header % x is fragmented, masked or has reserved bits", head)
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(d.reader, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(d.reader, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(d.reader, payload)
	return head[0] & 0x0f, payload, err
}
