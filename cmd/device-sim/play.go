package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// play is one run: devices, what feeds them, and the ledger.
type play struct {
	opts    *options
	out     io.Writer // progress and complaints
	ledger  *ledger
	chaos   *chaos // nil = good weather
	feed    feed
	devices []*client.Device

	welcomed atomic.Uint64 // devices that were welcomed at least once
	turned   atomic.Uint64 // devices whose token was refused before that
	why      atomic.Value  // string: why the newest try failed, while nobody was welcomed
	hopeless context.CancelCauseFunc
}

// feed is where the devices' records come from.
type feed interface {
	// device makes the device of a credential; cfg says how it connects.
	device(c credential, cfg client.Config) *client.Device
	// run runs the devices until hangUp ends and feeds them until ctx ends; if
	// there is nothing more to say before, it calls done.
	run(ctx, hangUp context.Context, done func())
}

func newPlay(o *options, out io.Writer) (*play, error) {
	p := &play{opts: o, out: out, ledger: newLedger(o.verify)}
	if o.chaos {
		p.chaos = newChaos(o.seed, o.csv != "")
	}
	switch {
	case o.csv != "":
		table, err := readTable(o.csv)
		if err != nil {
			return nil, err
		}
		p.feed = newReplay(table, o, time.Now())
	case o.load:
		p.feed = &load{inflight: o.inflight, rate: o.rate}
	default:
		p.feed = newHome(o, p.chaos)
	}
	for _, c := range o.tokens {
		p.devices = append(p.devices, p.feed.device(c, p.config(c)))
	}
	return p, nil
}

// config is how a device connects, with what the ledger wants to know.
func (p *play) config(c credential) client.Config {
	var welcomed, turned atomic.Bool
	cfg := client.Config{
		Options:   client.Options{URL: p.opts.url, Token: c.token, TLS: p.opts.tls},
		Firmware:  "sim",
		OnSettled: func(f client.Fate) { p.ledger.settled(c.id, f) },
		OnWelcome: func(*protocol.Welcome) {
			if !welcomed.Swap(true) {
				p.welcomed.Add(1)
			}
		},
		OnEnd: func(err error, _ time.Duration) {
			p.ledger.count(p.ledger.ends, ending(err))
			if p.welcomed.Load() == 0 && err != nil {
				p.why.Store(reason(err))
			}
			var refused *client.Refused
			if errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden) &&
				!welcomed.Load() && !turned.Swap(true) && p.turned.Add(1) == uint64(len(p.opts.tokens)) {
				p.hopeless(&turnedAway{fmt.Errorf("%s: %w", c.id, err)})
			}
		},
	}
	if p.chaos != nil {
		p.chaos.disturb(c.id, &cfg)
	}
	return cfg
}

// turnedAway ends a play in which no device is let in.
type turnedAway struct{ error }

// ending is how a link or a try ended, in a few words that repeat.
func ending(err error) string {
	var closed *client.Closed
	var refused *client.Refused
	switch {
	case errors.As(err, &refused):
		return fmt.Sprintf("HTTP %d", refused.Status)
	case errors.As(err, &closed) && closed.Code != 0:
		return fmt.Sprintf("close %d", closed.Code)
	case errors.As(err, &closed):
		return "broken"
	}
	return "no connection"
}

// reason is why a try failed, for a person; with what to do where we know it.
func reason(err error) string {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return err.Error() + " (--ca FILE trusts the gateway's own: ca/ca.crt in its data directory)"
	}
	return err.Error()
}

// unwelcome is reason of the newest try, empty once a device was welcomed.
func (p *play) unwelcome() string {
	why, _ := p.why.Load().(string)
	if p.welcomed.Load() > 0 {
		return ""
	}
	return why
}

// run plays until the end and returns the ledger's sum. The error says why the
// play failed.
func (p *play) run(ctx context.Context) (summary, error) {
	ctx, p.hopeless = context.WithCancelCause(ctx)
	defer p.hopeless(nil)
	feeding := ctx
	if p.opts.duration > 0 {
		var cancel context.CancelFunc
		feeding, cancel = context.WithTimeout(ctx, p.opts.duration)
		defer cancel()
	}
	// The devices live longer than what feeds them, for the last acks.
	hangUp, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()

	var workers sync.WaitGroup
	watching, stopWatching := context.WithCancel(hangUp)
	workers.Go(func() { p.watch(watching) })
	if p.chaos != nil {
		workers.Go(func() { p.chaos.run(feeding, p.devices) })
	}
	fed := make(chan struct{})
	workers.Go(func() { p.feed.run(feeding, hangUp, sync.OnceFunc(func() { close(fed) })) })

	select {
	case <-fed:
	case <-feeding.Done():
	}
	if p.chaos != nil {
		p.chaos.calm()
	}
	var none *turnedAway
	if !errors.As(context.Cause(ctx), &none) {
		p.settle()
	}
	stopWatching()
	cancel()
	workers.Wait()
	sum := p.sum()
	if none != nil {
		return sum, none
	}
	return sum, p.judge(context.WithoutCancel(ctx), &sum)
}

// settle waits for the last acks: as long as they come, and at most 15 s
// without one; where nobody was ever let in there is little to wait for.
func (p *play) settle() {
	patience := 15 * time.Second
	last, since := p.ledger.acked.Load(), time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for pending(p.devices) {
		<-tick.C
		if acked := p.ledger.acked.Load(); acked != last {
			last, since = acked, time.Now()
		}
		if quiet := time.Since(since); quiet > patience || quiet > time.Second && p.unwelcome() != "" {
			return
		}
	}
}

func pending(devices []*client.Device) bool {
	for _, d := range devices {
		if d.Pending() > 0 {
			return true
		}
	}
	return false
}

func (p *play) sum() summary {
	sum := p.ledger.sum(p.devices)
	if p.chaos != nil {
		sum.Faults = p.chaos.counts()
	}
	if r, ok := p.feed.(*replay); ok {
		sum.ShiftedBy = r.shift
	}
	return sum
}

// judge decides whether the play failed.
func (p *play) judge(ctx context.Context, sum *summary) error {
	if p.welcomed.Load() == 0 {
		if why := p.unwelcome(); why != "" {
			return fmt.Errorf("no device was ever welcomed by %s (%s): %s", p.opts.url, list(sum.Ends), why)
		}
		return fmt.Errorf("no device was ever welcomed by %s", p.opts.url)
	}
	var errs []error
	if r, ok := p.feed.(*replay); ok {
		errs = append(errs, r.judge(sum))
	}
	if p.opts.verify {
		verdict, err := p.verify(ctx)
		sum.Verified = verdict
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
