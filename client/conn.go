// Package client is the device's side of the protocol, for programs in Go.
//
// A Conn is one connection that fails honestly: it says how it ended and how
// long a device has to wait before its next try. A Device keeps one alive: it
// reconnects, remembers what is not acknowledged and sends it again, and
// answers each command once. PROTOCOL.md tells the rules that both follow.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/hearthgate/hearthgate/protocol"
)

// Options say where a gateway is and who connects. Only URL, Token and, in a
// gateway's own network, TLS need to be set.
type Options struct {
	URL   string          // wss://host:8443/device, or ws:// for a gateway on this machine
	Token string          // hg1.<device-id>.<secret>
	TLS   *tls.Config     // for wss; nil = the system's roots
	Hello *protocol.Hello // nil = a random boot and nothing else

	// Dial makes the connection that WebSocket is spoken on, TLS included;
	// nil = Options.DialNet. Simulators put faults in here, tests a pipe.
	Dial func(context.Context) (net.Conn, error)

	// OnFrame is called for every frame of the gateway in its order, beginning
	// with the welcome, which it sees before Dial returns. Calls come from
	// the reader's goroutine, one at a time; while one runs nothing is read.
	OnFrame func(protocol.Frame)

	WriteTimeout time.Duration // a peer that takes nothing for so long is gone; 10 s
}

func (o *Options) writeTimeout() time.Duration {
	if o.WriteTimeout > 0 {
		return o.WriteTimeout
	}
	return 10 * time.Second
}

// readLimit bounds a frame of the gateway.
const readLimit = 64 << 10

// Conn is one welcomed connection. Its methods are safe for concurrent use.
type Conn struct {
	// set at birth
	opts Options
	ws   *gws.Conn
	done chan struct{} // closed when the reader has ended

	lastRead atomic.Int64 // ns since birth; any inbound frame counts as life
	birth    time.Time

	// owned by the reader until welcomed (or done) is closed
	welcomed chan struct{}
	welcome  *protocol.Welcome

	// owned by the reader until done is closed
	end  *Closed
	hold time.Duration // what a bye asked for

	mu  sync.Mutex // guards buf
	buf []byte     // of the frame that is being sent
}

// Dial connects, says hello and waits for the welcome. ctx bounds that alone;
// the connection lives until Close, Abort or the peer ends it. The error is a
// *Refused when the gateway answered with an HTTP status, and a *Closed when
// it closed before the welcome.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	if o.Hello == nil {
		o.Hello = &protocol.Hello{Boot: NewBoot()}
	}
	if o.Dial == nil {
		o.Dial = o.DialNet
	}
	raw, err := o.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", o.URL, err)
	}
	// gws knows no context: a connection that is cut ends every wait.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()

	c := &Conn{opts: o, birth: time.Now(), done: make(chan struct{}), welcomed: make(chan struct{})}
	if err := c.upgrade(ctx, raw); err != nil {
		return nil, err
	}
	go c.read()
	if err := c.Send(o.Hello); err != nil {
		c.Abort()
		<-c.done
		return nil, c.end
	}
	select {
	case <-c.welcomed:
	case <-c.done:
	}
	switch {
	case c.welcome != nil:
		return c, nil // it may have ended since: Done tells
	case ctx.Err() != nil:
		return nil, fmt.Errorf("no welcome from %s: %w", o.URL, context.Cause(ctx))
	}
	return nil, c.end
}

