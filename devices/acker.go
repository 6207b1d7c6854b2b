package devices

import (
	"net"
	"sync"
	"syscall"
)

// acker writes the acks of a commit. A writer for each link would cost more than
// the write does: a goroutine that is started, scheduled and ended for six bytes.
// So one goroutine goes over all links of the commit and writes what their
// sockets take at once. It never waits for a peer: a link whose socket is full,
// or that has TLS on it, is left to its writer, as is one whose writer runs.
type acker struct {
	mu sync.Mutex // no other lock is taken while it is held
	// guarded by mu
	due     []*link
	running bool

	spare []*link // the list before, to be used again

	call direct // owned by the goroutine
}

// add takes the links of one commit, in the committer. links is free again.
func (a *acker) add(links []*link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = append(a.due, links...)
	if !a.running && len(a.due) > 0 {
		a.running = true
		go a.run()
	}
}

func (a *acker) run() {
	for {
		links := a.take()
		if len(links) == 0 {
			return
		}
		for _, l := range links {
			l.ack(&a.call)
		}
		clear(links)
		a.mu.Lock()
		a.spare = links[:0]
		a.mu.Unlock()
	}
}

// take is what is due. When nothing is, the goroutine ends.
func (a *acker) take() []*link {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.due) == 0 {
		a.running = false
		return nil
	}
	links := a.due
	a.due, a.spare = a.spare, nil
	return links
}

// ack writes the acks that are due, if they can go at once; else the writer
// does it.
func (l *link) ack(call *direct) {
	defer l.rescueWriter()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.acksDue || l.writing || l.over:
		return
	case l.conn.raw == nil || len(l.out) > 0 || l.ending || l.saidClose.Load():
		l.kick()
		return
	}
	l.out = call.space[:0]
	l.gather()
	l.writeNow(call)
}

// Flush lets what Send queued go, on the goroutine of whoever has the command: as
// far as the socket takes it at once. It never waits for a peer either.
func (l *link) Flush() {
	defer l.rescueWriter()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.out) == 0 || l.writing || l.over:
		return
	case l.conn.raw == nil || l.ending || l.saidClose.Load():
		l.kick()
		return
	}
	batch, call := l.out, calls.Get().(*direct)
	l.writeNow(call)
	calls.Put(call)
	recycle(batch)
}

// calls are for Flush, which runs on any goroutine.
var calls = sync.Pool{New: func() any { return &direct{} }}

// writeNow writes what is queued as far as the socket takes it at once, and leaves
// the rest to the writer. Called with mu held, while no writer runs; it is free in
// between.
func (l *link) writeNow(call *direct) {
	batch, frames := l.out, l.frames
	l.out, l.frames, l.writing = nil, 0, true
	l.mu.Unlock()
	n := call.write(l.conn.raw, batch)
	if n > 0 {
		l.lastOut.Store(l.hub.now())
	}
	l.mu.Lock()
	l.writing = false
	if rest := batch[n:]; len(rest) > 0 {
		queued := l.out
		l.out = append(append((*buffers.Get().(*[]byte))[:0], rest...), queued...)
		l.frames += frames
	}
	if len(l.out) > 0 || l.acksDue || l.ending {
		l.kick()
	}
}

// direct is a write that does not wait.
type direct struct {
	space [16 * (2 + maxAck)]byte // more than the acks of all boots that a hello names

	bytes []byte
	n     int
	call  func(fd uintptr) // write's inner half, made once
}

// maxAck is more than the bytes of an ack frame.
const maxAck = 32

// write writes what the socket takes at once and returns how much that was. What
// went wrong, whoever writes the rest will see.
func (d *direct) write(socket syscall.RawConn, b []byte) int {
	if d.call == nil {
		d.call = func(fd uintptr) { d.n = writeNow(fd, d.bytes) }
	}
	d.bytes, d.n = b, 0
	_ = socket.Control(d.call)
	return d.n
}

// rawSocket is c's socket for reads and writes that do not wait, nil if there is none to be had.
func rawSocket(c net.Conn) syscall.RawConn {
	tcp, ok := c.(*net.TCPConn)
	if !ok || !canDirect {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
