package mqtt

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// staleHome is a composer for one device whose power is true for a minute.
type staleHome struct {
	composer
	d      registry.Device
	values map[string]store.Newest
	now    time.Time
}

func newStaleHome(t *testing.T, wake uint64) *staleHome {
	t.Helper()
	desc, err := protocol.NewDescription(&protocol.Describe{Components: []protocol.Component{
		{ID: "power", Kind: "sensor", Unit: "W", Freshness: 60},
		{ID: "fan", Kind: "fan", Freshness: 600, Attributes: map[string]protocol.Attribute{"on": {}, "speed": {}}},
		{ID: "total", Kind: "sensor", Unit: "kWh"},
	}}, nil, protocol.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	h := &staleHome{d: registry.Device{ID: "plug", Description: desc, WakeInterval: wake}, values: map[string]store.Newest{}, now: time.Unix(1_800_000_000, 0)}
	h.topics = topics{"hearthgate"}
	h.device = func(string) (registry.Device, bool) { return h.d, true }
	h.describe = func(string) *protocol.Description { return h.d.Description }
	h.newest = func(_, name string) (store.Newest, bool) { n, ok := h.values[name]; return n, ok }
	return h
}

// said are the availabilities that f makes the composer say.
func (h *staleHome) said(f func()) map[string]string {
	h.begin()
	f()
	said := map[string]string{}
	for _, m := range h.msgs {
		if len(m.payload) > 0 && m.retained && (string(m.payload) == "online" || string(m.payload) == "offline") {
			said[m.topic] = string(m.payload)
		}
	}
	return said
}

// report is a frame of a value that is so old.
func (h *staleHome) report(name string, age time.Duration, late bool) map[string]string {
	r := protocol.Record{Name: name, Value: protocol.Int(5), Time: h.now.Add(-age).UnixNano(), Late: late}
	if !late {
		h.values[name] = store.Newest{Name: name, Value: r.Value, Time: r.Time}
	}
	return h.said(func() {
		h.add(&store.Entry{Kind: store.Telemetry, Device: "plug", Pos: 1, Records: []protocol.Record{r}}, true, h.now)
	})
}

func (h *staleHome) later(d time.Duration) map[string]string {
	h.now = h.now.Add(d)
	return h.said(func() {
		if next := h.freshness.next; !next.IsZero() && !h.now.Before(next) {
			h.expire(h.now)
		}
	})
}

const powerTopic, fanTopic = "hearthgate/device/plug/power/availability", "hearthgate/device/plug/fan/availability"

func TestAValueGrowsOldThoughItsDeviceIsOnline(t *testing.T) {
	h := newStaleHome(t, 0)
	is := func(what string, got map[string]string, want ...string) {
		t.Helper()
		m := map[string]string{}
		for i := 0; i < len(want); i += 2 {
			m[want[i]] = want[i+1]
		}
		if d := cmp.Diff(m, got); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	is("nothing was said yet", h.said(func() { h.addFreshness(h.d, false, h.now) }), powerTopic, "offline", fanTopic, "offline")
	is("the first value", h.report("power", 0, false), powerTopic, "online")
	is("the next", h.report("power", 0, false))
	is("a while", h.later(59*time.Second))
	is("one that comes late changes nothing", h.report("power", 50*time.Second, true))
	is("a minute", h.later(time.Second), powerTopic, "offline")
	is("an attribute", h.report("fan/speed", 0, false), fanTopic, "online")
	is("a value that was old when it came", h.report("power", 2*time.Minute, false))
	is("a new one", h.report("power", 0, false), powerTopic, "online")
	is("no budget", h.report("total", 0, false))

	h.forgetFreshness() // another link, or a restart
	is("it begins with what is true", h.said(func() { h.addFreshness(h.d, false, h.now) }), powerTopic, "online", fanTopic, "online")
	is("again for Home Assistant's birth", h.said(func() { h.addFreshness(h.d, true, h.now) }), powerTopic, "online", fanTopic, "online")
	is("both are over in the end", h.later(time.Hour), powerTopic, "offline", fanTopic, "offline")
	if !h.freshness.next.IsZero() {
		t.Error("something is still to grow old")
	}
}

func TestASleeperWithLongNapsHasNoStaleValues(t *testing.T) {
	h := newStaleHome(t, 300) // longer than power is fresh, shorter than the fan
	if d := cmp.Diff(map[string]string{fanTopic: "offline"}, h.said(func() { h.addFreshness(h.d, false, h.now) })); d != "" {
		t.Error(d)
	}
	if b := hass.Budget(h.d, &h.d.Description.Components[0]); b != 0 {
		t.Errorf("a budget of %v", b)
	}
}

// How often a device wakes decides which of its values grow old, with the same
// description too: those that do stay online for as long as they come.
func TestWhatGrowsOldChangesWithHowOftenADeviceWakes(t *testing.T) {
	h := newStaleHome(t, 0)
	none := map[string]string{}
	is := func(what string, want, got map[string]string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	announced := func() map[string]string { return h.said(func() { h.addFreshness(h.d, false, h.now) }) }
	announced()
	is("it reports", map[string]string{powerTopic: "online"}, h.report("power", 0, false))

	h.d.WakeInterval = 300 // longer than power is fresh
	is("it sleeps for longer", none, announced())
	if slices.Contains(h.stateTopics("plug", nil), powerTopic) {
		t.Error("the topic stays, though its values are true until the next")
	}
	is("much later", none, h.later(59*time.Second))

	h.d.WakeInterval = 30
	is("it wakes more often", map[string]string{powerTopic: "online"}, announced())
	if !slices.Contains(h.stateTopics("plug", nil), powerTopic) {
		t.Error("the topic goes though it is in use")
	}
	for range 10 {
		is("it reports", none, h.report("power", 0, false))
		is("and sleeps", none, h.later(30*time.Second))
	}
}

// Nothing is said any more of a component that is gone.
func TestNothingGrowsOldOfWhatIsGone(t *testing.T) {
	h := newStaleHome(t, 0)
	h.said(func() { h.addFreshness(h.d, false, h.now) })
	h.report("power", 0, false)
	without, err := protocol.NewDescription(&protocol.Describe{Components: h.d.Description.Components[1:]}, nil, protocol.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	h.d.Description = without
	h.said(func() { h.addFreshness(h.d, false, h.now) })
	if said := h.later(time.Hour); len(said) > 0 {
		t.Errorf("said %v", said)
	}
}

func TestStalenessOverMQTT(t *testing.T) {
	m := startMosquitto(t, true)
	h := newHome(t)
	meter := protocol.Component{ID: "power", Kind: "sensor", Unit: "W", Freshness: 3600}
	h.add("plug", meter)
	h.presence("plug", store.Online)
	h.say("plug", number("power", 7))
	c := newClient(t, m.dial, "hearthgate/device/plug/power/#")
	h.run(Options{Broker: "mqtt://" + m.Address})
	c.expect(powerTopic, "online")
	h.stop()

	h.say("plug", protocol.Record{Name: "power", Value: protocol.Int(8), Time: time.Now().Add(-2 * time.Hour).UnixNano()}) // late
	h.run(Options{Broker: "mqtt://" + m.Address})
	c.expect(powerTopic, "online")

	meter.Freshness = 0 // it describes itself anew: nothing must be left
	h.describe("plug", meter)
	c.expect(powerTopic, "")
}
