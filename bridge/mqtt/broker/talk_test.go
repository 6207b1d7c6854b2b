package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// talk is a client that says and reads single packets.
type talk struct {
	t       testing.TB
	conn    net.Conn
	version byte
	patient bool // a socket, whose peer may take some time for each packet
	in      []byte
}

// Parts of packets.
func str(s string) string   { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }
func num16(n uint16) string { return string(binary.BigEndian.AppendUint16(nil, n)) }
func num32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
func block(props string) string {
	return string(appendVarint(nil, len(props))) + props
}
func userProp(k, v string) string { return "\x26" + str(k) + str(v) }

// hello is what a test's CONNECT says beside its defaults.
type hello struct {
	id             string
	resume         bool // not clean
	keepalive      uint16
	props          string
	will, lastWord string
	willProps      string
	willRetain     bool
	user, password string
}

func (h hello) packet(version byte) string {
	name, flags := "MQTT", byte(0)
	if version == v31 {
		name = "MQIsdp"
	}
	tail := ""
	if !h.resume {
		flags |= flagClean
	}
	if h.will != "" {
		flags |= flagWill | 1<<3
		if h.willRetain {
			flags |= flagWillRetain
		}
		if version == v5 {
			tail += block(h.willProps)
		}
		tail += str(h.will) + str(h.lastWord)
	}
	if h.user != "" {
		flags |= flagUser | flagPassword
		tail += str(h.user) + str(h.password)
	}
	if h.keepalive == 0 {
		h.keepalive = 60
	}
	body := str(name) + string([]byte{version}) + string([]byte{flags}) + num16(h.keepalive)
	if version == v5 {
		body += block(h.props)
	}
	return packet(typeConnect<<4, []byte(body+str(h.id)+tail))
}

func (k *talk) say(what string) {
	k.t.Helper()
	if _, err := io.WriteString(k.conn, what); err != nil {
		k.t.Fatalf("say: %v", err)
	}
}

// hear returns the next packet.
func (k *talk) hear() (head byte, body string) {
	k.t.Helper()
	if k.patient {
		k.conn.SetDeadline(time.Now().Add(30 * time.Second))
	}
	for {
		head, body, size, _, err := split(k.in, 1<<28)
		if err != nil {
			k.t.Fatal(err)
		}
		if size > 0 {
			heard := string(body)
			k.in = k.in[size:]
			return head, heard
		}
		chunk := make([]byte, 64<<10)
		n, err := k.conn.Read(chunk)
		if k.in = append(k.in, chunk[:n]...); n == 0 {
			k.t.Fatalf("hear: %v", err)
		}
	}
}

func (k *talk) expect(kind byte, body string) {
	k.t.Helper()
	if head, got := k.hear(); head != kind || got != body {
		k.t.Fatalf("heard %#x %q, want %#x %q", head, got, kind, body)
	}
}

// acked expects the PUBACK of a client that hears what it says itself: the message
// may come before it, and is there for the next to ask.
func (k *talk) acked(id uint16) {
	k.t.Helper()
	head, body := k.hear()
	if head == 0x40 && body == num16(id) {
		return
	}
	k.expect(0x40, num16(id))
	k.in = append([]byte(packet(head, []byte(body))), k.in...)
}

// connect says CONNECT and returns what CONNACK answers.
func (k *talk) connect(h hello) (present bool, code byte, props string) {
	k.t.Helper()
	k.say(h.packet(k.version))
	head, body := k.hear()
	if head != typeConnack<<4 || len(body) < 2 {
		k.t.Fatalf("heard %#x %q, want a CONNACK", head, body)
	}
	if k.version == v5 {
		c := cursor{b: []byte(body[2:])}
		props = string(c.take(c.varint()))
	}
	return body[0] == 1, body[1], props
}

// enter connects and has to get in.
func (k *talk) enter(h hello) (present bool) {
	k.t.Helper()
	present, code, _ := k.connect(h)
	if code != 0 {
		k.t.Fatalf("%+v is refused with %#x", h, code)
	}
	return present
}

// subscribe returns the codes; options are the filter's.
func (k *talk) subscribe(filter string, options byte, props string) string {
	k.t.Helper()
	body := num16(7)
	if k.version == v5 {
		body += block(props)
	}
	k.say(packet(typeSubscribe<<4|2, []byte(body+str(filter)+string([]byte{options}))))
	head, got := k.hear()
	if head != typeSuback<<4 {
		k.t.Fatalf("heard %#x %q, want a SUBACK", head, got)
	}
	return got[len(got)-1:]
}

func (k *talk) publish(qos byte, retain bool, id uint16, topic, props, payload string) {
	k.t.Helper()
	head := byte(typePublish<<4) | qos<<1
	if retain {
		head |= 1
	}
	body := str(topic)
	if qos > 0 {
		body += num16(id)
	}
	if k.version == v5 {
		body += block(props)
	}
	k.say(packet(head, []byte(body+payload)))
}

// said is a PUBLISH that was heard.
type said struct {
	topic, payload string
	qos            byte
	retain, dup    bool
	id             uint16
	props          string
}

func (k *talk) message() (m said) {
	k.t.Helper()
	head, body := k.hear()
	if head>>4 != typePublish {
		k.t.Fatalf("heard %#x %q, want a message", head, body)
	}
	m.qos, m.retain, m.dup = head>>1&3, head&1 != 0, head&8 != 0
	c := cursor{b: []byte(body)}
	m.topic = string(c.binary())
	if m.qos > 0 {
		m.id = c.uint16()
	}
	if k.version == v5 {
		m.props = string(c.take(c.varint()))
	}
	m.payload = string(c.b)
	return m
}

// gets expects a message and acknowledges it at QoS 1.
func (k *talk) gets(want string) said {
	k.t.Helper()
	m := k.message()
	if got := fmt.Sprintf("%s %s q%d", m.topic, m.payload, m.qos); strings.TrimSuffix(got, " ") != want {
		k.t.Fatalf("got %q, want %q", got, want)
	}
	if m.qos == 1 {
		k.say(string(appendAck(nil, k.version, typePuback, m.id, success)))
	}
	return m
}

// nothing expects that no message is on its way: the answer to a ping comes next.
func (k *talk) nothing() {
	k.t.Helper()
	k.say("\xc0\x00")
	k.expect(typePingresp<<4, "")
}

func (k *talk) hangUp() { k.conn.Close() }

// ends expects a DISCONNECT with this code and the end.
func (k *talk) ends(code reason) {
	k.t.Helper()
	if k.version == v5 {
		head, body := k.hear()
		if head != typeDisconnect<<4 || len(body) == 0 || reason(body[0]) != code {
			k.t.Fatalf("heard %#x %q, want DISCONNECT with %#x", head, body, byte(code))
		}
	}
	if n, err := k.conn.Read(make([]byte, 1)); n != 0 || err == nil {
		k.t.Fatal("the connection goes on")
	}
}

// dialer makes connections for one protocol version.
type dialer func(version byte) *talk

func dialTCP(t testing.TB, address string) dialer {
	return func(version byte) *talk {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return &talk{t: t, conn: conn, version: version, patient: true}
	}
}

func dialMemory(t testing.TB, b *Broker) dialer {
	return func(version byte) *talk {
		t.Helper()
		conn, err := b.Dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return &talk{t: t, conn: conn, version: version}
	}
}
