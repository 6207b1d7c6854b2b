package mqtt

import (
	"bytes"
	"strconv"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// message is one publish, QoS 1.
type message struct {
	topic    string
	payload  []byte
	retained bool
}

// composer turns committed entries into messages, a batch at a time. It knows
// nothing of brokers. One goroutine uses it.
type composer struct {
	topics topics
	// device looks a device up, describe its description alone (nil for one
	// that is not of the home); newest is the store's newest value of a name.
	device   func(id string) (registry.Device, bool)
	describe func(id string) *protocol.Description
	newest   func(device, name string) (store.Newest, bool)
	// seen is when the device was there last, ms since 1970; 0 = not known.
	seen func(device string, p store.PresenceChange, now time.Time) int64
	// since is the end of the log at the gateway's start: an event before it
	// is not news.
	since store.Position

	views     map[string]*view
	freshness freshViews

	batch uint64 // number of the batch, so that points need no clearing
	msgs  []message
	owned []ownedTopic
	buf   []byte
}

// ownedTopic is a retained topic that a message of the batch publishes on for
// the first time.
type ownedTopic struct{ device, topic string }

// view is what the composer remembers of a device: its topics.
type view struct {
	description  *protocol.Description
	stream       string
	availability string
	lifecycle    string
	points       map[string]*pointView
	presence     bool   // its topics are in the owned list
	life         []byte // what was published on lifecycle last
}

// pointView is what a record of that name becomes.
type pointView struct {
	topic     string // state or event
	precision *int
	event     bool
	light     *lightView // then topic is the light's
	ages      string     // its component, if that says that its values grow old
	attribute string
	owned     bool
	batch     uint64 // in which it was published last
	index     int    // and where
}

type lightView struct {
	pointView
	state     lightState
	published lightState
	read      bool // state has what the store knew
}

// maxViews bounds how many devices' topics are remembered; beyond it they are
// built anew.
const maxViews = 4096

// keptBuffer is how much a batch may leave behind for the next one to use.
const keptBuffer = 1 << 20

// begin starts a batch. What the last one returned is no longer valid.
func (c *composer) begin() {
	c.batch++
	clear(c.msgs)
	c.msgs, c.owned, c.buf = c.msgs[:0], c.owned[:0], c.buf[:0]
	if cap(c.buf) > keptBuffer {
		c.buf = nil // an outage's worth need not stay
	}
}

// abandon forgets the buffers: a link that ended may still write from them.
func (c *composer) abandon() { c.msgs, c.owned, c.buf = nil, nil, nil }

// forget drops what is remembered of a device that left the home.
func (c *composer) forget(device string) {
	delete(c.views, device)
	delete(c.freshness.all, device)
}

// add appends the messages of an entry. states is false for entries that are
// replayed after an outage: their newest values were published already.
func (c *composer) add(e *store.Entry, states bool, now time.Time) {
	switch e.Kind {
	case store.Telemetry, store.Result:
		v := c.view(e.Device)
		c.addStream(e, v)
		if v == nil || e.Uncertain {
			return
		}
		for i := range e.Records {
			c.addRecord(e, v, &e.Records[i], states, now)
		}
	case store.Presence:
		if d, ok := c.device(e.Device); ok && states {
			c.addPresence(d, e.Presence, true)
		}
	}
}

func (c *composer) addStream(e *store.Entry, v *view) {
	topic, ok := "", true
	if v != nil {
		topic = v.stream
	} else if topic, ok = c.topics.stream(e.Device); !ok {
		return
	}
	c.buf = appendStream(c.buf, e, func(payload []byte) {
		c.msgs = append(c.msgs, message{topic: topic, payload: payload})
	})
}

func (c *composer) addRecord(e *store.Entry, v *view, r *protocol.Record, states bool, now time.Time) {
	p := v.points[r.Name]
	if p == nil || r.Unfit {
		return
	}
	switch {
	case p.event:
		if r.Value.IsText() && !e.Again && e.Pos > c.since && now.UnixNano()-r.Time < int64(freshEvent) {
			c.addEvent(p, r)
		}
	case r.Late || !states:
	case p.light != nil:
		c.addLight(e.Device, v, p, r)
	default:
		c.addState(e.Device, p, r.Value)
	}
	if p.ages != "" && !r.Late {
		if f := c.freshness.all[e.Device][p.ages]; f != nil {
			c.refresh(f, r.Time, now)
		}
	}
}

// freshEvent is how old an event may be: an old doorbell must not ring.
const freshEvent = 30 * time.Second

func (c *composer) addEvent(p *pointView, r *protocol.Record) {
	start := len(c.buf)
	c.buf = append(c.buf, `{"event_type":`...)
	c.buf = r.Value.AppendJSON(c.buf)
	c.buf = append(c.buf, `,"time":`...)
	c.buf = strconv.AppendInt(c.buf, r.Time/1e6, 10)
	c.buf = append(c.buf, '}')
	c.emit(p.topic, start, false)
}

// addState publishes a plain value. A number that an earlier entry of this
// batch gave is not sent at all: only the newest is. Words are sent each time.
func (c *composer) addState(device string, p *pointView, v protocol.Value) {
	start := len(c.buf)
	c.buf = appendState(c.buf, v, p.precision)
	c.put(device, p, start, v.IsNumber())
}

func (c *composer) addLight(device string, v *view, p *pointView, r *protocol.Record) {
	l := p.light
	c.readLight(device, v, l)
	l.state.set(p.attribute, r.Value, r.Time)
	start := len(c.buf)
	c.buf = l.state.append(c.buf)
	sameWords := l.batch == c.batch && l.state.sameWords(&l.published)
	c.put(device, &l.pointView, start, sameWords)
	l.published = l.state
}

// put emits a state. newestOnly: if this batch has an earlier one of the topic,
// that is dropped.
func (c *composer) put(device string, p *pointView, start int, newestOnly bool) {
	if newestOnly && p.batch == c.batch {
		c.msgs[p.index].topic = ""
	}
	p.batch, p.index = c.batch, len(c.msgs)
	c.own(device, p.topic, &p.owned)
	c.emit(p.topic, start, true)
}

func (c *composer) own(device, topic string, owned *bool) {
	if !*owned {
		*owned = true
		c.owned = append(c.owned, ownedTopic{device, topic})
	}
}

func (c *composer) emit(topic string, start int, retained bool) {
	c.msgs = append(c.msgs, message{topic, c.buf[start:len(c.buf):len(c.buf)], retained})
}

// readLight fills in what the light said before this gateway process saw it.
func (c *composer) readLight(device string, v *view, l *lightView) {
	if l.read {
		return
	}
	l.read = true
	for _, q := range v.description.Points() { // in order: of two colours at one moment it is always the same
		if p := v.points[q.Name]; p != nil && p.light == l {
			if n, ok := c.newest(device, q.Name); ok {
				l.state.set(p.attribute, n.Value, n.Time)
			}
		}
	}
}

// addPresence appends lifecycle and availability.
func (c *composer) addPresence(d registry.Device, p store.PresenceChange, known bool) {
	v := c.view(d.ID)
	if v == nil {
		return
	}
	if !v.presence {
		v.presence = true
		c.owned = append(c.owned, ownedTopic{d.ID, v.lifecycle}, ownedTopic{d.ID, v.availability})
	}
	life := c.life(d, p, known)
	v.life = document(life)
	c.msgs = append(c.msgs, message{v.lifecycle, v.life, true},
		message{v.availability, []byte(life.availability()), true})
}

// addCounts appends the lifecycle if something is counted now that it does not
// say, and of a device that is there anyway: that it still is.
func (c *composer) addCounts(d registry.Device, p store.PresenceChange, known bool) {
	v := c.view(d.ID)
	if v == nil {
		return
	}
	if life := document(c.life(d, p, known)); p.State == store.Online || !bytes.Equal(life, v.life) {
		v.life = life
		if !v.presence {
			c.owned = append(c.owned, ownedTopic{d.ID, v.lifecycle})
		}
		c.msgs = append(c.msgs, message{v.lifecycle, life, true})
	}
}

func (c *composer) life(d registry.Device, p store.PresenceChange, known bool) lifecycle {
	l := lifecycleOf(d, p, known)
	if c.seen == nil {
		return l
	}
	if seen := c.seen(d.ID, p, time.Now()); l.State != store.Online && seen != l.Since {
		l.Seen = seen
	}
	return l
}

// addNewest appends the newest value of a name as its state. A light is read
// anew from the store, whatever was remembered.
func (c *composer) addNewest(device string, n store.Newest) {
	v := c.view(device)
	if v == nil {
		return
	}
	p := v.points[n.Name]
	switch {
	case p == nil || p.event:
	case p.light == nil:
		c.addState(device, p, n.Value)
	case p.light.batch != c.batch:
		l, was := p.light, p.light.state
		l.state, l.read = lightState{}, false
		c.readLight(device, v, l)
		l.state.colorAs(&was)
		start := len(c.buf)
		c.buf = l.state.append(c.buf)
		c.put(device, &l.pointView, start, true)
		l.published = l.state
	}
}

// stateTopic is where the state of a name is published.
func (c *composer) stateTopic(device, name string) (topic string, ok bool) {
	v := c.view(device)
	if v == nil {
		return "", false
	}
	switch p := v.points[name]; {
	case p == nil || p.event:
		return "", false
	case p.light != nil:
		return p.light.topic, true
	default:
		return p.topic, true
	}
}

// stateTopics are the retained topics of the device's states: of its presence and of
// these values. What a broker has on others is no longer true.
func (c *composer) stateTopics(device string, values []store.Newest) []string {
	v := c.view(device)
	if v == nil {
		return nil
	}
	ts := []string{v.lifecycle, v.availability}
	for _, f := range c.freshness.all[device] {
		ts = append(ts, f.topic)
	}
	for _, n := range values {
		if topic, ok := c.stateTopic(device, n.Name); ok {
			ts = append(ts, topic) // a light's once for each attribute: it is a set
		}
	}
	return ts
}

// view is what the composer knows of a device, nil for one that is not of the
// home (any more).
func (c *composer) view(id string) *view {
	d := c.describe(id)
	if d == nil {
		return nil
	}
	if v := c.views[id]; v != nil && v.description == d {
		return v
	}
	v := c.makeView(id, d)
	if v == nil {
		return nil
	}
	if len(c.views) >= maxViews || c.views == nil {
		c.views = map[string]*view{}
	}
	c.views[id] = v
	return v
}

func (c *composer) makeView(id string, d *protocol.Description) *view {
	stream, ok := c.topics.stream(id)
	if !ok {
		return nil // the registry gives no such id
	}
	v := &view{description: d, stream: stream, points: map[string]*pointView{}}
	v.availability, _ = c.topics.device(id, "availability")
	v.lifecycle, _ = c.topics.device(id, "lifecycle")
	lights := map[string]*lightView{}
	for _, p := range d.Points() {
		if !p.Reports {
			continue
		}
		pv := &pointView{event: p.Component.Kind == "event", attribute: p.Attribute}
		name, what := p.Name, "state"
		switch {
		case pv.event:
			what = "event"
		case hass.JSONLight(p.Component):
			name = p.Component.ID
		case p.Attribute == "":
			pv.precision = p.Component.Precision
		}
		if pv.topic, ok = c.topics.point(id, name, what); !ok {
			continue
		}
		if p.Component.Freshness > 0 {
			pv.ages = p.Component.ID
		}
		if name != p.Name {
			if lights[name] == nil {
				lights[name] = &lightView{pointView: pointView{topic: pv.topic}}
			}
			pv.light = lights[name]
		}
		v.points[p.Name] = pv
	}
	return v
}
