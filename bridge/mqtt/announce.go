package mqtt

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// plan is what is to be announced: cards and discovery, a few devices at a
// time, so that the stream flows between them.
type plan struct {
	gateway bool
	devices []string             // to announce now, in order
	pause   time.Time            // not before then: Home Assistant needs time for each
	resend  map[string]bool      // of them, those that are sent though the broker has them, with their states
	epoch   bool                 // when all is done, the mark says that the broker has everything
	later   map[string]time.Time // to announce when Home Assistant has had time for the last message
	told    map[string]time.Time // when Home Assistant was last told about a device, or the gateway
	moved   map[string]bool      // those of which the entities were told to move to other topics
	health  time.Time            // when to publish it next
	said    time.Time            // when that was last

	diagnosis time.Time // when devices' lifecycles are looked at next
	diagnosed []string  // those that are still to be looked at
}

// paceSize is how many devices are announced between two looks at the log, and
// paceGap the least time between two such batches of news.
const (
	paceSize = 16
	paceGap  = 50 * time.Millisecond
)

// start plans everything for a new link. What the broker has already is found
// out when its turn comes.
func (p *plan) start(b *Bridge, full bool) {
	*p = plan{gateway: true, epoch: full, resend: map[string]bool{}, later: map[string]time.Time{}, told: map[string]time.Time{}, moved: map[string]bool{},
		diagnosis: time.Now().Add(b.diagnoseTick)}
	p.devices = b.allDevices()
}

// allDevices are those of the home, and those that are no longer of it but of
// which the broker still has something.
func (b *Bridge) allDevices() []string {
	var ids []string
	for owner := range b.owned.all {
		if _, ok := b.o.Registry.Get(owner); !ok && owner != gatewayKey {
			ids = append(ids, owner)
		}
	}
	slices.Sort(ids)
	for _, d := range b.o.Registry.List() {
		ids = append(ids, d.ID)
	}
	return ids
}

// busy reports whether there is something to do now.
func (p *plan) busy(now time.Time) bool {
	if len(p.devices) > 0 {
		return p.gateway || !now.Before(p.pause)
	}
	return p.gateway || p.epoch || len(p.diagnosed) > 0
}

