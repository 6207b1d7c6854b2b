package mqtt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/bridge/mqtt/homie"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// homieView is what this link has said of a device.
type homieView struct {
	id      string // in the home
	device  homie.Device
	content uint64                   // mark of its description without a version
	budgets map[string]time.Duration // by component, of those whose values grow old
	state   string
	fresh   map[string]*homieFresh // those of budgets
}

// homieFresh is a component that says for how long its values are true. Homie has no
// availability but the device's: a value that is too old goes, and an alert says why.
type homieFresh struct {
	component *protocol.Component
	node      string
	budget    time.Duration
	until     time.Time
	stale     bool
}

// homieSaying is what is published of a device, or of the gateway, at once.
type homieSaying struct {
	owner   string
	msgs    []message
	orphans []message // of msgs, those that empty a topic for good
}

// announce publishes these devices as they are, or empties what is left of one that
// is gone.
func (h *homieSide) announce(l *link, ids []string, now time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	var all []homieSaying
	for _, id := range ids {
		d, ok := h.b.o.Registry.Get(id)
		if ok && h.on {
			all = append(all, h.prepare(d, now))
			continue
		}
		h.rootDue = h.rootDue || h.views[id] != nil
		delete(h.views, id)
		left := h.orphans(id, nil)
		all = append(all, homieSaying{id, left, left})
	}
	return h.say(l, all...)
}

// say publishes. What will be on the broker is noted before, and what is no longer
// there after.
func (h *homieSide) say(l *link, all ...homieSaying) error {
	if err := h.owned.flush(); err != nil {
		return err
	}
	var msgs []message
	for _, s := range all {
		msgs = append(msgs, s.msgs...)
	}
	if err := l.publishAll(msgs); err != nil {
		return err
	}
	for _, s := range all {
		for _, m := range s.orphans {
			h.owned.disown(s.owner, m.topic)
		}
	}
	return h.owned.flush()
}

// orphans are what an owner has on the broker that is not in keep, $state first: with
// it a device is gone.
func (h *homieSide) orphans(owner string, keep map[string]bool) []message {
	return orphans(h.owned.of(owner), keep, func(topic string) bool { return strings.HasSuffix(topic, "/$state") })
}

// prepare makes a device's view and says all of it, nothing if this link has said it.
func (h *homieSide) prepare(d registry.Device, now time.Time) homieSaying {
	v := &homieView{id: d.ID, device: h.names.Device(d), state: homie.State(store.Unknown), fresh: map[string]*homieFresh{}}
	v.content, v.budgets = mark(v.device.Document(0)), budgetsOf(d)
	if old := h.views[d.ID]; old != nil && old.content == v.content && maps.Equal(old.budgets, v.budgets) {
		return homieSaying{owner: d.ID}
	}
	if p, known := h.b.o.Store.PresenceOf(d.ID); known {
		v.state = homie.State(p.State)
	}
	h.rootDue = h.rootDue || h.views[d.ID] == nil
	h.views[d.ID] = v
	state, description := h.topic(v, "$state"), h.topic(v, "$description")
	values := v.values(h, d, now)
	keep := map[string]bool{state: true, description: true}
	for _, m := range values {
		keep[m.topic] = true
	}
	values = slices.DeleteFunc(values, func(m message) bool { // empty before and now
		return len(m.payload) == 0 && !h.owned.knows(d.ID, m.topic)
	})
	for topic := range keep {
		if !h.owned.knows(d.ID, topic) {
			h.owned.own(d.ID, topic, 0)
		}
	}
	version := h.version(d.ID, description, v.content)
	s := homieSaying{owner: d.ID, orphans: h.orphans(d.ID, keep)}
	s.msgs = slices.Concat([]message{{state, []byte("init"), true}}, s.orphans,
		[]message{{description, v.device.Document(version), true}}, values, []message{{state, []byte(v.state), true}})
	return s
}

// budgetsOf are for how long the values of a device's components are true, which depends
// on how often it wakes too.
func budgetsOf(d registry.Device) map[string]time.Duration {
	budgets := map[string]time.Duration{}
	for i := range d.Description.Components {
		c := &d.Description.Components[i]
		if budget := hass.Budget(d, c); budget > 0 {
			budgets[c.ID] = budget
		}
	}
	return budgets
}

func (h *homieSide) topic(v *homieView, what string) string { return h.names.Topic(v.device.ID, what) }

