package mqtt

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hearthgate/hearthgate/store"
)

// batchSize is how many entries are mapped and published at a time.
const batchSize = 256

// serve works on one link until it or ctx ends, and closes it.
func (b *Bridge) serve(ctx context.Context, l *link) error {
	err := b.greet(l)
	if err == nil {
		var sender sync.WaitGroup
		sender.Go(func() { b.results.send(l) })
		err = b.work(l)
		l.end(err)
		sender.Wait()
	}
	l.end(err)
	b.takeDirectly(nil)
	l.mu.Lock()
	online := l.echo.online
	l.mu.Unlock()
	if ctx.Err() != nil && online && !errors.Is(err, errConflict) {
		b.farewell(l)
	}
	l.close()
	b.compose.abandon()
	b.setStatus(func(s *Status) { s.Connected = false })
	return err
}

// greet reads back what the broker has of us and subscribes.
func (b *Bridge) greet(l *link) error {
	refused, err := l.subscribe(b.topics.bridge("epoch"), b.topics.bridge("info"), b.topics.bridge("state"))
	if err != nil {
		return err
	}
	base := b.topics.base
	commands := []string{base + "/device/+/command", base + "/device/+/+/set", base + "/device/+/+/+/set",
		base + "/group/+/command", base + "/group/+/set", base + "/scene/+/command", base + "/scene/+/set"}
	if b.o.Embedded != nil {
		commands = nil
	}
	if b.o.Discovery != DiscoverNothing {
		commands = append(commands, b.names.StatusTopic())
	}
	if err := b.awaitEcho(l); err != nil {
		return err
	}
	b.takeDirectly(b.takeHandedOver)
	more, err := l.subscribe(commands...)
	if err != nil {
		return err
	}
	b.setStatus(func(s *Status) { s.Err, s.Conflict = "", false })
	for _, topic := range append(refused, more...) {
		b.o.Log.Error("the broker refused a subscription; see its access rules", "topic", topic)
		b.setStatus(func(s *Status) { s.Err = "the broker refused the subscription to " + topic })
	}
	return nil
}

// awaitEcho waits until what is retained on our own topics has come, or for a
// moment if nothing comes: a broker need not say that there is nothing.
func (b *Bridge) awaitEcho(l *link) error {
	timeout := time.NewTimer(b.grace)
	defer timeout.Stop()
	for {
		l.mu.Lock()
		e := l.echo
		l.mu.Unlock()
		switch {
		case e.foreign(b.names.Gateway):
			return errConflict
		case e.gotEpoch && e.gateway != "" && e.state != "":
			return nil
		}
		select {
		case <-e.news:
		case <-timeout.C:
			return nil
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		}
	}
}

// work publishes what the broker lacks and then what is committed, until the
// link ends.
func (b *Bridge) work(l *link) error {
	l.mu.Lock()
	full, online := l.echo.epoch != b.o.Store.Epoch(), l.echo.state == "online"
	l.mu.Unlock()
	if online && !full {
		// A broker says offline when our connection ends, whatever its cause. This one
		// was killed, and what it has is of before. The mark is no longer true.
		full = true
		if err := l.publishAll([]message{{topic: b.topics.bridge("epoch"), retained: true}}); err != nil {
			return err
		}
	}
	if full {
		b.owned.forgetMarks()
	}
	b.compose.forgetFreshness()
	replayed, err := b.catchUp(l, full)
	if err != nil {
		return err
	}
	if err := b.sayOnline(l); err != nil {
		return err
	}
	b.plan.start(b, full)
	for {
		if err := b.carryOut(l); err != nil {
			return err
		}
		entries, err := b.next(l)
		if err != nil {
			return err
		}
		if b.unsure {
			if replayed, err = b.catchUp(l, full); err != nil {
				return err
			}
			continue
		}
		if len(entries) == 0 {
			continue
		}
		if err := b.publishBatch(l, entries, replayed); err != nil {
			return err
		}
	}
}

// sayOnline tells everyone that what stands on our topics is true again.
func (b *Bridge) sayOnline(l *link) error {
	topic := b.topics.bridge("state")
	b.owned.own(gatewayKey, topic, 0)
	l.mu.Lock()
	l.echo.online, l.echo.state = true, "online"
	l.mu.Unlock()
	if err := l.publishAll([]message{{topic, []byte("online"), true}}); err != nil {
		return err
	}
	b.setStatus(func(s *Status) { s.Connected, s.Since = true, time.Now() })
	b.o.Log.Info("MQTT is connected", "broker", b.Status().Broker)
	return nil
}

// farewell is the clean end, of which the broker would say nothing by itself:
// the outcomes that were not sent yet, since no later run would know of them,
// and offline. It goes past the window: nobody else publishes any more.
func (b *Bridge) farewell(l *link) {
	patience := time.After(farewellTime)
	for _, a := range append(b.results.unsent(), answer{m: message{b.topics.bridge("state"), []byte("offline"), true}}) {
		t := l.client.Publish(a.m.topic, 1, a.m.retained, a.m.payload)
		select {
		case <-t.Done():
		case <-patience:
			return
		}
		if a.confirm != nil && t.Error() == nil {
			a.confirm()
		}
	}
}

// farewellTime is how long a broker may take to confirm the last messages.
const farewellTime = 2 * time.Second

// publishBatch maps entries to messages, publishes them, and moves the cursor
// when all are confirmed. Entries up to replayed give no states, nor do those that were read before.
func (b *Bridge) publishBatch(l *link, entries []*store.Entry, replayed store.Position) error {
	b.compose.begin()
	now := time.Now()
	for _, e := range entries {
		b.compose.add(e, e.Pos > replayed && !e.Again, now)
		if e.Kind == store.Presence {
			b.countsChanged()
		}
	}
	if err := b.publishComposed(l); err != nil {
		return err
	}
	b.tail.Advance(entries[len(entries)-1].Pos)
	b.count.published.Add(uint64(len(entries)))
	return nil
}

// publishComposed notes new topics and publishes what the composer has.
func (b *Bridge) publishComposed(l *link) error {
	for _, t := range b.compose.owned {
		b.owned.own(t.device, t.topic, 0)
	}
	if err := b.owned.flush(); err != nil {
		return err
	}
	return l.publishAll(b.compose.msgs)
}

// next waits for entries, or until something else is due or poked; then there
// are none.
func (b *Bridge) next(l *link) ([]*store.Entry, error) {
	if b.plan.busy(time.Now()) && b.tail.Lag() == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithDeadline(l.ctx, b.due())
	defer cancel()
	b.mu.Lock()
	b.sleeper = cancel
	if b.poked {
		b.poked = false
		cancel()
	}
	b.mu.Unlock()
	entries, skipped, err := b.tail.Next(ctx, batchSize)
	if skipped > 0 {
		b.dropped(skipped, entries)
	}
	if l.ctx.Err() != nil {
		return nil, context.Cause(l.ctx)
	}
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	return entries, nil
}

// poke ends Run's wait for entries.
func (b *Bridge) poke() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.poked = true
	if b.sleeper != nil {
		b.sleeper()
	}
}
