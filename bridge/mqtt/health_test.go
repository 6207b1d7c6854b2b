package mqtt

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/store"
)

// Who looks at the gateway's card sees devices come and go.
func TestHealthCountsDevicesAsTheyCome(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	c := newClient(t, br.Dial, "hearthgate/bridge/health")
	counts := func(devices, online int) {
		t.Helper()
		c.expectThat("how many there are", func(x heard) bool {
			var b bridgeHealth
			return json.Unmarshal([]byte(x.payload), &b) == nil && b.Devices == devices && b.Online == online
		})
	}
	h.runWith(Options{Embedded: br}, func(b *Bridge) {
		b.healthTick, b.healthGap, b.debounce = time.Hour, 10*time.Millisecond, 10*time.Millisecond
	})
	counts(0, 0)
	h.add("kitchen")
	counts(1, 0)
	h.presence("kitchen", store.Online)
	counts(1, 1)
	h.presence("kitchen", store.Lost)
	counts(1, 0)
}
