package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// gateway is the other end of in-memory connections, played by a test: it takes
// links in the order in which the device dials.
type gateway struct {
	t     *testing.T
	dials chan net.Conn
}

func newGateway(t *testing.T) *gateway { return &gateway{t: t, dials: make(chan net.Conn)} }

func (g *gateway) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case g.dials <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *gateway) options() client.Options {
	return client.Options{URL: "ws://gateway/device", Token: "hg1.desk.secret", Dial: g.dial}
}

// request takes the next connection and its upgrade request.
func (g *gateway) request() (net.Conn, *http.Request, *bufio.Reader) {
	g.t.Helper()
	c := <-g.dials
	br := bufio.NewReader(c)
	r, err := http.ReadRequest(br)
	if err != nil {
		g.t.Fatalf("upgrade request: %v", err)
	}
	return c, r, br
}

// refuse answers the next upgrade with a status.
func (g *gateway) refuse(status int, header, text string) {
	g.t.Helper()
	c, _, _ := g.request()
	fmt.Fprintf(c, "HTTP/1.1 %d x\r\n%sContent-Length: %d\r\n\r\n%s", status, header, len(text), text)
	c.Close()
}

// accept upgrades the next connection and takes its hello.
func (g *gateway) accept() *link {
	g.t.Helper()
	c, r, br := g.request()
	return g.upgrade(c, r, br)
}

func (g *gateway) upgrade(c net.Conn, r *http.Request, br *bufio.Reader) *link {
	g.t.Helper()
	l := &link{t: g.t, net: c, frames: make(chan protocol.Frame, 1000), ended: make(chan struct{})}
	up := gws.NewUpgrader(l, &gws.ServerOption{SubProtocols: []string{protocol.Subprotocol}, Logger: quiet{}})
	ws, err := up.UpgradeFromConn(c, br, r)
	if err != nil {
		g.t.Fatalf("upgrade: %v", err)
	}
	l.ws = ws
	go func() { defer close(l.ended); ws.ReadLoop() }()
	l.hello = expect[*protocol.Hello](l)
	return l
}

// welcome accepts, and answers the hello.
func (g *gateway) welcome(w protocol.Welcome) *link {
	g.t.Helper()
	l := g.accept()
	l.welcome(w)
	return l
}

// welcome answers the hello.
func (l *link) welcome(w protocol.Welcome) {
	l.t.Helper()
	if w.Device == "" {
		w.Device = "desk"
	}
	if w.Heartbeat == 0 {
		w.Heartbeat = 30
	}
	if w.Window == 0 {
		w.Window = 16
	}
	l.send(&w)
}

type quiet struct{}

func (quiet) Error(...any) {}

// link is one connection as the gateway sees it.
type link struct {
	gws.BuiltinEventHandler
	t      *testing.T
	net    net.Conn
	ws     *gws.Conn
	hello  *protocol.Hello
	frames chan protocol.Frame
	pongs  int
	code   uint16 // of the device's close
	ended  chan struct{}
}

func (l *link) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	f, err := protocol.Decode(m.Bytes(), protocol.Limits{})
	if err != nil {
		l.t.Errorf("the device sent %x: %v", m.Bytes(), err)
		return
	}
	l.frames <- f
}

func (l *link) OnPong(*gws.Conn, []byte) { l.pongs++ }

func (l *link) OnClose(_ *gws.Conn, err error) {
	var c *gws.CloseError
	if errors.As(err, &c) {
		l.code = c.Code
	}
}

func (l *link) send(f protocol.Frame) {
	l.t.Helper()
	if err := l.ws.WriteMessage(gws.OpcodeBinary, protocol.Append(nil, f)); err != nil {
		l.t.Fatalf("send %T: %v", f, err)
	}
}

func (l *link) close(code protocol.CloseCode) {
	_ = l.ws.WriteClose(uint16(code), nil)
	<-l.ended
}

// cut ends the link as a lost network does.
func (l *link) cut() { l.net.Close(); <-l.ended }

// expect takes the next frame and wants it to be an F.
func expect[F protocol.Frame](l *link) F {
	l.t.Helper()
	var f protocol.Frame
	select {
	case f = <-l.frames:
	case <-time.After(20 * time.Minute): // simulated
		l.t.Fatalf("no frame came, want %T", *new(F))
	}
	want, ok := f.(F)
	if !ok {
		l.t.Fatalf("came %#v, want %T", f, *new(F))
	}
	return want
}

// silent wants no frame to come for so long.
func (l *link) silent(d time.Duration) {
	l.t.Helper()
	select {
	case f := <-l.frames:
		l.t.Fatalf("came %#v, want nothing", f)
	case <-time.After(d):
	}
}
