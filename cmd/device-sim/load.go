package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// load feeds devices with small frames: the next as soon as one is settled, or
// at a given rate.
type load struct {
	inflight int
	rate     float64 // of all together, 0 = no limit

	clients []*client.Device
	stop    atomic.Bool
	count   atomic.Int64
}

func (l *load) device(c credential, cfg client.Config) *client.Device {
	settled := cfg.OnSettled
	var d *client.Device
	cfg.Spool = max(4*l.inflight, 64)
	cfg.OnSettled = func(f client.Fate) {
		settled(f)
		if l.rate == 0 && !l.stop.Load() {
			l.report(d)
		}
	}
	d = client.New(cfg)
	l.clients = append(l.clients, d)
	return d
}

// report hands over one frame with one value that changes.
func (l *load) report(d *client.Device) {
	d.Report(protocol.Record{Name: "value", Value: protocol.Float(float64(l.count.Add(1)%10_000)/16 + 0.0625)})
}

func (l *load) run(ctx, hangUp context.Context, _ func()) {
	var lives sync.WaitGroup
	for _, d := range l.clients {
		lives.Go(func() { d.Run(hangUp) })
	}
	if l.rate > 0 {
		l.pace(ctx)
	} else {
		for _, d := range l.clients {
			for range l.inflight {
				l.report(d)
			}
		}
		<-ctx.Done()
	}
	l.stop.Store(true)
	lives.Wait()
}

// pace reports at the rate, each device in its turn. A device that has its
// share un-acked is passed over: the gateway is then slower than the rate.
func (l *load) pace(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began, sent := time.Now(), 0.0
	for next := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := time.Since(began).Seconds() * l.rate; sent < due; sent++ {
			if d := l.clients[next%len(l.clients)]; d.Pending() < l.inflight {
				l.report(d)
			}
			next++
		}
	}
}
