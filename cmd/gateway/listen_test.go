package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// inMemory is one connection to a server as ours are, in memory.
func inMemory(t *testing.T, h http.Handler) (client net.Conn) {
	client, theirs := net.Pipe()
	l := &oneListener{conns: make(chan net.Conn, 1)}
	c := newCrowd(0, 0, 0, new(atomic.Uint64))
	c.enter(netip.Addr{})
	l.conns <- &countedConn{Conn: theirs, crowd: c}
	s := &http.Server{Handler: bodyInTime(h), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	done := make(chan struct{})
	go func() { _ = s.Serve(l); close(done) }()
	t.Cleanup(func() { client.Close(); s.Close(); <-done })
	return client
}

type oneListener struct{ conns chan net.Conn }

func (l *oneListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *oneListener) Close() error   { close(l.conns); return nil }
func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }

// A stranger promises a body and sends none. The server wants to read it before
// it answers, so it must not wait for ever.
func TestABodyThatDoesNotComeEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
		begin := time.Now()
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{")
		_, _ = io.ReadAll(c)
		if took := time.Since(begin); took > bodyTime+time.Second {
			t.Errorf("the connection was held for %v", took)
		}
	})
}

// After its body a request may take as long as its answer does.
func TestABodyThatCameLiftsItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			select {
			case <-time.After(5 * time.Minute):
				_, _ = w.Write(body)
			case <-r.Context().Done():
			}
		}))
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r.Body); string(b) != "hi" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	})
}

func TestAReaderThatStopsIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		c := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			begin := time.Now()
			for {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					ended <- time.Since(begin)
					return
				}
			}
		}))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if took := <-ended; took > writeTime+time.Second {
			t.Errorf("the answer was held for %v", took)
		}
	})
}

// All ports share the room, and some open files stay for the store and the
// admin socket whatever limits.links says.
func TestTheCrowdLeavesRoomForOurselves(t *testing.T) {
	for _, at := range []struct{ links, files, want int }{
		{20000, 1 << 20, 20000 + spare},
		{20000, 1024, 1024 - ownFiles},
		{0, 4096, 4096 - ownFiles},
		{100, 0, 100 + spare},
		{100, 64, spare},
	} {
		var refused atomic.Uint64
		c := newCrowd(0, at.links, at.files, &refused)
		in := 0
		for c.enter(netip.AddrFrom4([4]byte{192, 0, byte(in >> 8), byte(in)})) {
			in++
		}
		if in != at.want {
			t.Errorf("limits.links %d, %d files: %d connections, want %d", at.links, at.files, in, at.want)
		}
	}
}
