package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// Packet types of MQTT 3.1.1 §2.2.1.
const (
	packetConnect   = 1
	packetConnack   = 2
	packetPublish   = 3
	packetPuback    = 4
	packetSubscribe = 8
	packetSuback    = 9
	packetPingreq   = 12
	packetPingresp  = 13
)

// An mqttClient speaks as much MQTT 3.1.1 as the measurements need, at QoS 1.
// What it sends is gathered until flush.
type mqttClient struct {
	*link
	in   *bufio.Reader
	held int // bytes of in that the last packet still occupies
	id   uint16
	out  []byte // one packet being built
}

// mqttBuffer is the read buffer of a client that waits for little.
const mqttBuffer = 512

// What a broker may forget when a client leaves (MQTT 3.1.1 §3.1.2.4).
const (
	cleanSession = 2
	keptSession  = 0
)

// dialMQTT connects with no keep-alive, so that the only heartbeats are those
// that a measurement sends.
func dialMQTT(t target, name string, session byte, buffer int) (*mqttClient, error) {
	l, err := dial(t, buffer)
	if err != nil {
		return nil, err
	}
	c := newMQTTClient(l, buffer)
	body := append(text(nil, "MQTT"), 4, session, 0, 0)
	c.send(packetConnect<<4, text(body, name))
	if err := c.expect(packetConnack); err != nil {
		l.Close()
		return nil, fmt.Errorf("connect to the broker at %s: %w", t.address, err)
	}
	return c, nil
}

func newMQTTClient(l *link, buffer int) *mqttClient {
	return &mqttClient{link: l, in: bufio.NewReaderSize(l, buffer)}
}

func (c *mqttClient) subscribe(filter string) error {
	const qos = 1
	c.send(packetSubscribe<<4|2, append(text(c.nextID(), filter), qos))
	return c.expect(packetSuback)
}

// publish queues a message and leaves its acknowledgement to the reader.
func (c *mqttClient) publish(topic string, payload []byte) {
	c.send(packetPublish<<4|1<<1, text(nil, topic), c.nextID(), payload)
}

func (c *mqttClient) acknowledge(id []byte) { c.send(packetPuback<<4, id) }

func (c *mqttClient) ping() error {
	c.send(packetPingreq << 4)
	return c.Flush()
}

// next is the next packet: its first byte and what follows the length. It is
// valid until the call after.
func (c *mqttClient) next() (head byte, body []byte, err error) {
	c.in.Discard(c.held)
	c.held = 0
	for n := 2; ; n++ {
		b, err := c.in.Peek(n)
		if err != nil {
			return 0, nil, err
		}
		if b[n-1] >= 0x80 {
			continue
		}
		size, used := binary.Uvarint(b[1:])
		whole, err := c.in.Peek(1 + used + int(size))
		if err != nil {
			return 0, nil, err
		}
		c.held = len(whole)
		return whole[0], whole[1+used:], nil
	}
}

// more reports whether a packet can be had without waiting for the network.
func (c *mqttClient) more() bool { return c.in.Buffered() > c.held }

func (c *mqttClient) expect(kind byte) error {
	if err := c.Flush(); err != nil {
		return err
	}
	head, body, err := c.next()
	if err != nil {
		return err
	}
	if head>>4 != kind || kind == packetConnack && body[1] != 0 || kind == packetSuback && body[2] > 1 {
		return fmt.Errorf("expected packet %d, got %d (% x)", kind, head>>4, body)
	}
	return nil
}

func (c *mqttClient) send(head byte, parts ...[]byte) {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	c.out = append(c.out[:0], head)
	c.out = binary.AppendUvarint(c.out, uint64(size))
	for _, p := range parts {
		c.out = append(c.out, p...)
	}
	c.Send(c.out)
}

func (c *mqttClient) nextID() []byte {
	c.id++
	if c.id == 0 {
		c.id = 1
	}
	return []byte{byte(c.id >> 8), byte(c.id)}
}

// bridgeOnline waits until the gateway's bridge is at work at that broker.
func bridgeOnline(t target) error {
	c, err := dialMQTT(t, "bench-wait", cleanSession, maxMessage)
	if err != nil {
		return err
	}
	defer c.Close()
	c.conn.SetDeadline(time.Now().Add(maxHandshake))
	if err := c.subscribe("hearthgate/bridge/state"); err != nil {
		return err
	}
	for {
		_, body, err := c.next()
		if err != nil {
			return fmt.Errorf("waiting for hearthgate/bridge/state: %w", err)
		}
		if bytes.HasSuffix(body, []byte("online")) {
			return nil
		}
	}
}

// published takes the body of a PUBLISH at QoS 1 apart.
func published(body []byte) (topic, id, payload []byte) {
	n := 2 + int(binary.BigEndian.Uint16(body))
	return body[2:n], body[n : n+2], body[n+2:]
}

func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
