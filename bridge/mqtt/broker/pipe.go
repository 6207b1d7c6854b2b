package broker

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeSize is what one end may have written that the other has not read. It lets
// a writer go on while packets gather, which net.Pipe does not.
const pipeSize = 64 << 10

// pipe returns the two ends of a connection in memory with a bounded buffer in
// each direction. They behave as a TCP connection does: what was written before
// Close can still be read, deadlines hold, and a full buffer blocks.
func pipe() (net.Conn, net.Conn) {
	a, b := newStream(), newStream()
	return &end{r: a, w: b}, &end{r: b, w: a}
}

type end struct{ r, w *stream }

func (e *end) Read(p []byte) (int, error)  { return e.r.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.w.write(p) }

// Close lets the other end read what is under way, and nothing more.
func (e *end) Close() error {
	e.r.abandon()
	e.w.finish()
	return nil
}

func (*end) LocalAddr() net.Addr  { return memory{} }
func (*end) RemoteAddr() net.Addr { return memory{} }

// The deadlines cannot fail; net.Conn wants the errors.
func (e *end) SetReadDeadline(t time.Time) error  { e.r.setDeadline(&e.r.reader, t); return nil }
func (e *end) SetWriteDeadline(t time.Time) error { e.w.setDeadline(&e.w.writer, t); return nil }

func (e *end) SetDeadline(t time.Time) error {
	e.r.setDeadline(&e.r.reader, t)
	e.w.setDeadline(&e.w.writer, t)
	return nil
}

type memory struct{}

func (memory) Network() string { return "memory" }
func (memory) String() string  { return "in the gateway" }

// stream is one direction: a ring of bytes.
type stream struct {
	mu        sync.Mutex
	changed   sync.Cond // on mu: anything below
	ring      []byte    // made at the first write
	at, n     int       // the unread bytes are the n from ring[at]
	finished  bool      // the writer has closed
	abandoned bool      // the reader has closed

	reader, writer deadline
}

// deadline is one side's; passed is set by its timer.
type deadline struct {
	timer  *time.Timer
	passed bool
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.abandoned:
			return 0, net.ErrClosed
		case s.reader.passed:
			return 0, os.ErrDeadlineExceeded
		case s.n > 0 || len(p) == 0:
			n := copy(p, s.ring[s.at:min(s.at+s.n, len(s.ring))])
			s.at, s.n = (s.at+n)%max(len(s.ring), 1), s.n-n
			s.changed.Broadcast()
			return n, nil
		case s.finished:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ring == nil {
		s.ring = make([]byte, pipeSize)
	}
	for {
		switch {
		case s.finished:
			return written, net.ErrClosed
		case s.abandoned:
			return written, io.ErrClosedPipe
		case s.writer.passed:
			return written, os.ErrDeadlineExceeded
		case len(p) == 0:
			return written, nil
		}
		if free := len(s.ring) - s.n; free > 0 {
			from := (s.at + s.n) % len(s.ring)
			n := copy(s.ring[from:min(from+free, len(s.ring))], p)
			s.n, written, p = s.n+n, written+n, p[n:]
			s.changed.Broadcast()
			continue
		}
		s.changed.Wait()
	}
}

func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	s.end(&s.writer)
}

func (s *stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned, s.n = true, 0
	s.end(&s.reader)
}

// end stops a side's timer and tells everyone. Under mu.
func (s *stream) end(d *deadline) {
	if d.timer != nil {
		d.timer.Stop()
	}
	s.changed.Broadcast()
}

func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer, d.passed = nil, false
	if !t.IsZero() {
		var mine *time.Timer
		mine = time.AfterFunc(time.Until(t), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if d.timer == mine { // and not a later one
				d.passed = true
				s.changed.Broadcast()
			}
		})
		d.timer = mine
	}
	s.changed.Broadcast()
}
