package devicetest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipe is one direction of a connection in memory: bytes wait in it up to a
// bound, as they do in a socket's buffers. All of its waiting is on a
// condition, so that simulated time can pass (testing/synctest).
type pipe struct {
	mu     sync.Mutex
	change sync.Cond
	buf    []byte
	bound  int
	ended  bool // no more will be written
	broken bool // the reader is gone: writes fail, what is buffered is lost
	read   deadline
	write  deadline
}

// deadline is one of a pipe's: passed is set when its time comes.
type deadline struct {
	timer  *time.Timer
	passed bool
}

func newPipe(bound int) *pipe {
	p := &pipe{bound: bound}
	p.change.L = &p.mu
	return p
}

func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.broken:
			return 0, net.ErrClosed
		case p.read.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p.buf) > 0:
			n := copy(b, p.buf)
			p.buf = p.buf[n:]
			p.change.Broadcast()
			return n, nil
		case p.ended:
			return 0, io.EOF
		}
		p.change.Wait()
	}
}

func (p *pipe) Write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.broken, p.ended:
			return n, io.ErrClosedPipe
		case p.write.passed:
			return n, os.ErrDeadlineExceeded
		case n == len(b):
			return n, nil
		}
		if room := p.bound - len(p.buf); room > 0 {
			m := min(room, len(b)-n)
			p.buf = append(p.buf, b[n:n+m]...)
			n += m
			p.change.Broadcast()
			continue
		}
		p.change.Wait()
	}
}

// end: the writer has nothing more to say. drop: the reader is gone.
func (p *pipe) end()  { p.set(func() { p.ended = true }) }
func (p *pipe) drop() { p.set(func() { p.broken = true }) }

func (p *pipe) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.change.Broadcast()
}

// until sets a deadline of p.
func (p *pipe) until(d *deadline, t time.Time) {
	p.set(func() {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
		d.passed = !t.IsZero() && !t.After(time.Now())
		if t.IsZero() || d.passed {
			return
		}
		var mine *time.Timer
		mine = time.AfterFunc(time.Until(t), func() {
			p.set(func() { d.passed = d.passed || d.timer == mine })
		})
		d.timer = mine
	})
}

// conn is one end of a connection in memory.
type conn struct {
	in, out       *pipe
	local, remote net.Addr
}

// connect makes a connection; each direction buffers so many bytes.
func connect(client, server net.Addr, bound int) (*conn, *conn) {
	up, down := newPipe(bound), newPipe(bound)
	return &conn{down, up, client, server}, &conn{up, down, server, client}
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.Write(b) }
func (c *conn) CloseWrite() error           { c.out.end(); return nil }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

func (c *conn) Close() error {
	c.SetDeadline(time.Time{})
	c.in.drop()
	c.out.end()
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.until(&c.in.read, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.until(&c.out.write, t)
	return nil
}

// listener accepts connections in memory.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return address("gateway") }

// address is a network address in memory.
type address string

func (a address) Network() string { return "memory" }
func (a address) String() string  { return string(a) }
