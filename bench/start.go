package main

import (
	"fmt"
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
		credentials, err := g.enrol(1)
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
		size, err := b.fill(g, credentials[0])
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

// fillRecords is how many values a frame has that fills the store.
const fillRecords = 50

// fill sends telemetry until the store is as large as asked for, or the time
// for it is over. It says how large it became.
func (b *bench) fill(g *gateway, c credential) (size int64, err error) {
	d, err := connectDevice(g.plain, c)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	const inFlight = 8
	var records [fillRecords]protocol.Record
	for i := range records {
		records[i].Name = fmt.Sprintf("value%d", i)
	}
	offer := func(n int) error {
		for range n {
			d.seq++
			for i := range records {
				records[i].Value = protocol.Float(float64(d.seq%100) + float64(i)/7)
			}
			d.Send(protocol.Append(d.frame[:0], &protocol.Telemetry{Seq: d.seq, Records: records[:]}))
		}
		return d.Flush()
	}
	if err := offer(inFlight); err != nil {
		return 0, err
	}
	for end := time.Now().Add(b.fillTime); time.Now().Before(end); {
		n, err := d.settled()
		if err == nil {
			err = offer(n)
		}
		if err != nil {
			return 0, err
		}
		if d.seq%512 < uint64(n) {
			if size, err = diskUse(g.data); err != nil || size >= b.fillBytes {
				break
			}
		}
	}
	return diskUse(g.data)
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
