package mqtt

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/store"
)

// A home whose data was lost, whose base topic and prefix were changed, on a broker
// that another gateway and other things use.
func TestCollectEmptiesWhatIsLeftAndNothingElse(t *testing.T) {
	for kind := range brokers {
		t.Run(kind, func(t *testing.T) {
			o, dial := brokers[kind](t)
			h := newHome(t)
			h.add("lamp", plug)
			h.presence("lamp", store.Online)
			h.say("lamp", onOff("plug", true))
			o.Homie, o.HomiePrefix = true, "house"
			h.run(o)
			eventually(t, "all is announced", func() bool {
				all := retained(t, dial)
				return all["hearthgate/bridge/epoch"] != "" && all["house/5/hg-"+h.store.GatewayID()+"/$state"] == "ready"
			})
			before := retained(t, dial)

			id := h.store.GatewayID()
			left := map[string]string{
				"old/bridge/info":                                     `{"gateway":"` + id + `"}`,
				"old/bridge/state":                                    "offline",
				"old/device/lamp/plug/state":                          "ON",
				"old/device/lamp/light/on/state":                      "ON",
				"hearthgate/device/gone/info":                         "{}",
				"hearthgate/device/gone/temperature/availability":     "online",
				"ha/device/hg_" + id + "_lamp/config":                 "x",
				"ha/sensor/hg_" + id + "_gone/temperature/config":     "x",
				"homeassistant/device/hg_" + id + "_gone/config":      "x",
				"some/deep/prefix/switch/hg_" + id + "_a/plug/config": "x",
				"homie/5/hg-" + id + "/$state":                        "lost",
				"casa/5/hg-" + id + "-gone/plug/value":                "true",
				"casa/5/hg-" + id + "-gone/$alert/plug":               "x",
			}
			others := map[string]string{
				"other/bridge/info":                       `{"gateway":"zzzzzzzz"}`,
				"other/device/lamp/plug/state":            "ON",
				"ha/device/hg_zzzzzzzz_lamp/config":       "x",
				"ha/device/hg_" + id + "x_lamp/config":    "x",
				"hearthgate/something/of/the/house":       "x",
				"old/device/lamp/notes":                   "x",
				"zigbee2mqtt/bridge/info":                 `{"version":"2"}`,
				"homie/5/hg-zzzzzzzz-lamp/$state":         "ready",
				"homie/5/esp-7/$state":                    "ready",
				"homie/4/hg-" + id + "/$state":            "ready",
				"hearthgate/device/lamp/firmware/archive": "x",
			}
			c := newClient(t, dial)
			if o.Embedded != nil { // which keeps others from writing there: so the gateway left them itself
				for topic, payload := range both(left, others) {
					if err := o.Embedded.Publish(topic, true, []byte(payload)); err != nil {
						t.Fatal(err)
					}
				}
			} else {
				for topic, payload := range both(left, others) {
					c.publish(topic, payload, true)
				}
			}
			want := slices.Sorted(maps.Keys(left))
			for _, dry := range []bool{true, false} {
				got, err := h.bridge.Collect(t.Context(), dry)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("dry %v: %s", dry, d)
				}
			}
			if got, err := h.bridge.Collect(t.Context(), false); err != nil || len(got) > 0 {
				t.Errorf("a second time: %v, %v", got, err)
			}
			after := retained(t, dial)
			delete(before, "hearthgate/bridge/health")
			delete(after, "hearthgate/bridge/health")
			if d := cmp.Diff(both(before, others), after); d != "" {
				t.Errorf("what is left on the broker: %s", d)
			}
		})
	}
}

func both(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func TestCollectNeedsAConnection(t *testing.T) {
	h := newHome(t)
	h.run(Options{Broker: "mqtt://" + proctest.FreeAddress(t)})
	if _, err := h.bridge.Collect(t.Context(), true); err == nil || !strings.Contains(err.Error(), "not connected") {
		t.Errorf("without a broker: %v", err)
	}
}
