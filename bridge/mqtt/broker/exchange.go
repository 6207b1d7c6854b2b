package broker

import (
	"slices"
	"sync"
	"time"
)

// exchange is what all connections share: the sessions, who wants what, and what
// is retained. One lock guards it, held for well below a microsecond a message;
// so messages of one publisher reach all subscribers in its order.
type exchange struct {
	mu sync.Mutex // before any session's

	commands []command // by wills, to be handed over once mu is released

	sessions      map[sessionKey]*session
	connected     int
	drops         uint64 // calls of Drop
	filters       tree[listeners]
	subscriptions int
	shared        int    // of subscriptions, those of a group
	remembered    int    // bytes of all topics' matches
	mayRemember   int    // set at birth: maxRemembered, in tests less
	generation    uint64 // of filters; targets of another one are not used

	topics   map[string]*topic
	passing  int         // of topics, those that are not retained: just a cache
	retained tree[topic] // of topics, those that are
	store    retainedSums
	walks    time.Duration // by the broker's clock: from when on a walk costs the others little
	matching uint64        // counts calls of match
}

// subscription is one filter of one session.
type subscription struct {
	wish
	session    *session
	identifier int
	inner      string // the filter without $share/group/
	gone       bool
}

// listeners are the subscriptions to one filter.
type listeners struct {
	direct []*subscription
	shares []*share
}

// share is one group that shares a filter: each message goes to one of it.
type share struct {
	group   string
	members []*subscription
	next    int
}

// topic is a name that was published to, with who gets its messages. Names
// repeat, so that looking for the subscribers is done once.
type topic struct {
	name       string // set at birth, as the next is
	command    bool   // it takes commands
	generation uint64 // of the next three
	targets    []target
	shares     []*share
	remembered int // bytes of these

	kept *kept // the retained message, if any
}

// target is one session with all its subscriptions that match: it gets a message
// once, at their highest QoS (MQTT 5 §3.3.4).
type target struct {
	session       *session
	subscriptions []*subscription
	delivery
	anyNoLocal bool
}

type delivery struct {
	qos         byte
	asPublished bool
	identifiers []byte // as properties
}

// message is one on its way through the exchange. Its slices are the caller's.
type message struct {
	payload, props []byte
	expires        time.Duration // by the broker's clock; 0 is never
	qos            byte
	retain         bool

	// Connections that who publishes writes to, once it holds no lock any more; as
	// many as there is room for.
	writers []*conn
}

func newExchange() exchange {
	return exchange{sessions: map[sessionKey]*session{}, topics: map[string]*topic{}, generation: 1, mayRemember: maxRemembered}
}

// learn notes a new topic.
func (x *exchange) learn(name string) *topic {
	if x.passing >= maxPassing {
		for name, t := range x.topics {
			if t.kept == nil {
				x.remembered -= t.remembered
				delete(x.topics, name)
			}
		}
		x.passing = 0
	}
	t := &topic{name: name}
	x.topics[name] = t
	x.passing++
	return t
}

// route hands a message to all who want it.
func (x *exchange) route(t *topic, m *message, from *session) {
	if t.generation != x.generation {
		x.match(t)
	}
	for i := range t.targets {
		g := &t.targets[i]
		d := g.delivery
		if g.anyNoLocal && g.session == from {
			var ok bool
			if d, ok = merge(g.subscriptions, true); !ok {
				continue
			}
		}
		lost := g.session.offer(m, t.name, d.identifiers, min(m.qos, d.qos), m.retain && d.asPublished)
		if lost && m.retain {
			g.session.miss(t)
		}
	}
	for _, s := range t.shares {
		if sub := s.pick(); sub != nil {
			d, _ := merge([]*subscription{sub}, false)
			sub.session.offer(m, t.name, d.identifiers, min(m.qos, d.qos), m.retain && d.asPublished)
		}
	}
}

