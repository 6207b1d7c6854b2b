package mqtt

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// losing is an embedded broker of which a subscriber is slow.
type losing struct {
	Embedded
	lost atomic.Int64
}

func (l *losing) Dropped() int64 { return l.lost.Load() }

// What slow subscribers of the embedded broker lose does not get lost in silence.
func TestWhatSlowSubscribersLoseIsSaid(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	c := newClient(t, br.Dial, "hearthgate/bridge/#")
	slow := &losing{Embedded: br}
	h.runWith(Options{Embedded: slow}, func(b *Bridge) { b.healthTick = 10 * time.Millisecond })
	c.expect("hearthgate/bridge/state", "online")
	slow.lost.Store(7)
	c.expectThat("an alert", func(x heard) bool {
		return x.topic == "hearthgate/bridge/event" && strings.Contains(x.payload, "too slow for 7 messages")
	})
	c.expectThat("health", func(x heard) bool {
		if strings.Contains(x.payload, "too slow") {
			t.Errorf("said again though nothing was lost since: %v", x)
		}
		var b bridgeHealth
		return x.topic == "hearthgate/bridge/health" && json.Unmarshal([]byte(x.payload), &b) == nil && b.Dropped == 7
	})
}
