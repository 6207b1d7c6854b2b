package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// start compares the time from exec to the first session, with a store that is
// new, used and filled, after a clean end and after a kill, and memory at rest.
func start(b *bench) error {
	peer, rest, err := b.mosquittoStart()
	if err != nil {
		return fmt.Errorf("mosquitto: %w", err)
	}
	return b.inDir(func(dir string) error {
		g, err := b.startGateway(dir)
		if err != nil {
			return err
		}
		defer func() { g.kill() }()
		if err := g.ready(); err != nil {
			return err
		}
		b.report.add(line{What: "first start ever, CA made, to listening", Ours: millis(time.Since(g.began)), Unit: "ms"})
		credentials, err := g.enrol(fillers)
		if err != nil {
			return err
		}
		again := func(what string, end func()) error {
			took, err := b.repeatStart(func() (*process, time.Duration, error) {
				end()
				if g, err = b.startGateway(dir); err != nil {
					return nil, 0, err
				}
				took, err := firstSession(g.process, func() (resting, error) { return connectDevice(g.plain, credentials[0]) })
				return g.process, took, err
			})
			b.report.add(line{What: what, Ours: took, Peer: peer, Unit: "ms", Ship: atMost(0.5), Goal: atMost(0.3)})
			return err
		}
		if err := again("start to first session, small store", func() { g.stop() }); err != nil {
			return err
		}
		b.addRest(g, rest, "memory at rest")
		size, err := b.fill(g, credentials)
		if err != nil {
			return fmt.Errorf("fill the store: %w", err)
		}
		what := fmt.Sprintf("start to first session, %d MiB of data", size>>20)
		if err := again(what, func() { g.stop() }); err != nil {
			return err
		}
		b.addRest(g, rest, fmt.Sprintf("memory at rest, %d MiB of data", size>>20))
		return again(what+", after kill -9", func() { g.kill() })
	})
}

// addRest reports the memory of a gateway without devices, once it is quiet.
func (b *bench) addRest(g *gateway, peer float64, what string) {
	time.Sleep(b.pause())
	b.report.add(line{What: what, Ours: g.rss() / 1024, Peer: peer, Unit: "MiB", Ship: atMost(2), Goal: atMost(1.5)})
}

// pause is how long a server is left alone before its memory is read.
func (b *bench) pause() time.Duration {
	if b.quick {
		return time.Second
	}
	return 10 * time.Second
}

func (b *bench) mosquittoStart() (start, rest float64, err error) {
	err = b.inDir(func(dir string) error {
		var last *process
		start, err = b.repeatStart(func() (*process, time.Duration, error) {
			if last != nil {
				last.stop()
			}
			m, err := b.startMosquitto(dir, false, "")
			if err != nil {
				return nil, 0, err
			}
			last = m.process
			// Over its plain listener: a lone WebSocket client waits 100 ms or more
			// for mosquitto's loop, which is not start-up.
			took, err := firstSession(m.process, func() (resting, error) { return connectMQTTDevice(m.mqtt, "sim-1") })
			return m.process, took, err
		})
		if last != nil {
			time.Sleep(b.pause())
			rest = last.rss() / 1024
			last.stop()
		}
		return err
	})
	return start, rest, err
}

// repeatStart is the median of some starts, in ms.
func (b *bench) repeatStart(once func() (*process, time.Duration, error)) (float64, error) {
	n := 7
	if b.quick {
		n = 3
	}
	var all []time.Duration
	for range n {
		_, took, err := once()
		if err != nil {
			return 0, err
		}
		all = append(all, took)
	}
	return millis(median(all)), nil
}

// firstSession tries to connect until it is let in.
func firstSession(p *process, connect func() (resting, error)) (time.Duration, error) {
	for {
		d, err := connect()
		if err == nil {
			took := time.Since(p.began)
			d.Close()
			return took, nil
		}
		if gone := p.wait(500 * time.Microsecond); gone != nil {
			return 0, fmt.Errorf("%w (%w)", gone, err)
		}
	}
}

// A filler is a device with many values, to make a store large.
type filler struct{ *device }

// fillers is how many of them there are, fillValues what each has a frame.
const fillers, fillValues = 16, 50

// offer queues n frames of values that a store cannot make small.
func (f filler) offer(n int) {
	var records [fillValues]protocol.Record
	for range n {
		f.seq++
		for i := range records {
			records[i].Name = fmt.Sprintf("value%d", i)
			records[i].Value = protocol.Float(rand.Float64())
		}
		f.frame = protocol.Append(f.frame[:0], &protocol.Telemetry{Seq: f.seq, Records: records[:]})
		f.Send(f.frame)
	}
}

// fill sends telemetry until the store is as large as asked for, or the time
// for it is over. It says how large it became.
func (b *bench) fill(g *gateway, credentials []credential) (size int64, err error) {
	senders, err := connectAll(fillers, func(i int) (sender, error) {
		d, err := connectDevice(g.plain, credentials[i])
		return filler{d}, err
	})
	if err != nil {
		return 0, err
	}
	defer closeAll(senders)
	var l load
	for _, s := range senders {
		l.senders.Add(1)
		go l.drive(s, 8)
	}
	for end := time.Now().Add(b.fillTime); size < b.fillBytes && time.Now().Before(end) && l.failed.Load() == nil; {
		time.Sleep(100 * time.Millisecond)
		if size, err = diskUse(g.data); err != nil {
			break
		}
	}
	l.stopping.Store(true)
	l.senders.Wait()
	if failed := l.failed.Load(); failed != nil {
		return 0, *failed
	}
	return size, err
}

func diskUse(dir string) (size int64, err error) {
	err = filepath.Walk(dir, func(_ string, f os.FileInfo, err error) error {
		if err == nil && f.Mode().IsRegular() {
			size += f.Size()
		}
		return err
	})
	return size, err
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
