package main

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A sender is a device that can be kept busy: of the gateway or of mosquitto.
type sender interface {
	offer(n int)           // queue n messages
	Flush() error          // send what is queued
	settled() (int, error) // wait until the server has acknowledged some
	Close()
}

// A load keeps a number of messages in flight from each of its senders, and
// takes what comes out at the other end.
type load struct {
	sent, acked, received atomic.Int64
	stopping              atomic.Bool
	failed                atomic.Pointer[error]
	senders               sync.WaitGroup
	burst                 bool // frames that may go together go in one write
}

// drive keeps inFlight messages of s unacknowledged until the load stops, then
// waits for the last of them.
func (l *load) drive(s sender, inFlight int) {
	defer l.senders.Done()
	for open, next := 0, inFlight; ; {
		if err := l.send(s, next); err != nil {
			l.fail(err)
			return
		}
		open += next
		if open == 0 {
			return
		}
		n, err := s.settled()
		if err != nil {
			l.fail(err)
			return
		}
		l.acked.Add(int64(n))
		open -= n
		if next = n; l.stopping.Load() {
			next = 0
		}
	}
}

// send sends n messages, each in a write of its own as devices do, which
// measure one thing after the other.
func (l *load) send(s sender, n int) error {
	l.sent.Add(int64(n))
	if l.burst {
		s.offer(n)
		return s.Flush()
	}
	for range n {
		s.offer(1)
		if err := s.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) fail(err error) { l.failed.CompareAndSwap(nil, &err) }

// take is the one MQTT subscriber. It counts and acknowledges.
func (l *load) take(c *mqttClient) {
	for {
		head, body, err := c.next()
		if err != nil {
			return // closed at the end of the run
		}
		if head>>4 == packetPublish {
			_, id, _ := published(body)
			c.acknowledge(id)
			l.received.Add(1)
		}
		if !c.more() && c.Flush() != nil {
			return
		}
	}
}

// A flow is what one run of the load measured.
type flow struct {
	rate       float64 // acknowledged messages a second
	cpu        float64 // µs of the server a message
	server     float64 // share of its core that the server used
	generator  float64 // and the generator
	sent, lost int64   // lost: acknowledged, but not seen by the subscriber
}

// warmUp is how long the load runs before it is measured: descriptions are
// announced to MQTT, heaps and queues find their size.
const warmUp = 2 * time.Second

// drain is how long the subscriber may be behind when the senders stop.
const drain = 30 * time.Second

// measure runs the load against a server for a warm-up and a window.
func (l *load) measure(p *process, senders []sender, inFlight int, window time.Duration) (flow, error) {
	for _, s := range senders {
		l.senders.Add(1)
		go l.drive(s, inFlight)
	}
	time.Sleep(warmUp)
	began, acked, server, own := time.Now(), l.acked.Load(), p.cpu(), cpu(os.Getpid())
	p.window(window)
	time.Sleep(window)
	took, n := time.Since(began), float64(l.acked.Load()-acked)
	server, own = p.cpu()-server, cpu(os.Getpid())-own
	l.stopping.Store(true)
	l.senders.Wait()
	if err := l.failed.Load(); err != nil {
		return flow{}, *err
	}
	for end := time.Now().Add(drain); l.received.Load() < l.sent.Load() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n == 0 {
		return flow{}, fmt.Errorf("no message was acknowledged in %v", window)
	}
	return flow{
		rate: n / took.Seconds(), cpu: micros(server) / n,
		server: server.Seconds() / took.Seconds(), generator: own.Seconds() / took.Seconds(),
		sent: l.sent.Load(), lost: l.sent.Load() - l.received.Load(),
	}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// subscribe connects the load's one subscriber.
func (l *load) subscribe(t target, filter string, session byte) (*mqttClient, error) {
	c, err := dialMQTT(t, "bench-subscriber", session, 64<<10)
	if err != nil {
		return nil, err
	}
	if err := c.subscribe(filter); err != nil {
		c.Close()
		return nil, err
	}
	go l.take(c)
	return c, nil
}

// inFlight are the numbers of unacknowledged messages a device that are run.
var inFlight = []int{1, 8, 32}

// telemetry compares rate and CPU a message, over WebSocket plain and secure.
func telemetry(b *bench) error {
	for _, secure := range []bool{false, true} {
		for _, n := range inFlight {
			theirs, err := b.mosquittoFlow(n, secure, "")
			if err != nil {
				return err
			}
			ours, err := b.gatewayFlow(n, secure)
			if err != nil {
				return err
			}
			b.compareFlows(n, secure, ours, theirs)
		}
	}
	for _, n := range inFlight {
		theirs, err := b.mosquittoFlow(n, false, mosquittoSaved)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("mosquitto saving each second, ws, %d in flight", n)
		b.report.add(line{What: what + ", rate", Peer: theirs.rate, Unit: "msg/s", Note: theirs.note()})
		b.report.add(line{What: what + ", CPU a message", Peer: theirs.cpu, Unit: "µs"})
	}
	return nil
}

func (b *bench) compareFlows(n int, secure bool, ours, theirs flow) {
	what := fmt.Sprintf("telemetry %s, %d in flight", scheme(secure), n)
	rate := line{What: what + ", rate", Ours: ours.rate, Peer: theirs.rate, Unit: "msg/s",
		Note: ours.note() + "; peer: " + theirs.note(), Failed: ours.lost > 0}
	used := line{What: what + ", CPU a message", Ours: ours.cpu, Peer: theirs.cpu, Unit: "µs"}
	if n == 8 && !secure { // DESIGN's row
		rate.Ship, rate.Goal = atLeast(1), atLeast(2)
	}
	b.report.add(rate)
	b.report.add(used)
}

func (f flow) note() string {
	s := fmt.Sprintf("server core %.0f %%, generator core %.0f %%", 100*f.server, 100*f.generator)
	if f.generator > 0.95 && f.server < 0.95 {
		s += " (the generator is the limit)"
	}
	if f.lost > 0 {
		s += fmt.Sprintf(", %d of %d NOT SEEN by the subscriber", f.lost, f.sent)
	}
	return s
}

func scheme(secure bool) string {
	if secure {
		return "wss"
	}
	return "ws"
}

// gatewayFlow runs the load against a gateway that commits as fast as the disk.
func (b *bench) gatewayFlow(inFlight int, secure bool) (f flow, err error) {
	err = b.withGateway(func(g *gateway) error {
		f, err = b.loadGateway(g, inFlight, secure)
		return err
	}, "--store.commit", "0", "--device.window", fmt.Sprint(max(16, inFlight)))
	return f, err
}

func (b *bench) loadGateway(g *gateway, inFlight int, secure bool) (flow, error) {
	credentials, err := g.enrol(b.devices)
	if err != nil {
		return flow{}, err
	}
	l := load{burst: b.burst}
	c, err := l.subscribe(g.mqtt, "hearthgate/stream/+", cleanSession)
	if err != nil {
		return flow{}, err
	}
	defer c.Close()
	senders, err := connectAll(b.devices, func(i int) (sender, error) {
		return connectDevice(g.target(secure), credentials[i])
	})
	if err != nil {
		return flow{}, err
	}
	defer closeAll(senders)
	return l.measure(g.process, senders, inFlight, b.window)
}

func (b *bench) mosquittoFlow(inFlight int, secure bool, extra string) (f flow, err error) {
	err = b.withMosquitto(secure, extra, func(m *mosquitto) error {
		session := byte(cleanSession)
		if extra != "" {
			session = keptSession
		}
		l := load{burst: b.burst}
		c, err := l.subscribe(m.mqtt, "bench/+", session)
		if err != nil {
			return err
		}
		defer c.Close()
		senders, err := connectAll(b.devices, func(i int) (sender, error) {
			return connectMQTTDevice(m.devices, fmt.Sprintf("sim-%d", i))
		})
		if err != nil {
			return err
		}
		defer closeAll(senders)
		f, err = l.measure(m.process, senders, inFlight, b.window)
		return err
	})
	return f, err
}