// DialNet connects to the host of the URL over TCP, with TLS for wss. It is
// what Dial uses when Options.Dial is nil.
func (o *Options) DialNet(ctx context.Context) (net.Conn, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss":
		return nil, fmt.Errorf("the address must begin with wss:// or ws://, this is %q", o.URL)
	case port == "" && u.Scheme == "ws":
		port = "80"
	case port == "":
		port = "443"
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "ws" {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	conf := &tls.Config{}
	if o.TLS != nil {
		conf = o.TLS.Clone()
	}
	conf.NextProtos = []string{"http/1.1"} // WebSocket needs HTTP/1.1
	return (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", address)
}

// upgrade speaks the WebSocket handshake on raw, which it closes if that fails.
func (c *Conn) upgrade(ctx context.Context, raw net.Conn) error {
	timeout := 10 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	header := http.Header{"Sec-Websocket-Protocol": {protocol.Subprotocol}}
	if c.opts.Token != "" {
		header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	ws, answer, err := gws.NewClientFromConn(&reader{c}, &gws.ClientOption{
		Addr:               c.opts.URL,
		RequestHeader:      header,
		HandshakeTimeout:   timeout,
		ReadMaxPayloadSize: readLimit,
		ReadBufferSize:     1024,
		CheckUtf8Enabled:   true,
		NewSession:         noSession,
		Logger:             quiet{},
	}, raw)
	if err != nil {
		raw.Close()
		if answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
			return refusedBy(answer)
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("WebSocket handshake with %s: %w", c.opts.URL, err)
	}
	c.ws = ws
	return nil
}

// Welcome is what the gateway answered to our hello.
func (c *Conn) Welcome() *protocol.Welcome { return c.welcome }

// Done is closed when the connection has ended; Err then tells how.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is how the connection ended, nil while it lives.
func (c *Conn) Err() *Closed {
	select {
	case <-c.done:
		return c.end
	default:
		return nil
	}
}

// Silence is how long nothing has come in.
func (c *Conn) Silence() time.Duration {
	return time.Since(c.birth) - time.Duration(c.lastRead.Load())
}

// Send writes one frame. It blocks while the peer reads nothing, for at most
// WriteTimeout; after an error the connection is at its end.
func (c *Conn) Send(f protocol.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = protocol.Append(c.buf[:0], f)
	return c.SendBytes(c.buf)
}

// SendBytes writes one binary message as it is, for tests and simulators that
// want to send what Send never would.
func (c *Conn) SendBytes(b []byte) error {
	if err := c.ws.NetConn().SetWriteDeadline(time.Now().Add(c.opts.writeTimeout())); err != nil {
		return err
	}
	return c.ws.WriteMessage(gws.OpcodeBinary, b)
}

// Close ends the connection with code 1000. The bye that tells the gateway how
// long the device stays away is a frame of its own.
func (c *Conn) Close() {
	_ = c.ws.NetConn().SetWriteDeadline(time.Now().Add(time.Second))
	_ = c.ws.WriteClose(uint16(protocol.CloseNormal), nil)
	<-c.done
}

// Abort cuts the connection without a word, as a lost network would.
func (c *Conn) Abort() { c.ws.NetConn().Close() }

// read is the reader's goroutine. A panic in a peer's reader must not end the
// process: gws can be made to panic by a length with its top bit set.
func (c *Conn) read() {
	defer close(c.done)
	defer c.ws.NetConn().Close()
	defer func() {
		if p := recover(); p != nil {
			c.end = &Closed{Err: fmt.Errorf("reader: %v", p), Hold: c.hold}
		}
	}()
	c.ws.ReadLoop()
}

// reader receives gws's events; all calls come from Conn.read.
type reader struct{ *Conn }

func (r *reader) alive() { r.lastRead.Store(int64(time.Since(r.birth))) }

// OnOpen implements gws.Event.
func (r *reader) OnOpen(*gws.Conn) { r.alive() }

// OnPing implements gws.Event: the pong carries the ping's payload
// (RFC 6455 §5.5.3).
func (r *reader) OnPing(ws *gws.Conn, payload []byte) {
	r.alive()
	_ = ws.NetConn().SetWriteDeadline(time.Now().Add(r.opts.writeTimeout()))
	_ = ws.WritePong(payload)
}

// OnPong implements gws.Event.
func (r *reader) OnPong(*gws.Conn, []byte) { r.alive() }

// OnMessage implements gws.Event.
func (r *reader) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	r.alive()
	if m.Opcode != gws.OpcodeBinary {
		_ = ws.WriteClose(uint16(protocol.CloseText), []byte("frames are binary messages"))
		return
	}
	f, err := protocol.Decode(m.Bytes(), protocol.Limits{Message: readLimit})
	var refusal *protocol.Refusal
	switch {
	case err == nil:
		r.take(f)
	case errors.As(err, &refusal) && refusal.Close == 0:
		// A frame of a later version, or one that says nothing to us.
	default:
		_ = ws.WriteClose(uint16(protocol.CloseMalformed), []byte(err.Error()))
	}
}

func (r *reader) take(f protocol.Frame) {
	switch f := f.(type) {
	case *protocol.Welcome:
		if r.welcome != nil {
			return // only the first one counts
		}
		r.welcome = f
		defer close(r.welcomed)
	case protocol.Bye:
		r.hold = time.Duration(min(f.Seconds, 24*3600)) * time.Second
	}
	if r.opts.OnFrame != nil {
		r.opts.OnFrame(f)
	}
}

// OnClose implements gws.Event.
func (r *reader) OnClose(_ *gws.Conn, err error) {
	r.end = &Closed{Err: err, Hold: r.hold}
	var said *gws.CloseError
	if errors.As(err, &said) {
		r.end.Code, r.end.Reason = protocol.CloseCode(said.Code), string(said.Reason)
	}
}

// nothing is the session storage of connections that store nothing: gws would
// make a map for each.
type nothing struct{ gws.SessionStorage }

func noSession() gws.SessionStorage { return nothing{} }

// quiet drops what gws would print; how a connection ended is in Closed.
type quiet struct{}

func (quiet) Error(...any) {}
