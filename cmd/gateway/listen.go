package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

// listen opens a port, and says which setting to change when it is taken.
func listen(name, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is taken by another program; stop that one or set another address", name, addr)
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

// fewListener bounds what a stranger can hold before we know who it is: open
// connections of one address and in all. What is above is closed at once and
// counted; nothing was read from it and nothing of it is kept.
type fewListener struct {
	net.Listener
	perAddress, total int // 0 = no limit
	refused           *atomic.Uint64

	mu    sync.Mutex
	count map[netip.Addr]int
	all   int
}

// spare is room above the limits of links for requests of the API and for
// links that are being replaced.
const spare = 64

func few(l net.Listener, perAddress, total int, refused *atomic.Uint64) net.Listener {
	f := &fewListener{Listener: l, refused: refused, count: map[netip.Addr]int{}}
	if perAddress > 0 {
		f.perAddress = perAddress + spare
	}
	if total > 0 {
		f.total = total + spare
	}
	return f
}

func (l *fewListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := addressOf(c)
		if l.enter(addr) {
			return &countedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(addr) })}, nil
		}
		l.refused.Add(1)
		_ = c.Close()
	}
}

// addressOf is the peer's address; of IPv6 its /64, which one peer owns whole.
func addressOf(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

func (l *fewListener) enter(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total > 0 && l.all >= l.total || l.perAddress > 0 && l.count[a] >= l.perAddress {
		return false
	}
	l.all++
	l.count[a]++
	return true
}

func (l *fewListener) leave(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.count[a]--; l.count[a] == 0 {
		delete(l.count, a)
	}
}

type countedConn struct {
	net.Conn
	leave func()
}

// CloseWrite lets the peer read what was sent last before the socket ends.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