// due is when something has to be done though no entry comes.
func (b *Bridge) due() time.Time {
	at := earlier(b.plan.health, b.plan.diagnosis)
	if next := b.compose.freshness.next; !next.IsZero() {
		at = earlier(at, next)
	}
	if b.healthDue.Load() {
		at = time.Time{}
	}
	for _, t := range b.plan.later {
		at = earlier(at, t)
	}
	if len(b.plan.devices) > 0 {
		at = earlier(at, b.plan.pause)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.changed {
		at = earlier(at, t)
	}
	if !b.birth.IsZero() {
		at = earlier(at, b.birth)
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// carryOut does what is due, a bounded piece of it.
func (b *Bridge) carryOut(l *link) error {
	now, p := time.Now(), &b.plan
	b.gather(now)
	l.mu.Lock()
	contradicted := l.echo.state == "offline"
	l.mu.Unlock()
	if contradicted {
		if err := b.sayOnline(l); err != nil {
			return err
		}
	}
	if p.gateway {
		if err := b.announceGateway(l); err != nil {
			return err
		}
		p.gateway = false
	}
	if next := b.compose.freshness.next; !next.IsZero() && !now.Before(next) {
		b.compose.begin()
		b.compose.expire(now)
		if err := b.publishComposed(l); err != nil {
			return err
		}
	}
	if b.healthDue.Swap(false) || !now.Before(p.health) {
		if err := b.publishHealth(l); err != nil {
			return err
		}
		p.health, p.said = now.Add(b.healthTick), now
	}
	if err := b.diagnose(l, now); err != nil {
		return err
	}
	if !now.Before(p.pause) {
		if err := b.announceSome(l, now); err != nil {
			return err
		}
	}
	if p.epoch && len(p.devices) == 0 {
		p.epoch = false
		if err := b.publishOwned(l, gatewayKey, message{b.topics.bridge("epoch"), []byte(b.o.Store.Epoch()), true}); err != nil {
			return err
		}
	}
	return b.owned.flush()
}

// announceSome announces the next devices.
func (b *Bridge) announceSome(l *link, now time.Time) error {
	p := &b.plan
	n := min(paceSize, len(p.devices))
	for _, id := range p.devices[:n] {
		b.claim(id)
	}
	if err := b.owned.flush(); err != nil {
		return err
	}
	for range n {
		id := p.devices[0]
		if err := b.announce(l, id, p.resend[id]); err != nil {
			return err
		}
		p.devices = p.devices[1:]
		delete(p.resend, id)
		if !p.told[id].Before(now) {
			p.pause = time.Now().Add(paceGap)
		}
	}
	return nil
}

// gather moves what has become due to the devices to announce.
func (b *Bridge) gather(now time.Time) {
	p := &b.plan
	enqueue := func(id string) {
		if id == gatewayKey {
			p.gateway = true
		} else if !slices.Contains(p.devices, id) {
			p.devices = append(p.devices, id)
		}
	}
	for id, t := range p.told {
		if now.Sub(t) >= b.settle { // what waited for that is due at that moment
			delete(p.told, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.later)) {
		if !now.Before(p.later[id]) {
			delete(p.later, id)
			enqueue(id)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(b.changed)) {
		if !now.Before(b.changed[id]) {
			delete(b.changed, id)
			enqueue(id)
			b.countsChanged()
		}
	}
	if !b.birth.IsZero() && !now.Before(b.birth) {
		b.birth = time.Time{}
		p.gateway, p.resend[gatewayKey] = true, true
		p.devices = b.allDevices()
		for _, id := range p.devices {
			p.resend[id] = true
		}
	}
}

// announceGateway publishes what there is to say of the gateway itself.
func (b *Bridge) announceGateway(l *link) error {
	keep := map[string]bool{}
	for _, what := range []string{"state", "epoch", "info", "health"} {
		keep[b.topics.bridge(what)] = true
	}
	info := message{b.topics.bridge("info"),
		document(bridgeInfo{Gateway: b.names.Gateway, Version: b.o.Version, Protocol: "hearthgate.v1"}), true}
	resend := b.plan.resend[gatewayKey]
	delete(b.plan.resend, gatewayKey)
	_, err := b.tell(l, gatewayKey, b.telling(gatewayKey, b.names.Itself(b.o.Registry.Scenes()...)), []message{info}, keep, resend)
	return err
}

// announce publishes a device's card and discovery as far as the broker does
// not have them, and empties what is no longer true. With resend everything
// goes out, states too.
func (b *Bridge) announce(l *link, id string, resend bool) error {
	d, ok := b.o.Registry.Get(id)
	if !ok {
		b.compose.forget(id)
		delete(b.plan.told, id)
		delete(b.warned, id)
		delete(b.seen.online, id)
		return b.clear(l, id, nil)
	}
	b.warn(d)
	b.compose.fit(d)
	keep := map[string]bool{}
	for _, topic := range b.compose.stateTopics(id, b.values(d)) {
		keep[topic] = true
	}
	if done, err := b.tell(l, id, b.telling(id, b.names.Device(d)), []message{b.card(d)}, keep, resend); err != nil || !done {
		return err
	}
	return b.announceStates(l, d, resend)
}

func (b *Bridge) card(d registry.Device) message {
	info, _ := b.topics.device(d.ID, "info")
	return message{info, document(cardOf(d)), true}
}

// composeReturned adds the states that the broker does not have although the store
// does: of a component that went, with its topics, and has come back.
func (b *Bridge) composeReturned(d registry.Device) {
	for _, n := range b.values(d) {
		if topic, ok := b.compose.stateTopic(d.ID, n.Name); ok && !b.owned.knows(d.ID, topic) {
			b.compose.addNewest(d.ID, n)
		}
	}
}

func (b *Bridge) values(d registry.Device) []store.Newest { return d.Fitting(b.o.Store.Newest(d.ID)) }

// announceStates publishes presence for a device that has none on the broker
// yet, which values are too old, and with resend all states.
func (b *Bridge) announceStates(l *link, d registry.Device, resend bool) error {
	b.compose.begin()
	topic, _ := b.topics.device(d.ID, "availability")
	switch {
	case resend:
		b.composeDevice(d, everything)
	case !b.owned.knows(d.ID, topic):
		b.composeDevice(d, &touch{presence: true})
	default:
		b.composeReturned(d)
	}
	b.compose.addFreshness(d, resend, time.Now())
	return b.publishComposed(l)
}

// clear empties the owned topics that are not in keep.
func (b *Bridge) clear(l *link, owner string, keep map[string]bool) error {
	ms := orphans(b.owned.of(owner), keep, func(topic string) bool { return strings.HasSuffix(topic, "/config") })
	if err := l.publishAll(ms); err != nil {
		return err
	}
	for _, m := range ms {
		b.owned.disown(owner, m.topic)
	}
	return b.owned.flush()
}

// publishOwned publishes one retained message and notes that the broker has
// it; the caller flushes.
func (b *Bridge) publishOwned(l *link, owner string, m message) error {
	if !b.owned.knows(owner, m.topic) {
		b.owned.own(owner, m.topic, 0)
		if err := b.owned.flush(); err != nil {
			return err
		}
	}
	if err := l.publishAll([]message{m}); err != nil {
		return err
	}
	b.owned.own(owner, m.topic, m.key())
	return nil
}
