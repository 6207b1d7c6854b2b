// Package mqtt joins the log to an MQTT broker: committed entries become
// topics, topics become commands.
//
// The outbox is the log itself, between the durable cursor "mqtt" and its head:
// a batch of entries is mapped to messages (compose.go, pure), published within
// a window, and the cursor moves when the broker confirmed all of them on the
// same connection. Each connection is a link of its own (link.go); a clean
// session, so that nothing is carried out later that was asked while we were
// away.
//
// What is decided here, where the contract leaves a choice:
//
//   - A command with the retain flag is answered once with the outcome invalid,
//     raises the event "retained_command", and its topic is emptied.
//   - A light without the attribute `on` has plain states, one an attribute: it
//     is no light for Home Assistant either.
//   - A component or device that Home Assistant has to forget is removed there
//     first; what is new under the same key follows after five seconds.
//   - MQTT 3.1.1 cannot refuse a message but by hanging up; refusals.go says
//     which one is taken to be meant.
//
// To a broker in this process (Embedded) a link is a connection as well, for what
// is retained there, Home Assistant's birth and the will; but states, commands and
// outcomes are plain calls beside it.
//
// Homie controllers are served by a side of its own (homie.go), with its own
// connection, will and reader of the log; without the option it does not run.
//
// Goroutines of a bridge: Run (connect, serve one link after another, publish
// all that is retained and the stream), one that takes commands, and per link
// the confirmer, one that sends results, and paho's own. The embedded broker's
// readers and whoever has an outcome come here on their own.
package mqtt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// Bridge is made by New and works while Run does.
type Bridge struct {
	// set at birth
	o        Options
	topics   topics
	names    hass.Names
	broker   *url.URL
	clientID string
	started  time.Time
	results  *results
	inbound  chan inbound
	homie    *homieSide

	// Times, shorter in tests.
	patience   time.Duration // until a broker that does not confirm is given up
	grace      time.Duration // for what the broker retains to come back
	debounce   time.Duration // between a change in the registry and its announcement
	birthDelay time.Duration // least wait after Home Assistant's birth; at most five times that
	settle     time.Duration // between two messages about one device to Home Assistant
	backoff    time.Duration // first wait before a reconnect
	healthTick time.Duration // between two messages of how the gateway is, if nothing changes
	healthGap  time.Duration // least, as devices come and go
	farBehind  uint64        // entries that are read back for what changed in them
	// diagnoseTick bounds how often what is counted of a device is said anew.
	diagnoseTick time.Duration

	// owned by Run
	tail    *store.Tail
	compose *composer
	owned   *ownedTopics
	plan    plan
	unsure  bool               // entries were dropped: all states are due, whatever the rest says
	warned  map[string]warning // by device
	seen    lastSeen
	lost    int64 // by subscribers of the embedded broker, when that was last said

	healthDue atomic.Bool // the storage failed, or works again

	refusals refusals // guards itself
	count    counters

	mu      sync.Mutex // guards what follows
	changed map[string]time.Time
	birth   time.Time          // when to answer Home Assistant's birth; zero = not
	sleeper context.CancelFunc // ends Run's wait for entries
	poked   bool
	status  Status
}

type counters struct {
	published, skipped, behind atomic.Uint64
}

// Status is how the bridge is.
type Status struct {
	Broker    string    // address, "embedded" for the one in this process
	Connected bool      // what is committed now goes out
	Since     time.Time // of Connected
	Err       string    // why not, or what else is wrong: a refused subscription
	Conflict  bool      // another gateway is alive on our base topic
	Published uint64    // entries that are confirmed
	Lag       uint64    // entries that are not
	Skipped   uint64    // messages that the broker refused twice
	Lost      uint64    // entries that were dropped from the log before they were read
	Results   int       // outcomes that wait
	Dropped   uint64    // outcomes that there was no room for
}

// New checks the options and registers with the command service and the
// registry. It does not connect.
func New(o Options) (*Bridge, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	u, err := o.parseBroker()
	if err != nil {
		return nil, err
	}
	if _, err := o.tlsConfig(u); err != nil {
		return nil, err
	}
	t, err := newTopics(o.BaseTopic)
	if err != nil {
		return nil, err
	}
	owned, err := openOwned(o.Store, "mqtt_topics")
	if err != nil {
		return nil, fmt.Errorf("owned topics: %w", err)
	}
	homieOwned, err := openOwned(o.Store, "mqtt_homie")
	if err != nil {
		return nil, fmt.Errorf("owned topics of Homie: %w", err)
	}
	b := &Bridge{
		o: o, topics: t, broker: u, owned: owned, results: newResults(t), started: time.Now(),
		names:    hass.Names{Gateway: o.Store.GatewayID(), Base: o.BaseTopic, Prefix: o.DiscoveryPrefix, Version: o.Version},
		inbound:  make(chan inbound, maxInbound),
		changed:  map[string]time.Time{},
		warned:   map[string]warning{},
		seen:     lastSeen{newest: o.Store.Newest, online: map[string]int64{}},
		patience: 15 * time.Second, grace: 250 * time.Millisecond, debounce: 2 * time.Second, birthDelay: time.Second,
		settle: 5 * time.Second, backoff: time.Second, healthTick: time.Minute, healthGap: 2 * time.Second, diagnoseTick: 5 * time.Minute,
		farBehind: farBehind,
	}
	// 23 characters are what every broker takes. The epoch tells two gateways
	// apart that were restored from one backup.
	b.clientID = "hg_" + b.names.Gateway + "_" + o.Store.Epoch()[:min(8, len(o.Store.Epoch()))]
	b.compose = &composer{topics: t, device: o.Registry.Get, describe: o.Registry.Description, newest: o.Store.NewestOf, since: o.Store.Head(), seen: b.seen.at}
	b.status.Broker = u.Redacted()
	if o.Embedded != nil {
		b.status.Broker = "embedded"
	}
	b.homie = newHomieSide(b, homieOwned)
	o.Registry.Watch(b.deviceChanged)
	o.Registry.WatchGroups(func() { b.deviceChanged(gatewayKey, registry.Updated) }) // which has the scenes
	o.Store.OnEra(b.storageChanged)
	o.Commands.Register(askerName, b.results)
	o.Commands.Register(homieAskerName, homieAsker{b.results, b.homie})
	return b, nil
}

