package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// heartbeat is how often each idle connection shows that it lives.
const heartbeat = 10 * time.Second

// A resting connection does nothing but show that it lives.
type resting interface {
	idle(beats *atomic.Int64) error // count heartbeats until the link ends
	Close()
}

// A crowd is a server and the way to connect its i-th device.
type crowd struct {
	server  *process
	connect func(i int) (resting, error)
	beat    func(all []resting) (stop func()) // sends heartbeats, where clients do
	ended   atomic.Pointer[error]             // why the first link ended that did
}

// rest is what a run with idle connections measured.
type rest struct {
	memory  float64 // KiB a connection
	connect float64 // µs of the server a connection, when the crowd first came
	beat    float64 // µs of the server a heartbeat
	beats   int64
	storm   float64 // µs of the server a device, when the whole crowd came back
	rate    float64 // and devices a second
	note    string
}

// measure connects n devices, lets them rest for two heartbeats, cuts them all
// and lets them come back at once.
func (c *crowd) measure(n int, window time.Duration) (r rest, err error) {
	c.server.quiet()
	time.Sleep(heartbeat / 2) // garbage of the start
	empty, used := c.server.rss(), c.server.cpu()
	var beats atomic.Int64
	all, err := c.arrive(n, &beats)
	defer func() { closeAll(all) }()
	if err != nil {
		return r, err
	}
	r.connect = micros(c.server.cpu()-used) / float64(n)

	stop := func() {}
	if c.beat != nil {
		stop = c.beat(all)
	}
	time.Sleep(heartbeat / 2) // acknowledgements and garbage of the arrival
	beats.Store(0)
	used = c.server.cpu()
	c.server.window(window)
	time.Sleep(window)
	r.beats, r.beat = beats.Load(), micros(c.server.cpu()-used)
	stop()
	if r.beats == 0 {
		return r, fmt.Errorf("no heartbeat of %d connections in %v", n, window)
	}
	r.beat /= float64(r.beats)
	if err := c.ended.Load(); err != nil {
		return r, fmt.Errorf("an idle connection ended: %w", *err)
	}
	r.memory = (c.server.rss() - empty) / float64(n)

	closeAll(all)
	c.server.quiet() // it takes note
	began, own := time.Now(), cpu(os.Getpid())
	used = c.server.cpu()
	if all, err = c.arrive(n, &beats); err != nil {
		return r, fmt.Errorf("coming back: %w", err)
	}
	took := time.Since(began)
	r.storm, r.rate = micros(c.server.cpu()-used)/float64(n), float64(n)/took.Seconds()
	r.note = fmt.Sprintf("generator core %.0f %%", 100*(cpu(os.Getpid())-own).Seconds()/took.Seconds())
	return r, nil
}

// arrive connects n devices as fast as the server takes them.
func (c *crowd) arrive(n int, beats *atomic.Int64) ([]resting, error) {
	return connectAll(n, func(i int) (resting, error) {
		d, err := c.connect(i)
		if err == nil {
			go func() {
				err := d.idle(beats)
				c.ended.CompareAndSwap(nil, &err)
			}()
		}
		return d, err
	})
}

// beatMQTT sends each client's PINGREQ once a heartbeat, spread evenly.
func beatMQTT(all []resting) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		began := time.Now()
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			case <-time.After(time.Until(began.Add(time.Duration(i) * heartbeat / time.Duration(len(all))))):
				all[i%len(all)].(*mqttDevice).ping()
			}
		}
	}()
	return func() { close(ended); <-done }
}

// links compares memory, heartbeats and reconnects of many idle connections.
func links(b *bench) error {
	for _, secure := range []bool{false, true} {
		theirs, err := b.mosquittoRest(secure)
		if err != nil {
			return fmt.Errorf("mosquitto, %s: %w", scheme(secure), err)
		}
		ours, err := b.gatewayRest(secure)
		if err != nil {
			return fmt.Errorf("gateway, %s: %w", scheme(secure), err)
		}
		b.compareRests(secure, ours, theirs)
	}
	return nil
}

func (b *bench) compareRests(secure bool, ours, theirs rest) {
	what := fmt.Sprintf("%d %s links, ", b.connections, scheme(secure))
	memory := line{What: what + "memory each", Ours: ours.memory, Peer: theirs.memory, Unit: "KiB",
		Ship: atMost(1.5), Goal: atMost(1)}
	storm := line{What: what + "reconnect storm, CPU a device", Ours: ours.storm, Peer: theirs.storm, Unit: "µs",
		Note: fmt.Sprintf("%.0f and %.0f devices/s, %s", ours.rate, theirs.rate, ours.note)}
	if secure {
		memory.Ship, memory.Goal = atMost(1.2), atMost(0.75)
		storm.Ship, storm.Goal = atMost(0.4), atMost(0.25)
	}
	b.report.add(memory)
	b.report.add(line{What: what + "CPU a heartbeat", Ours: ours.beat, Peer: theirs.beat, Unit: "µs",
		Ship: atMost(0.2), Goal: atMost(0.1), Note: fmt.Sprintf("%d and %d heartbeats", ours.beats, theirs.beats)})
	b.report.add(line{What: what + "first connect, CPU a device", Ours: ours.connect, Peer: theirs.connect, Unit: "µs"})
	b.report.add(storm)
}

// restFor is how long heartbeats are counted: two rounds of them.
func (b *bench) restFor() time.Duration {
	if b.quick {
		return heartbeat
	}
	return 2 * heartbeat
}

// gatewayRest measures links of devices that the gateway knows: they have been
// there before, described themselves and were announced to MQTT, and then the
// gateway was started anew. So what is measured is the links alone.
func (b *bench) gatewayRest(secure bool) (r rest, err error) {
	err = b.inDir(func(dir string) error {
		credentials, err := b.introduce(dir)
		if err != nil {
			return err
		}
		g, err := b.startGateway(dir, "--device.heartbeat", heartbeat.String())
		if err != nil {
			return err
		}
		defer g.stop()
		if err := g.ready(); err != nil {
			return err
		}
		c := crowd{server: g.process, connect: func(i int) (resting, error) {
			return connectDevice(g.target(secure), credentials[i])
		}}
		r, err = c.measure(b.connections, b.restFor())
		return err
	})
	return r, err
}

// introduce lets all devices describe themselves once to a gateway in dir.
func (b *bench) introduce(dir string) ([]credential, error) {
	g, err := b.startGateway(dir)
	if err != nil {
		return nil, err
	}
	defer g.stop()
	if err := g.ready(); err != nil {
		return nil, err
	}
	credentials, err := g.enrol(b.connections)
	if err != nil {
		return nil, err
	}
	all, err := connectAll(b.connections, func(i int) (*device, error) {
		return connectDevice(g.plain, credentials[i])
	})
	if err != nil {
		return nil, err
	}
	g.quiet() // until it has taken in all descriptions
	closeAll(all)
	return credentials, nil
}

func (b *bench) mosquittoRest(secure bool) (r rest, err error) {
	err = b.withMosquitto(secure, "", func(m *mosquitto) error {
		c := crowd{server: m.process, beat: beatMQTT, connect: func(i int) (resting, error) {
			return connectMQTTDevice(m.devices, fmt.Sprintf("sim-%d", i))
		}}
		r, err = c.measure(b.connections, b.restFor())
		return err
	})
	return r, err
}
