package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// commandRate is how many commands are pushed a second.
const commandRate = 500

// A controller pushes commands over MQTT at a steady rate and times how long
// each takes until its outcome is published. It has two connections, so that
// each has one reader and one writer.
type controller struct {
	push, hear *mqttClient
	topic      func(i int) string // the command topic of the i-th device
	took       []time.Duration    // by command, 0 = no outcome; the listener's until close
	answered   atomic.Int64
	refused    atomic.Int64 // outcomes other than ok
	hearing    sync.WaitGroup
}

func newController(t target, results string, n int, topic func(i int) string) (*controller, error) {
	push, err := dialMQTT(t, "bench-push", cleanSession, mqttBuffer)
	if err != nil {
		return nil, err
	}
	hear, err := dialMQTT(t, "bench-hear", cleanSession, 64<<10)
	if err != nil {
		push.Close()
		return nil, err
	}
	c := &controller{push: push, hear: hear, topic: topic,
		took: make([]time.Duration, n)}
	if err := hear.subscribe(results); err != nil {
		c.close()
		return nil, err
	}
	c.hearing.Add(2)
	go c.discard()
	go c.listen()
	return c, nil
}

func (c *controller) close() {
	c.push.Close()
	c.hear.Close()
	c.hearing.Wait()
}

// discard reads the PUBACKs.
func (c *controller) discard() {
	defer c.hearing.Done()
	for {
		if _, _, err := c.push.next(); err != nil {
			return
		}
	}
}

// listen takes the outcomes.
func (c *controller) listen() {
	defer c.hearing.Done()
	for {
		head, body, err := c.hear.next()
		if err != nil {
			return
		}
		if head>>4 == packetPublish {
			now := time.Now()
			_, id, payload := published(body)
			c.hear.acknowledge(id)
			c.outcome(payload, now)
		}
		if !c.hear.more() && c.hear.Flush() != nil {
			return
		}
	}
}

// outcome reads the number of the command and the moment of its push from the id.
func (c *controller) outcome(payload []byte, now time.Time) {
	_, rest, _ := bytes.Cut(payload, []byte(`"id":"`))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	number, moment, _ := bytes.Cut(id, []byte("-"))
	i, err1 := strconv.Atoi(string(number))
	at, err2 := strconv.ParseInt(string(moment), 10, 64)
	if err1 != nil || err2 != nil || i >= len(c.took) || c.took[i] != 0 {
		return
	}
	c.took[i] = now.Sub(time.Unix(0, at))
	if !bytes.Contains(payload, []byte(`"outcome":"ok"`)) {
		c.refused.Add(1)
	}
	c.answered.Add(1)
}

// run pushes all commands at the rate, round robin over the devices, and waits
// a little for the last outcomes.
func (c *controller) run(devices int) error {
	began := time.Now()
	for i := range c.took {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / commandRate)))
		c.push.publish(c.topic(i%devices), fmt.Appendf(nil,
			`{"id":"%d-%d","set":{"relay":%t}}`, i, time.Now().UnixNano(), i/devices%2 == 0))
		if err := c.push.Flush(); err != nil {
			return err
		}
	}
	for end := time.Now().Add(5 * time.Second); c.answered.Load() < int64(len(c.took)) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// A roundTrip is what one run of commands measured.
type roundTrip struct {
	p50, p99, cpu float64 // µs; cpu of all servers, a command
	bad           int64   // commands without an outcome, or with another than ok
	generator     float64
}

// time runs commands against the servers, the first second as warm-up.
func (c *controller) time(devices int, servers ...*process) (roundTrip, error) {
	used := func() (d time.Duration) {
		for _, p := range servers {
			d += p.cpu()
		}
		return d
	}
	began, before, own := time.Now(), used(), cpu(os.Getpid())
	servers[0].window(time.Duration(len(c.took)) * time.Second / commandRate)
	if err := c.run(devices); err != nil {
		return roundTrip{}, err
	}
	n, took := len(c.took), time.Since(began)
	r := roundTrip{cpu: micros(used()-before) / float64(n),
		generator: (cpu(os.Getpid()) - own).Seconds() / took.Seconds()}
	c.close()
	r.bad = int64(n) - c.answered.Load() + c.refused.Load()
	all := slices.DeleteFunc(c.took[min(commandRate, n/2):], func(d time.Duration) bool { return d == 0 })
	if len(all) == 0 {
		return r, fmt.Errorf("no command of %d had an outcome", n)
	}
	slices.Sort(all)
	r.p50, r.p99 = micros(all[len(all)/2]), micros(all[len(all)*99/100])
	return r, nil
}

// commands compares the round trip of a command, MQTT -> device -> MQTT.
func commands(b *bench) error {
	direct, err := b.directRoundTrip()
	if err != nil {
		return fmt.Errorf("mosquitto direct: %w", err)
	}
	embedded, err := b.embeddedRoundTrip()
	if err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	b.compareRoundTrips("command, embedded broker", embedded, direct, 1.1, 1)
	external, err := b.externalRoundTrip()
	if err != nil {
		return fmt.Errorf("external mosquitto: %w", err)
	}
	b.compareRoundTrips("command, through mosquitto", external, direct, 2, 1.6)
	return nil
}

func (b *bench) compareRoundTrips(what string, ours, direct roundTrip, ship, goal float64) {
	note := fmt.Sprintf("%d/s; peer: mosquitto direct; generator core %.0f %%", commandRate, 100*ours.generator)
	if ours.bad > 0 {
		note += fmt.Sprintf("; %d WITHOUT the outcome ok", ours.bad)
	}
	add := func(suffix string, ours, peer float64, ship, goal bound) {
		b.report.add(line{What: what + suffix, Ours: ours, Peer: peer, Unit: "µs",
			Ship: ship, Goal: goal, Note: note})
	}
	add(", p50", ours.p50, direct.p50, atMost(ship), atMost(goal))
	add(", p99", ours.p99, direct.p99, atMost(ship), atMost(goal))
	add(", CPU", ours.cpu, direct.cpu, bound{}, bound{})
}

// pushes is how many commands a run pushes: a second to warm up, then the window.
func (b *bench) pushes() int { return commandRate + int(b.window.Seconds()*commandRate) }

// directRoundTrip: the devices are MQTT clients over WebSocket that answer.
func (b *bench) directRoundTrip() (r roundTrip, err error) {
	err = b.withMosquitto(false, "", func(m *mosquitto) error {
		name := func(i int) string { return fmt.Sprintf("sim-%d", i) }
		devices, err := connectAll(b.devices, func(i int) (*mqttDevice, error) {
			d, err := connectMQTTDevice(m.devices, name(i))
			if err != nil {
				return nil, err
			}
			if err := d.subscribe("command/" + name(i)); err != nil {
				d.Close()
				return nil, err
			}
			go d.answer()
			return d, nil
		})
		if err != nil {
			return err
		}
		defer closeAll(devices)
		c, err := newController(m.mqtt, "bench/+/result", b.pushes(), func(i int) string { return "command/" + name(i) })
		if err != nil {
			return err
		}
		r, err = c.time(b.devices, m.process)
		return err
	})
	return r, err
}

func (b *bench) embeddedRoundTrip() (r roundTrip, err error) {
	err = b.withGateway(func(g *gateway) error {
		r, err = b.roundTrip(g, g.mqtt, g.process)
		return err
	})
	return r, err
}

func (b *bench) externalRoundTrip() (r roundTrip, err error) {
	err = b.withMosquitto(false, "", func(m *mosquitto) error {
		return b.withGateway(func(g *gateway) error {
			r, err = b.roundTrip(g, m.mqtt, g.process, m.process)
			return err
		}, "--mqtt.broker", "mqtt://"+m.mqtt.address)
	})
	return r, err
}

func (b *bench) roundTrip(g *gateway, broker target, servers ...*process) (roundTrip, error) {
	credentials, err := g.enrol(b.devices)
	if err != nil {
		return roundTrip{}, err
	}
	devices, err := connectAll(b.devices, func(i int) (*device, error) {
		d, err := connectDevice(g.plain, credentials[i])
		if err == nil {
			go d.answer()
		}
		return d, err
	})
	if err != nil {
		return roundTrip{}, err
	}
	defer closeAll(devices)
	if err := bridgeOnline(broker); err != nil {
		return roundTrip{}, err
	}
	c, err := newController(broker, "hearthgate/device/+/result", b.pushes(), func(i int) string {
		return "hearthgate/device/" + credentials[i].ID + "/command"
	})
	if err != nil {
		return roundTrip{}, err
	}
	return c.time(b.devices, servers...)
}
