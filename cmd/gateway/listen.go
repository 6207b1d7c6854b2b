package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// listen opens a port, and says which setting to change when it is taken.
func listen(name, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is taken by another program; stop that one or set another address: %w", name, addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

// freePort is addr, or the same with the next port that is free.
func freePort(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	first, err := strconv.Atoi(port)
	if err != nil {
		return "", err
	}
	for p := first; p < first+100 && p < 65536; p++ {
		try := net.JoinHostPort(host, strconv.Itoa(p))
		l, err := net.Listen("tcp", try)
		if err == nil {
			return try, l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s and the next 99 ports are taken", addr)
}

// crowd bounds what strangers can hold before we know who they are: open
// connections of one address and in all, on all our ports together. What is
// above is closed at once and counted; nothing was read from it and nothing of
// it is kept.
type crowd struct {
	perAddress, total int // 0 = no limit
	refused           *atomic.Uint64

	mu    sync.Mutex
	count map[netip.Addr]int
	all   int
}

// spare is room above the limits of links for requests of the API and for
// links that are being replaced.
const spare = 64

// ownFiles is how many open files the gateway keeps for itself: the store, the
// admin socket, the MQTT broker's clients.
const ownFiles = 384

// newCrowd takes the limits of links (0 = none) and of open files.
func newCrowd(perAddress, total, files int, refused *atomic.Uint64) *crowd {
	c := &crowd{refused: refused, count: map[netip.Addr]int{}}
	if perAddress > 0 {
		c.perAddress = perAddress + spare
	}
	if total > 0 {
		c.total = total + spare
	}
	if most := max(files-ownFiles, spare); files > 0 && (c.total == 0 || c.total > most) {
		c.total = most
	}
	return c
}

// openFiles is how many files the system lets us open; 0 = not known. The Go
// runtime has raised the soft limit to the hard one.
func openFiles() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int(min(l.Cur, 1<<30))
}

// fewListener lets in who finds room in the crowd.
type fewListener struct {
	net.Listener
	crowd *crowd
}

func (l fewListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := addressOf(c)
		if l.crowd.enter(addr) {
			return &countedConn{Conn: c, crowd: l.crowd, addr: addr}, nil
		}
		l.crowd.refused.Add(1)
		_ = c.Close()
	}
}

// addressOf is the peer's address; of IPv6 its /64, which one peer owns whole.
func addressOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

func (c *crowd) enter(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total > 0 && c.all >= c.total || c.perAddress > 0 && c.count[a] >= c.perAddress {
		return false
	}
	c.all++
	c.count[a]++
	return true
}

func (c *crowd) leave(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.count[a]--; c.count[a] == 0 {
		delete(c.count, a)
	}
}

// Times that a peer has, whoever it is. The header has http.Server's.
const (
	bodyTime  = 10 * time.Second // from a request's header to the end of its body
	writeTime = 10 * time.Second // to take what is written to it at once, 32 KiB or so
)

// countedConn has its place in the crowd until it is closed.
type countedConn struct {
	net.Conn
	crowd *crowd
	addr  netip.Addr
	left  sync.Once
}

// NetConn is the socket itself, for who sets deadlines of their own.
func (c *countedConn) NetConn() net.Conn { return c.Conn }

// Write gives a peer that does not read limited time: without it every answer
// would be a way to hold a goroutine and its memory for ever.
func (c *countedConn) Write(p []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(writeTime)) // if it is closed, Write says so
	return c.Conn.Write(p)
}

// CloseWrite lets the peer read what was sent last before the socket ends.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *countedConn) Close() error {
	c.left.Do(func() { c.crowd.leave(c.addr) })
	return c.Conn.Close()
}

// bodyInTime ends requests whose body does not come. http.Server has a time for
// whole requests, too, but that would end answers that stream.
func bodyInTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			body := timedBody{r.Body, http.NewResponseController(w)}
			_ = body.conn.SetReadDeadline(time.Now().Add(bodyTime)) // always possible with our servers
			r.Body = body
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the deadline at its end. What the handler leaves unread,
// http.Server reads before the next request, by the same deadline.
type timedBody struct {
	io.ReadCloser
	conn *http.ResponseController
}

func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}
