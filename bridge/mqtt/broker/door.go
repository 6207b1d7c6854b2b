package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// admit takes a new connection in, if there is room, and serves it.
func (b *Broker) admit(conn net.Conn) {
	p := newPeer(conn)
	p.address = addressOf(conn)
	p.network = !b.opts.isLocal(p.address)
	if !b.enter(p) {
		b.refused.Add(1)
		b.say(&b.full, "refused an MQTT client: too many connections", "address", p.address)
		_ = conn.Close()
		return
	}
	go func() {
		if err := p.readConnect(); err != nil {
			b.refused.Add(1)
			b.say(&b.strangers, "refused an MQTT client before it was one", "address", p.address, "error", err)
			b.leave(p)
			return
		}
		b.serve(p)
	}()
}

// addressOf is who counts as one address: a host's IPv4 address, or its network
// of 64 bits, since every IPv6 host has as many addresses as it likes.
func addressOf(conn net.Conn) netip.Addr {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is4() || addr.IsLoopback() {
		return addr
	}
	if net64, err := addr.Prefix(64); err == nil {
		return net64.Addr()
	}
	return addr
}

// enter counts p in, or says that there is no room. The gateway has always room.
func (b *Broker) enter(p *peer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
		return false
	default:
	}
	if p.role != gateway && len(b.peers) >= maxClients {
		return false
	}
	if p.network {
		if b.network >= maxNetworkClients || b.fromAddress[p.address] >= maxPerAddress {
			return false
		}
		b.network++
		b.fromAddress[p.address]++
	}
	b.peers[p] = struct{}{}
	b.serving.Add(1)
	return true
}

// leave closes p and counts it out.
func (b *Broker) leave(p *peer) {
	_ = p.Close() // it may be closed already
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.peers, p)
	if p.network {
		b.network--
		if b.fromAddress[p.address]--; b.fromAddress[p.address] == 0 {
			delete(b.fromAddress, p.address)
		}
	}
	b.serving.Done()
}

// serve runs p's session to its end.
func (b *Broker) serve(p *peer) {
	defer b.leave(p)
	defer func() {
		// A packet that trips the broker's decoder must cost one client, not the home.
		if fault := recover(); fault != nil {
			b.log.Error("an MQTT client made the broker stumble", "address", p.address, "panic", fault)
		}
	}()
	// Each end of a connection comes as an error; the gatekeeper has logged it.
	_ = b.server.EstablishConnection("mqtt", p)
}

// peer is a connection with what the door found out about it. It is what the
// broker sees as its net.Conn, so that the gatekeeper finds it there again.
type peer struct {
	net.Conn

	// Set at the door.
	address netip.Addr
	network bool

	// Set by the gatekeeper before the client is known to others.
	role    role
	account string // of a user

	head []byte // read already, first to be read again; owned by the reader

	unacked atomic.Int64 // bytes that its session holds, about
	weighed atomic.Int64 // messages that it held when that was last right

	pace pace
	gone chan struct{} // closed by Close
	once sync.Once
}

func newPeer(conn net.Conn) *peer {
	return &peer{Conn: conn, gone: make(chan struct{})}
}

// Close is called by whoever is first to know that the client is gone.
func (p *peer) Close() error {
	p.once.Do(func() { close(p.gone) })
	return p.Conn.Close()
}

var errNotMQTT = errors.New("it did not begin with an MQTT CONNECT")

// readConnect reads the whole CONNECT packet within the time for it, before the
// broker sets anything aside for the client. Its buffer grows with what really
// came, not with what was promised.
func (p *peer) readConnect() error {
	if err := p.Conn.SetReadDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	need, chunk := 2, make([]byte, 512)
	for len(p.head) < need {
		n, err := p.Conn.Read(chunk)
		p.head = append(p.head, chunk[:n]...)
		if need, err = connectLength(p.head, need, err); err != nil {
			return err
		}
	}
	return nil
}

// connectLength returns how long a packet that begins with head is at least.
func connectLength(head []byte, need int, err error) (int, error) {
	if len(head) > 0 && head[0] != 0x10 {
		return 0, errNotMQTT
	}
	length := 0
	for i := 1; i < len(head); i++ { // MQTT 3.1.1 §2.2.3
		if i > 4 {
			return 0, errNotMQTT
		}
		length |= int(head[i]&0x7f) << (7 * (i - 1))
		if head[i]&0x80 == 0 {
			if need = 1 + i + length; need > maxConnect {
				return 0, fmt.Errorf("its CONNECT has %d bytes, more than %d", need, maxConnect)
			}
			break
		}
		need = i + 2
	}
	if len(head) < need && err != nil {
		return 0, fmt.Errorf("CONNECT was not complete within %v: %w", connectTimeout, err)
	}
	return need, nil
}

func (p *peer) Read(b []byte) (int, error) {
	if len(p.head) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.head)
	if p.head = p.head[n:]; len(p.head) == 0 {
		p.head = nil
	}
	return n, nil
}

// Write gives a client limited time to take what it asked for. After an error
// the stream may end within a packet, so that is its end.
func (p *peer) Write(b []byte) (int, error) {
	if p.role != gateway {
		if err := p.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return 0, err
		}
	}
	n, err := p.Conn.Write(b)
	if err != nil {
		_ = p.Close()
	}
	return n, err
}

// SetDeadline is how the broker says for how long a client may be silent; Write
// has its own.
func (p *peer) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }
