package main

import (
	"context"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// chaos is bad weather: every link has a fault waiting for it, devices lose
// power, and some have a wrong clock. The same seed gives the same faults in
// the same order to each device; when they strike depends on the run.
type chaos struct {
	gentle bool // nothing may be lost: restarts keep what is not acknowledged

	mu     sync.Mutex // guards the rest
	rng    *rand.Rand
	tally  map[string]int
	clocks map[string]time.Duration // how wrong a device's clock is
	links  map[*faulty]bool
	calmed bool
	seed   uint64
}

// The weather: means of what is drawn for each link and each device.
const (
	linkLife     = 15 * time.Second // until a link's fault strikes
	powerLife    = 45 * time.Second // of a device, until it restarts
	slowRead     = 300 * time.Millisecond
	slowFor      = 10 * time.Second
	chaosBeat    = 10 * time.Second // heartbeat, so that a half-open link is soon found
	duplicatesIn = 20               // one of so many frames goes twice
	misdatedIn   = 4                // one of so many reports of a wrong clock says when
)

func newChaos(seed uint64, gentle bool) *chaos {
	return &chaos{
		gentle: gentle, seed: seed, rng: rand.New(rand.NewPCG(seed, 99)),
		tally: map[string]int{}, clocks: map[string]time.Duration{}, links: map[*faulty]bool{},
	}
}

// happens counts a fault, unless the weather is good again.
func (c *chaos) happens(fault string) bool { return c.strike(fault, func() {}) }

// strike does so, and brings the fault about before the weather can turn.
func (c *chaos) strike(fault string, f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calmed {
		return false
	}
	c.tally[fault]++
	f()
	return true
}

func (c *chaos) counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.tally)
}

// disturb puts faults between a device and its gateway.
func (c *chaos) disturb(id string, cfg *client.Config) {
	h := fnv.New64a()
	h.Write([]byte(id))
	rng := rand.New(rand.NewPCG(c.seed, h.Sum64()))
	cfg.Heartbeat = chaosBeat
	if !c.gentle && rng.IntN(4) == 0 {
		wrong := time.Duration(rng.Int64N(int64(4*time.Hour))) - 2*time.Hour
		c.mu.Lock()
		c.clocks[id] = wrong
		c.tally["wrong clock"]++
		c.mu.Unlock()
		cfg.Clock = func() time.Time { return time.Now().Add(wrong) }
	}
	plain := cfg.Options
	cfg.Dial = func(ctx context.Context) (net.Conn, error) { // one at a time for each device
		conn, err := plain.DialNet(ctx)
		if err != nil {
			return nil, err
		}
		f := &faulty{Conn: conn, chaos: c, rng: rng, ended: make(chan struct{})}
		c.mu.Lock()
		c.links[f] = true // first, so that calm finds it
		f.strike(rng)
		c.mu.Unlock()
		return f, nil
	}
}

// calm ends the bad weather, so that the last acks can come: no fault strikes
// any more, and links that hang are cut.
func (c *chaos) calm() {
	c.mu.Lock()
	c.calmed = true
	var hanging []*faulty
	for f := range c.links {
		f.slow.Store(0)
		if f.dark.Load() {
			hanging = append(hanging, f)
		}
	}
	c.mu.Unlock()
	for _, f := range hanging {
		f.Close()
	}
}

// misdate gives some reports of a device with a wrong clock their wrong time.
func (c *chaos) misdate(id string, now time.Time, records []protocol.Record) []protocol.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	wrong, is := c.clocks[id]
	if !is || c.rng.IntN(misdatedIn) > 0 {
		return records
	}
	c.tally["wrong time"]++
	for i := range records {
		records[i].Time, records[i].Absolute = now.Add(wrong).UnixNano(), true
	}
	return records
}

// run takes the power from devices until ctx ends.
func (c *chaos) run(ctx context.Context, devices []*client.Device) {
	for {
		c.mu.Lock()
		wait := time.Duration(c.rng.ExpFloat64() * float64(powerLife) / float64(len(devices)))
		d := devices[c.rng.IntN(len(devices))]
		memory := client.Memory(c.rng.IntN(3))
		c.mu.Unlock()
		if c.gentle {
			memory = client.KeepSpool
		}
		if !pause(ctx, max(wait, time.Millisecond)) {
			return
		}
		c.happens([]string{"restart", "restart with spool", "restart with undated spool"}[memory])
		d.Restart(memory)
	}
}

// faulty is a connection with a fault waiting for it.
type faulty struct {
	net.Conn
	chaos *chaos
	rng   *rand.Rand // owned by the writer once the link is up

	dark   atomic.Bool  // half-open: nothing gets through, and nobody says so
	slow   atomic.Int64 // until when reads are slow, ns since 1970
	frames int          // binary messages written; owned by the writer

	close sync.Once
	ended chan struct{}
	timer *time.Timer
}

// strike draws the link's fault, and when it comes.
func (f *faulty) strike(rng *rand.Rand) {
	life := time.Duration(rng.ExpFloat64() * float64(linkLife))
	fault := rng.IntN(3)
	f.timer = time.AfterFunc(life, func() { f.fail(fault) })
}

// fail lets a fault strike.
func (f *faulty) fail(fault int) {
	f.chaos.strike([]string{"drop", "half-open", "slow reader"}[fault], func() {
		switch fault {
		case 0:
			f.Conn.Close()
		case 1:
			f.dark.Store(true)
		case 2:
			f.slow.Store(time.Now().Add(slowFor).UnixNano())
		}
	})
}

func (f *faulty) Read(b []byte) (int, error) {
	if time.Now().UnixNano() < f.slow.Load() {
		select {
		case <-time.After(slowRead):
		case <-f.ended:
		}
		b = b[:min(len(b), 16)]
	}
	n, err := f.Conn.Read(b)
	if f.dark.Load() {
		<-f.ended
		return 0, net.ErrClosed
	}
	return n, err
}

// Write sends some frames twice. gws writes each frame with one call, so its
// bytes are a whole message (0x82: binary, RFC 6455 §5.2); the hello, which may
// come only once, is the first.
func (f *faulty) Write(b []byte) (int, error) {
	if f.dark.Load() {
		return len(b), nil
	}
	n, err := f.Conn.Write(b)
	if err != nil || len(b) == 0 || b[0] != 0x82 {
		return n, err
	}
	if f.frames++; f.frames > 1 && f.rng.IntN(duplicatesIn) == 0 {
		if !f.chaos.happens("duplicate") {
			return n, nil
		}
		if _, err := f.Conn.Write(b); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (f *faulty) Close() error {
	f.close.Do(func() {
		close(f.ended)
		f.timer.Stop()
		f.chaos.mu.Lock()
		delete(f.chaos.links, f)
		f.chaos.mu.Unlock()
	})
	return f.Conn.Close()
}
