package mqtt

import (
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// A component that says how long its values are true (its freshness) has an
// availability of its own: offline from the moment when its newest value, by the
// value's own time, is older than that, though the device is online. So after a
// restart of the gateway or of Home Assistant an old value is still an old value.

// freshView is what the composer remembers of one such component.
type freshView struct {
	device string
	topic  string
	budget time.Duration
	until  time.Time // its newest value is true until then
	said   string    // what this link has put on the topic
	owned  bool
}

// freshViews are all of them, by topic.
type freshViews struct {
	all  map[string]*freshView
	next time.Time // the earliest until of those that are online; zero = none is
}

// fresh is the view of a component's freshness, nil if it has none.
func (c *composer) fresh(d registry.Device, k *protocol.Component) *freshView {
	budget := hass.Budget(d, k)
	topic, ok := c.topics.point(d.ID, k.ID, "availability")
	if budget == 0 || !ok {
		delete(c.freshness.all, topic)
		return nil
	}
	f := c.freshness.all[topic]
	if f == nil {
		if c.freshness.all == nil {
			c.freshness.all = map[string]*freshView{}
		}
		f = &freshView{device: d.ID, topic: topic}
		c.freshness.all[topic] = f
	}
	f.budget = budget
	return f
}

// refresh takes note of a value of that time.
func (c *composer) refresh(f *freshView, t int64, now time.Time) {
	if until := f.after(t, now); until.After(f.until) {
		f.until = until
		c.sayFresh(f, now)
	}
}

// after is until when a value of that time is true. One from the future is of now.
func (f *freshView) after(t int64, now time.Time) time.Time {
	return time.Unix(0, min(t, now.UnixNano())).Add(f.budget)
}

// sayFresh puts on the topic what is true, unless it stands there.
func (c *composer) sayFresh(f *freshView, now time.Time) {
	say := "offline"
	if now.Before(f.until) {
		say = "online"
		if c.freshness.next.IsZero() || f.until.Before(c.freshness.next) {
			c.freshness.next = f.until
		}
	}
	if say == f.said {
		return
	}
	f.said = say
	c.own(f.device, f.topic, &f.owned)
	c.msgs = append(c.msgs, message{f.topic, []byte(say), true})
}

// addFreshness appends what a device's components with a freshness have on their
// topics. The store knows how old their values are.
func (c *composer) addFreshness(d registry.Device, again bool, now time.Time) {
	for i := range d.Description.Components {
		k := &d.Description.Components[i]
		f := c.fresh(d, k)
		if f == nil {
			continue
		}
		f.until = time.Time{}
		if again {
			f.said = ""
		}
		for _, p := range d.Description.PointsOf(k.ID) {
			if n, ok := c.newest(d.ID, p.Name); ok {
				if until := f.after(n.Time, now); until.After(f.until) {
					f.until = until
				}
			}
		}
		c.sayFresh(f, now)
	}
}

// expire appends those whose values have become too old by now.
func (c *composer) expire(now time.Time) {
	c.freshness.next = time.Time{}
	for _, f := range c.freshness.all {
		if f.said == "online" {
			c.sayFresh(f, now)
		}
	}
}

// forgetFreshness is for a device that left the home ("" = for all of them, since
// a new link has said nothing yet).
func (c *composer) forgetFreshness(device string) {
	for topic, f := range c.freshness.all {
		switch {
		case device == "":
			f.said = ""
		case f.device == device:
			delete(c.freshness.all, topic)
		}
	}
}
