package main

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is the cable between the gateway and a broker. A test can pull it.
type proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	plugged bool
	conns   map[net.Conn]bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{listener: l, target: target, plugged: true, conns: map[net.Conn]bool{}}
	go p.accept()
	t.Cleanup(func() { _ = l.Close(); p.pull() })
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.carry(c)
	}
}

func (p *proxy) carry(c net.Conn) {
	defer func() { _ = c.Close() }()
	there, err := net.Dial("tcp", p.target)
	if err != nil || !p.take(c, there) {
		return
	}
	defer func() { _ = there.Close() }()
	go func() { _, _ = io.Copy(there, c); _ = there.Close() }()
	_, _ = io.Copy(c, there)
}

func (p *proxy) take(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
	if !p.plugged {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	return p.plugged
}

// pull cuts what is connected and lets nobody through until plug.
func (p *proxy) pull() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plugged = false
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

func (p *proxy) plug() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plugged = true
}