// match finds the targets of a topic.
func (x *exchange) match(t *topic) {
	x.matching++
	x.unremember(t)
	t.generation = x.generation
	x.filters.filtersOf(t.name, func(l *listeners) {
		t.shares = append(t.shares, l.shares...)
		for _, sub := range l.direct {
			s := sub.session
			if s.matched != x.matching {
				s.matched, s.target = x.matching, len(t.targets)
				t.targets = append(t.targets, target{session: s})
			}
			g := &t.targets[s.target]
			g.subscriptions = append(g.subscriptions, sub)
			g.anyNoLocal = g.anyNoLocal || sub.noLocal
		}
	})
	for i := range t.targets {
		t.targets[i].delivery, _ = merge(t.targets[i].subscriptions, false)
	}
	x.remember(t)
}

// merge is how a message is delivered that several subscriptions of one session
// match; ok is false if none does because it is the session's own.
func merge(subs []*subscription, own bool) (d delivery, ok bool) {
	for _, sub := range subs {
		if own && sub.noLocal {
			continue
		}
		ok = true
		d.qos = max(d.qos, sub.qos)
		d.asPublished = d.asPublished || sub.asPublished
		if sub.identifier > 0 {
			d.identifiers = appendVarint(append(d.identifiers, propSubscriptionID), sub.identifier)
		}
	}
	return d, ok
}

// pick chooses who of a group is next, of those that are there if there are any.
func (s *share) pick() *subscription {
	var away *subscription
	for range s.members {
		s.next = (s.next + 1) % len(s.members)
		sub := s.members[s.next]
		if sub.session.conn != nil {
			return sub
		}
		if away == nil {
			away = sub
		}
	}
	return away
}

// subscribe adds a subscription, or changes it if the session has its filter.
func (x *exchange) subscribe(s *session, w wish, identifier int) (sub *subscription, isNew bool) {
	group, inner, _ := shareOf(w.filter)
	old := s.subscriptions[w.filter]
	if old != nil {
		x.unlink(old)
	}
	sub = &subscription{wish: w, session: s, identifier: identifier, inner: inner}
	s.subscriptions[w.filter] = sub
	x.subscriptions++
	x.generation++
	l := x.filters.get(inner)
	if l == nil {
		l = &listeners{}
		x.filters.put(inner, l)
	}
	if group == "" {
		l.direct = append(l.direct, sub)
		return sub, old == nil
	}
	x.shared++
	s.shared++
	i := slices.IndexFunc(l.shares, func(sh *share) bool { return sh.group == group })
	if i < 0 {
		i = len(l.shares)
		l.shares = append(l.shares, &share{group: group})
	}
	l.shares[i].members = append(l.shares[i].members, sub)
	return sub, old == nil
}

// unsubscribe reports whether there was such a subscription.
func (x *exchange) unsubscribe(s *session, filter string) bool {
	sub := s.subscriptions[filter]
	if sub == nil {
		return false
	}
	delete(s.subscriptions, filter)
	x.unlink(sub)
	return true
}

// unlink takes a subscription out of filters.
func (x *exchange) unlink(sub *subscription) {
	sub.gone = true
	if sub.inner != sub.filter {
		x.shared--
		sub.session.shared--
	}
	x.subscriptions--
	x.generation++
	is := func(other *subscription) bool { return other == sub }
	l := x.filters.get(sub.inner)
	l.direct = slices.DeleteFunc(l.direct, is)
	for _, sh := range l.shares {
		sh.members = slices.DeleteFunc(sh.members, is)
	}
	l.shares = slices.DeleteFunc(l.shares, func(sh *share) bool { return len(sh.members) == 0 })
	if len(l.direct) == 0 && len(l.shares) == 0 {
		x.filters.remove(sub.inner)
	}
}

// discard ends a session.
func (x *exchange) discard(s *session) {
	for filter := range s.subscriptions {
		x.unsubscribe(s, filter)
	}
	s.replays, s.missed, s.missedMore = nil, nil, false
	s.stopTimers()
	s.clear()
	delete(x.sessions, s.key())
}

// stopTimers also stops those that have fired and wait for the lock: they look at
// what is nil then.
func (s *session) stopTimers() {
	for _, t := range []*time.Timer{s.ending, s.willTimer} {
		if t != nil {
			t.Stop()
		}
	}
	s.ending, s.willTimer, s.will = nil, nil, nil
}
