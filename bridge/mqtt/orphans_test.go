package mqtt

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/bridge/mqtt/broker"
	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// belongs is every topic that has to be retained, by what registry and store know.
func (h *home) belongs() []string { return h.belongsWith(Options{}) }

// belongsWith is the same for a bridge with these options.
func (h *home) belongsWith(o Options) []string {
	base, prefix := cmp.Or(o.BaseTopic, "hearthgate"), cmp.Or(o.DiscoveryPrefix, "homeassistant")
	names := hass.Names{Gateway: h.store.GatewayID(), Base: base, Prefix: prefix}
	all := map[string]bool{}
	describe := func(t hass.Thing) {
		switch o.Discovery {
		case DiscoverNothing:
		case DiscoverComponents:
			for _, m := range t.Apart() {
				all[m.Topic] = true
			}
		default:
			all[t.Whole(nil).Topic] = true
		}
	}
	describe(names.Itself(h.reg.Scenes()...))
	for _, what := range []string{"state", "epoch", "info", "health"} {
		all[base+"/bridge/"+what] = true
	}
	for _, d := range h.reg.List() {
		describe(names.Device(d))
		of := base + "/device/" + d.ID + "/"
		for _, what := range []string{"info", "availability", "lifecycle"} {
			all[of+what] = true
		}
		for i := range d.Description.Components {
			if k := &d.Description.Components[i]; hass.Budget(d, k) > 0 {
				all[of+k.ID+"/availability"] = true
			}
		}
		for _, n := range h.store.Newest(d.ID) {
			_, misfit := d.Description.Check(&protocol.Record{Name: n.Name, Value: n.Value})
			switch p := d.Description.Point(n.Name); {
			case misfit != nil || p == nil || !p.Reports || p.Component.Kind == "event":
			case hass.JSONLight(p.Component):
				all[of+p.Component.ID+"/state"] = true
			default:
				all[of+n.Name+"/state"] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// keeps is what a broker keeps that took all of this.
func keeps(all []heard) []string {
	kept := map[string]bool{}
	for _, x := range all {
		if x.retained {
			kept[x.topic] = true
			if x.payload == "" {
				delete(kept, x.topic)
			}
		}
	}
	return slices.Sorted(maps.Keys(kept))
}

// The power fails after the nth message, whichever that is, and before the next
// start a device is removed and another one loses a component: nothing of what is
// gone stays with the broker, and nothing of what is there is missing.
func TestACrashAfterAnyMessageLeavesNoOrphan(t *testing.T) {
	whole := 1 << 30
	for n := 1; n <= whole; n++ {
		synctest.Test(t, func(t *testing.T) {
			br, err := broker.New(broker.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer br.Close()
			s := &shaky{Broker: br}
			dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
			h := openHome(t, dir)
			meter := protocol.Component{ID: "power", Kind: "sensor", Unit: "W", Freshness: 3600}
			h.add("kitchen", thermometer, plug)
			h.add("cellar", lamp, meter)
			h.presence("kitchen", store.Online)
			h.say("kitchen", number("temperature", 20), onOff("plug", true))
			h.say("cellar", onOff("desk/on", true), number("power", 5))
			s.come(n)
			once := func(b *Bridge) { b.backoff = time.Hour }
			h.runWith(Options{Embedded: s}, once)
			time.Sleep(50 * time.Second)
			synctest.Wait()
			took := s.taken()
			if len(took) < n-1 { // all was said before the power failed
				if whole = n; !gocmp.Equal(h.belongs(), keeps(took)) {
					t.Errorf("without a crash: %s", gocmp.Diff(h.belongs(), keeps(took)))
				}
			}
			if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			h.close()
			s.taken()
			h = openHome(t, image)
			if err := h.reg.Remove("kitchen"); err != nil {
				t.Fatal(err)
			}
			h.describe("cellar", lamp)
			s.come(0)
			h.runWith(Options{Embedded: s}, once)
			time.Sleep(time.Minute)
			synctest.Wait()
			if d := gocmp.Diff(h.belongs(), keeps(append(took, s.taken()...))); d != "" {
				t.Errorf("after message %d (-should be +is):\n%s", n, d)
			}
			h.close()
		})
	}
	if whole < 15 {
		t.Errorf("only %d messages", whole)
	}
}