// values are all retained properties of a device, those without a value empty, and
// the alerts that go with them.
func (v *homieView) values(h *homieSide, d registry.Device, now time.Time) (msgs []message) {
	newest := map[string]store.Newest{}
	for _, n := range h.b.values(d) {
		newest[n.Name] = n
	}
	for _, p := range d.Description.Points() {
		c := p.Component
		if budget := v.budgets[c.ID]; budget > 0 && v.fresh[c.ID] == nil {
			node, _, _ := strings.Cut(v.device.Points[p.Name].Path(), "/")
			v.fresh[c.ID] = &homieFresh{component: c, node: node, budget: budget}
		}
		if n, known := newest[p.Name]; known && v.fresh[c.ID] != nil {
			v.fresh[c.ID].refresh(n.Time, now)
		}
	}
	for _, p := range d.Description.Points() {
		t := v.device.Points[p.Name]
		if !t.Retained {
			continue
		}
		m := message{topic: h.topic(v, t.Path()), retained: true}
		if f := v.fresh[p.Component.ID]; f == nil || now.Before(f.until) {
			m.payload = payloadOf(t, newest[p.Name].Value)
		}
		msgs = append(msgs, m)
	}
	for _, id := range slices.Sorted(maps.Keys(v.fresh)) {
		f := v.fresh[id]
		f.stale = !f.until.IsZero() && !now.Before(f.until)
		h.expectStale(f)
		msgs = append(msgs, h.alert(v, f))
	}
	return msgs
}

// payloadOf is what stands on the topic of a property: nothing for a value that it
// cannot have.
func payloadOf(p *homie.Property, v protocol.Value) []byte {
	if s, ok := p.Payload(v); ok {
		return []byte(s)
	}
	return nil
}

// refresh takes note of a value of that time. One from the future is of now.
func (f *homieFresh) refresh(t int64, now time.Time) {
	if until := time.Unix(0, min(t, now.UnixNano())).Add(f.budget); until.After(f.until) {
		f.until = until
	}
}

// expectStale notes when to look at it again.
func (h *homieSide) expectStale(f *homieFresh) {
	if !f.stale && !f.until.IsZero() && (h.expiry.IsZero() || f.until.Before(h.expiry)) {
		h.expiry = f.until
	}
}

// alert is the message that a component's values are too old, empty if they are not.
func (h *homieSide) alert(v *homieView, f *homieFresh) message {
	m := message{topic: h.topic(v, "$alert/"+f.node), retained: true}
	if f.stale {
		m.payload = fmt.Appendf(nil, "%s has said nothing for more than %s", f.component.ID, f.budget)
	}
	return m
}

// expire empties what has become too old by now.
func (h *homieSide) expire(l *link, now time.Time) error {
	if h.expiry.IsZero() || now.Before(h.expiry) {
		return nil
	}
	h.expiry = time.Time{}
	var msgs []message
	for _, id := range slices.Sorted(maps.Keys(h.views)) {
		v := h.views[id]
		for _, f := range v.fresh {
			if f.stale || f.until.IsZero() || now.Before(f.until) {
				h.expectStale(f)
				continue
			}
			f.stale = true
			for _, p := range v.device.Points {
				if p.Retained && p.Point().Component == f.component {
					msgs = append(msgs, message{topic: h.topic(v, p.Path()), retained: true})
				}
			}
			msgs = append(msgs, h.alert(v, f))
		}
	}
	return l.publishAll(msgs)
}

// announceRoot publishes the gateway with the children that there are now.
func (h *homieSide) announceRoot(l *link) error {
	if !h.on {
		left := h.orphans(gatewayKey, nil)
		h.owned.dirty[gatewayKey] = true
		return h.say(l, homieSaying{gatewayKey, left, left})
	}
	root := h.names.Itself(slices.Collect(maps.Keys(h.views)))
	state, description := h.rootState("").topic, h.names.Topic(root.ID, "$description")
	if !h.owned.knows(gatewayKey, description) {
		h.owned.own(gatewayKey, description, 0)
	}
	s := homieSaying{owner: gatewayKey, orphans: h.orphans(gatewayKey, map[string]bool{state: true, description: true})}
	version := h.version(gatewayKey, description, mark(root.Document(0)))
	s.msgs = append(slices.Clip(s.orphans), message{description, root.Document(version), true})
	if h.root == "ready" {
		s.msgs = append([]message{h.rootState("init")}, s.msgs...)
	}
	if err := h.say(l, s); err != nil {
		return err
	}
	return h.sayRoot(l, "ready")
}
