package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// A gateway is ours, with the home's devices connected. It is a black box: all
// that is known of it is its command line and its protocol.
type gateway struct {
	process *process
	devices []*client.Device
	acked   atomic.Int64 // values
	lost    atomic.Int64 // values that no ack will come for
	leave   context.CancelFunc
	running sync.WaitGroup
}

func startOurs(commit string) func(*bench, string, *disk) (keeper, error) {
	return func(b *bench, name string, d *disk) (keeper, error) {
		plain, err1 := freeAddress()
		secure, err2 := freeAddress()
		mqtt, err3 := freeAddress()
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		data := filepath.Join(d.dir, "data")
		// All devices come from one address, which has a limit of its own.
		p, err := b.startProcess(name, exec.Command(b.gateway, "serve", "--data", data, "--store.commit", commit,
			"--listen.http", plain, "--listen.https", secure, "--mqtt.listen", mqtt,
			"--limits.address_rate", "0", "--log.level", "warn"))
		if err != nil {
			return nil, err
		}
		g := &gateway{process: p}
		if err := p.listening(plain); err != nil {
			return nil, err
		}
		return g, g.connect(b.gateway, data, "ws://"+plain+"/device")
	}
}

// connect enrols the devices and waits until all are welcomed.
func (g *gateway) connect(binary, data, url string) error {
	cmd := exec.Command(binary, "device", "add", "--data", data, "--count", fmt.Sprint(deviceCount), "--prefix", "home", "--json")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	var enrolled []struct{ Token string }
	if err := json.Unmarshal(out, &enrolled); err != nil || len(enrolled) != deviceCount {
		return fmt.Errorf("%s: %d devices, %w", cmd, len(enrolled), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.leave = cancel
	welcomed := make(chan struct{}, deviceCount*8)
	for i, e := range enrolled {
		d := client.New(client.Config{
			Options:  client.Options{URL: url, Token: e.Token},
			Describe: describe(i), Firmware: "1.0.0",
			OnWelcome: func(*protocol.Welcome) { welcomed <- struct{}{} },
			OnSettled: g.settled,
		})
		g.devices = append(g.devices, d)
		g.running.Go(func() { d.Run(ctx) })
	}
	for range enrolled {
		select {
		case <-welcomed:
		case <-time.After(30 * time.Second):
			return fmt.Errorf("devices were not welcomed: %s", g.process.words())
		}
	}
	return nil
}

func (g *gateway) settled(f client.Fate) {
	if f.Err != nil {
		g.lost.Add(int64(len(f.Records)))
		return
	}
	g.acked.Add(int64(len(f.Records)))
}

func (g *gateway) take(_ time.Time, device int, values []float64) error {
	g.devices[device].Report(records(device, values)...)
	return nil
}

func (g *gateway) finish() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var failed error
	for i, d := range g.devices {
		if err := d.Flush(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", deviceName(i), err))
		}
	}
	g.leave()
	g.running.Wait()
	if n := g.lost.Load(); n > 0 {
		failed = errors.Join(failed, fmt.Errorf("%d values were refused or dropped", n))
	}
	return int(g.acked.Load()), failed
}

func (g *gateway) server() *process { return g.process }
