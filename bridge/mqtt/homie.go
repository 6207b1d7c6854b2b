package mqtt

import (
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/bridge/mqtt/homie"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// homieSide keeps what Homie controllers read (package homie): the gateway is the
// root device, the devices of the home are its children. It has a connection of its
// own, since the state of the root needs a will of its own, and follows the log from
// its head: at each connect everything is published, then what is committed.
//
// Until all of that is true the root's state is lost (or absent, on a broker that has
// nothing of us), which by the convention covers the children's. A description
// changes only while its device is in the state init.
//
// With the option off it only empties what was published while it was on.
type homieSide struct {
	// set at birth
	b     *Bridge
	on    bool
	names homie.Names
	below string // what all topics of children begin with

	refusals refusals // guards itself

	// owned by run
	owned   *ownedTopics // its table is read by Collect
	views   map[string]*homieView
	queue   []string  // devices to announce, in order
	root    string    // what this link said of the gateway's state
	rootDue bool      // the children are others
	expiry  time.Time // when the next value is too old; zero = none is

	mu      sync.Mutex // guards what follows
	changed map[string]time.Time
	done    []homieDone
	sleeper context.CancelFunc // ends the wait for entries
	poked   bool
}

func newHomieSide(b *Bridge, owned *ownedTopics) *homieSide {
	h := &homieSide{
		b: b, on: b.o.Homie, owned: owned, changed: map[string]time.Time{},
		names: homie.Names{Gateway: b.names.Gateway, Prefix: b.o.HomiePrefix, Unit: hass.Unit},
	}
	h.below = strings.TrimSuffix(h.names.Topic(h.names.Child(""), ""), "/")
	if h.on {
		b.o.Registry.Watch(h.deviceChanged)
	}
	return h
}

// needed reports whether there is anything to do.
func (h *homieSide) needed() bool { return h.on || len(h.owned.all) > 0 }

// run works until ctx ends, or until nothing is left to empty.
func (h *homieSide) run(ctx context.Context) {
	// Its epoch tells two gateways apart that were restored from one backup.
	who := caller{id: "hgh" + strings.TrimPrefix(h.b.clientID, "hg"), refusals: &h.refusals, received: h.received}
	if h.on {
		who.will = h.rootState("lost")
		if h.claim(ctx, who.will.topic) != nil {
			return
		}
	}
	if err := h.b.stay(ctx, who, h.serve, h.down); err != nil && ctx.Err() == nil {
		h.b.o.Log.Error("Homie: nothing is published any more", "err", err)
	}
}

// claim notes that the topic of the will is ours, as soon as the disk has room for that;
// before, there is no connection. An error is the end of ctx.
func (h *homieSide) claim(ctx context.Context, topic string) error {
	h.owned.own(gatewayKey, topic, 0)
	for {
		err := h.owned.flush()
		if err == nil {
			return nil
		}
		h.down(err)
		select {
		case <-time.After(h.b.backoff):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// down: the bridge has said already that the broker is away, or the disk.
func (h *homieSide) down(err error) { h.b.o.Log.Debug("Homie: no connection", "err", err) }

// serve works on one link until it or ctx ends, and closes it.
func (h *homieSide) serve(ctx context.Context, l *link) error {
	err := h.greet(l)
	if err == nil {
		err = h.work(l)
	}
	h.farewell(l, ctx.Err() != nil)
	l.end(err)
	l.close()
	return err
}

// greet subscribes and waits for what the broker has as the root's state.
func (h *homieSide) greet(l *link) error {
	topics := []string{h.rootState("").topic}
	if h.on && h.b.o.Embedded == nil {
		topics = append(topics, h.names.Sets())
	}
	refused, err := l.subscribe(topics...)
	for _, topic := range refused {
		h.b.o.Log.Error("the broker refused a subscription; see its access rules", "topic", topic)
	}
	if err != nil {
		return err
	}
	select {
	case <-l.echo.news:
	case <-time.After(h.b.grace):
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
	return nil
}

// received is called by paho's reader. It does not block.
func (h *homieSide) received(l *link, m paho.Message) {
	topic := m.Topic()
	if topic != h.rootState("").topic {
		if h.takes(topic) {
			h.takeSet(topic, m.Payload(), m.Retained())
		}
		return
	}
	l.mu.Lock()
	l.echo.state = string(m.Payload())
	l.mu.Unlock()
	select {
	case l.echo.news <- struct{}{}:
	default:
	}
	if !m.Retained() {
		h.poke() // perhaps the will of a dead connection of ours, late
	}
}

func (h *homieSide) rootState(s string) message {
	return message{h.names.Topic(h.names.Root(), "$state"), []byte(s), true}
}

// work publishes everything and then what is committed, until the link ends. It
// returns nil when there is nothing of ours left and never will be.
func (h *homieSide) work(l *link) error {
	tail := h.b.o.Store.Follow()
	defer tail.Close()
	h.root = ""
	h.begin()
	if s := l.heard(); h.on && (s == "ready" || s == "init") {
		if err := h.sayRoot(l, "lost"); err != nil { // nobody has said so yet
			return err
		}
	}
	for {
		if err := h.carryOut(l); err != nil {
			return err
		}
		if !h.needed() {
			return nil
		}
		entries, err := h.next(l, tail)
		if err != nil {
			return err
		}
		if err := h.publishEntries(l, entries); err != nil {
			return err
		}
	}
}

// heard is what the broker last gave back as the root's state.
func (l *link) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.echo.state
}

// begin plans to publish all there is.
func (h *homieSide) begin() {
	h.views, h.queue, h.rootDue, h.expiry = map[string]*homieView{}, nil, true, time.Time{}
	var devices []registry.Device
	if h.on {
		devices = h.b.o.Registry.List()
	}
	for _, id := range slices.Sorted(maps.Keys(h.owned.all)) {
		known := slices.ContainsFunc(devices, func(d registry.Device) bool { return d.ID == id })
		if !known && id != gatewayKey {
			h.queue = append(h.queue, id)
		}
	}
	for _, d := range devices {
		h.queue = append(h.queue, d.ID)
	}
}

// carryOut does what is due, a bounded piece of it. The root comes last: then all
// that it stands for is there.
func (h *homieSide) carryOut(l *link) error {
	now := time.Now()
	h.gather(now)
	n := min(paceSize, len(h.queue))
	if err := h.announce(l, h.queue[:n], now); err != nil {
		return err
	}
	h.queue = h.queue[n:]
	if len(h.queue) == 0 && h.rootDue {
		if err := h.announceRoot(l); err != nil {
			return err
		}
		h.rootDue = false
	}
	if h.root == "ready" && l.heard() == "lost" {
		if err := h.sayRoot(l, "ready"); err != nil {
			return err
		}
	}
	h.sayDone(l)
	return h.expire(l, now)
}

// gather moves what has changed for long enough to the queue.
func (h *homieSide) gather(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(h.changed)) {
		if !now.Before(h.changed[id]) {
			delete(h.changed, id)
			if !slices.Contains(h.queue, id) {
				h.queue = append(h.queue, id)
			}
		}
	}
}

// deviceChanged gathers changes, as the bridge does.
func (h *homieSide) deviceChanged(id string, _ registry.Change) {
	h.mu.Lock()
	if _, ok := h.changed[id]; !ok {
		h.changed[id] = time.Now().Add(h.b.debounce)
	}
	h.mu.Unlock()
	h.poke()
}

// next waits for entries, or until something else is due or poked; then there are
// none.
func (h *homieSide) next(l *link, tail *store.Tail) ([]*store.Entry, error) {
	ctx, cancel := context.WithCancel(l.ctx)
	if at, ok := h.due(); ok {
		cancel()
		ctx, cancel = context.WithDeadline(l.ctx, at)
	}
	defer cancel()
	h.mu.Lock()
	h.sleeper = cancel
	if h.poked || len(h.queue) > 0 {
		h.poked = false
		cancel() // what is there already is returned all the same
	}
	h.mu.Unlock()
	entries, skipped, err := tail.Next(ctx, batchSize)
	switch {
	case l.ctx.Err() != nil:
		return nil, context.Cause(l.ctx)
	case skipped > 0:
		h.begin() // whatever they were: all is said anew
		return nil, nil
	case err != nil && ctx.Err() == nil:
		return nil, err
	}
	return entries, nil
}

// due is when something has to be done though no entry comes.
func (h *homieSide) due() (at time.Time, ok bool) {
	at = h.expiry
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.changed {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at, !at.IsZero()
}

func (h *homieSide) poke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.poked = true
	if h.sleeper != nil {
		h.sleeper()
	}
}

// sayRoot publishes the gateway's state.
func (h *homieSide) sayRoot(l *link, state string) error {
	h.root = state
	l.mu.Lock()
	l.echo.state = state
	l.mu.Unlock()
	return l.publishAll([]message{h.rootState(state)})
}

// farewell says at a clean end that nothing is true any more, of which the broker
// would say nothing by itself: of each device, since the root's state covers theirs
// only if it is lost. At another end the root is lost, in case the connection lives.
func (h *homieSide) farewell(l *link, clean bool) {
	if h.root == "" || !h.on {
		return
	}
	var last []message
	if clean {
		for _, id := range slices.Sorted(maps.Keys(h.views)) {
			if h.views[id].state != "disconnected" {
				last = append(last, message{h.names.Topic(h.names.Child(id), "$state"), []byte("disconnected"), true})
			}
		}
		last = append(last, h.rootState("disconnected"))
	} else {
		last = append(last, h.rootState("lost"))
	}
	patience, end := time.After(farewellTime), time.Now().Add(farewellTime)
	var sent []paho.Token
	for _, m := range last {
		if time.Now().After(end) {
			return // paho waits, too, while the broker takes nothing
		}
		sent = append(sent, l.client.Publish(m.topic, 1, true, m.payload))
	}
	for _, t := range sent {
		select {
		case <-t.Done():
		case <-patience:
			return
		}
	}
}

// mark names a content, and is never 0.
func mark(b []byte) uint64 {
	f := fnv.New64a()
	f.Write(b)
	return f.Sum64() | 1
}

// version is that of an owner's description, of which m is without one: a new one is
// higher than all before it.
func (h *homieSide) version(owner, topic string, content uint64) uint64 {
	own := h.owned.of(owner)
	if own.Topics[topic] != content || own.Version == 0 {
		own.Version = max(own.Version+1, uint64(max(0, time.Now().UnixMilli())))
		h.owned.own(owner, topic, content)
		h.owned.dirty[owner] = true
	}
	return own.Version
}
