package main

import "sync/atomic"

// A mqttDevice is what a device would be without a gateway: an MQTT client that
// publishes its frames to mosquitto at QoS 1 and waits for each PUBACK.
type mqttDevice struct {
	*mqttClient
	topic string
	seq   uint64
	frame []byte
}

func connectMQTTDevice(t target, id string) (*mqttDevice, error) {
	c, err := dialMQTT(t, id, cleanSession, mqttBuffer)
	if err != nil {
		return nil, err
	}
	return &mqttDevice{mqttClient: c, topic: "bench/" + id}, nil
}

// offer queues n messages: the bytes that a device sends to the gateway too.
func (d *mqttDevice) offer(n int) {
	for range n {
		d.seq++
		d.frame = appendTelemetry(d.frame[:0], d.seq)
		d.publish(d.topic, d.frame)
	}
}

// settled waits for PUBACKs and says how many came.
func (d *mqttDevice) settled() (int, error) {
	n := 0
	for n == 0 || d.more() {
		head, _, err := d.next()
		if err != nil {
			return n, err
		}
		if head>>4 == packetPuback {
			n++
		}
	}
	return n, nil
}

// answer carries out commands until the link ends. What it sends back reads as
// an outcome of the gateway's.
func (d *mqttDevice) answer() error {
	for {
		head, body, err := d.next()
		if err != nil {
			return err
		}
		if head>>4 == packetPublish {
			_, id, payload := published(body)
			d.acknowledge(id)
			d.publish(d.topic+"/result", append([]byte(`{"outcome":"ok",`), payload[1:]...))
			if err := d.Flush(); err != nil {
				return err
			}
		}
	}
}

// idle counts the answers to its pings; see beat.
func (d *mqttDevice) idle(beats *atomic.Int64) error {
	for {
		head, _, err := d.next()
		if err != nil {
			return err
		}
		if head>>4 == packetPingresp {
			beats.Add(1)
		}
	}
}
