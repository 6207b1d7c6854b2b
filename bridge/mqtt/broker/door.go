package broker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
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
	go b.serve(p)
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

// serve runs p's connection to its end.
func (b *Broker) serve(p *peer) {
	defer b.leave(p)
	c := newConn(b, p)
	defer c.rescue()
	defer c.depart()
	defer c.rescue()
	if p.role != gateway {
		if err := p.readConnect(); err != nil {
			if len(p.head) == 0 && errors.Is(err, io.EOF) {
				return // somebody looked whether the port answers, as hearthgate doctor does
			}
			b.refused.Add(1)
			b.say(&b.strangers, "refused an MQTT client before it was one", "address", p.address, "error", err)
			return
		}
	}
	if c.greet() != nil {
		return // and said so
	}
	err := c.listen()
	if isMistake(err) {
		b.say(&b.mistakes, "an MQTT client was cut off", "client", c.session.id, "address", p.address, "reason", err)
	}
	c.endNow(reasonOf(err))
}

// peer is a connection with what the door found out about it.
type peer struct {
	net.Conn

	// Set at the door.
	address netip.Addr
	network bool

	// Set by the gatekeeper before there is a session.
	role    role
	account string // of a user

	head []byte // read already, first to be read again; owned by the reader

}

func newPeer(conn net.Conn) *peer { return &peer{Conn: conn} }

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