// deviceChanged gathers changes; a device that describes itself and is renamed
// a moment later is announced once.
func (b *Bridge) deviceChanged(id string, _ registry.Change) {
	b.mu.Lock()
	if _, ok := b.changed[id]; !ok {
		b.changed[id] = time.Now().Add(b.debounce)
	}
	b.mu.Unlock()
	b.poke()
}

// storageChanged says so at once.
func (b *Bridge) storageChanged(e store.Era) {
	said := bridgeEvent{Type: "alert", Message: "the disk works again: devices send what they kept"}
	if e.InMemory() {
		said.Message = "the disk takes nothing: working in memory only, nothing is stored until it works"
	}
	b.event(said)
	b.healthDue.Store(true)
	b.poke()
}

// Alert publishes something that a person should know on <b>/bridge/event.
func (b *Bridge) Alert(device, message string) {
	b.event(bridgeEvent{Type: "alert", Device: device, Message: message})
}

func (b *Bridge) event(e bridgeEvent) {
	e.Time = time.Now().UnixMilli()
	b.results.push(message{topic: b.topics.bridge("event"), payload: document(e)}, nil)
}

// skip is told of a message that the broker refused twice.
func (b *Bridge) skip(m message) {
	b.count.skipped.Add(1)
	b.o.Log.Error("the broker refused a message twice: it is skipped; see its limit on message size",
		"topic", m.topic, "bytes", len(m.payload))
	b.event(bridgeEvent{Type: "alert", Topic: m.topic, Message: fmt.Sprintf("the broker refused a message of %d bytes twice; it was skipped", len(m.payload))})
}

// Status is how the bridge is now.
func (b *Bridge) Status() Status {
	b.mu.Lock()
	s := b.status
	tail := b.tail
	b.mu.Unlock()
	s.Published, s.Skipped, s.Lost = b.count.published.Load(), b.count.skipped.Load(), b.count.behind.Load()
	s.Results, s.Dropped = b.results.count()
	if tail != nil {
		s.Lag = tail.Lag()
	}
	return s
}

func (b *Bridge) setStatus(f func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.status)
}

// maxBackoff bounds the wait between two tries to connect.
const maxBackoff = 30 * time.Second

// Run connects and works until ctx ends, then says offline and returns nil. An
// error is one that no reconnect can mend.
func (b *Bridge) Run(ctx context.Context) error {
	tail, err := b.o.Store.Tail("mqtt")
	if err != nil {
		return fmt.Errorf("reader mqtt: %w", err)
	}
	defer tail.Close()
	b.mu.Lock()
	b.tail = tail
	b.mu.Unlock()
	var commands sync.WaitGroup
	cctx, stop := context.WithCancel(ctx)
	commands.Go(func() { b.takeCommands(cctx) })
	if b.homie.needed() {
		commands.Go(func() { b.homie.run(cctx) })
	}
	defer commands.Wait()
	defer stop()
	return b.stay(ctx, b.caller(), b.serve, b.down)
}

// stay serves one link after another until ctx ends or serve has nothing left to do.
// An error is one that no reconnect can mend; down hears of all others.
func (b *Bridge) stay(ctx context.Context, who caller, serve func(context.Context, *link) error, down func(error)) error {
	wait, first := b.backoff, true
	for ctx.Err() == nil {
		link, err := b.connect(ctx, who)
		if err == nil {
			who.refusals.back(first)
			up := time.Now()
			err = serve(ctx, link)
			switch {
			case err == nil:
				return nil
			case errors.Is(err, store.ErrClosed):
				return fmt.Errorf("read the log: %w", err)
			}
			first = true
			if time.Since(up) > maxBackoff {
				wait = b.backoff
			}
		} else {
			first = false
		}
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			wait = b.backoff / 2 // its host is there and it will be back: to ask costs nothing
		}
		down(err)
		select {
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		case <-ctx.Done():
		}
		wait = min(2*wait, maxBackoff)
	}
	return nil
}

// down notes why there is no connection; the log hears of it when it changes.
func (b *Bridge) down(err error) {
	b.mu.Lock()
	old := b.status.Err
	b.status.Connected, b.status.Err, b.status.Conflict = false, err.Error(), errors.Is(err, errConflict)
	b.mu.Unlock()
	switch {
	case old == err.Error():
	case errors.Is(err, errConflict):
		b.o.Log.Error("another gateway is alive on our base topic: nothing is published until it is gone; give one of them another mqtt.base_topic",
			"base_topic", b.o.BaseTopic)
	default:
		b.o.Log.Warn("no MQTT broker; entries wait in the log", "broker", b.status.Broker, "err", err)
	}
}
