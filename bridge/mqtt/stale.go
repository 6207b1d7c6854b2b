package mqtt

import (
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
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

// freshViews are all of them, by device and component. Who asks looks them up here
// each time: which there are depends on how often a device wakes, not on its
// description alone.
type freshViews struct {
	all  map[string]map[string]*freshView
	next time.Time // the earliest until of those that are online; zero = none is
}

// fit makes the views of a device those that it should have as it is now.
func (c *composer) fit(d registry.Device) {
	var views map[string]*freshView
	for i := range d.Description.Components {
		k := &d.Description.Components[i]
		budget := hass.Budget(d, k)
		topic, ok := c.topics.point(d.ID, k.ID, "availability")
		if budget == 0 || !ok {
			continue
		}
		f := c.freshness.all[d.ID][k.ID]
		if f == nil {
			f = &freshView{device: d.ID, topic: topic}
		}
		f.budget = budget
		if views == nil {
			views = map[string]*freshView{}
		}
		views[k.ID] = f
	}
	if views == nil {
		delete(c.freshness.all, d.ID)
		return
	}
	if c.freshness.all == nil {
		c.freshness.all = map[string]map[string]*freshView{}
	}
	c.freshness.all[d.ID] = views
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
	c.fit(d)
	for i := range d.Description.Components {
		k := &d.Description.Components[i]
		f := c.freshness.all[d.ID][k.ID]
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
	for _, views := range c.freshness.all {
		for _, f := range views {
			if f.said == "online" {
				c.sayFresh(f, now)
			}
		}
	}
}

// forgetFreshness is for a new link, which has said nothing yet.
func (c *composer) forgetFreshness() {
	for _, views := range c.freshness.all {
		for _, f := range views {
			f.said = ""
		}
	}
}
