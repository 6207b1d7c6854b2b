package mqtt

import (
	"fmt"
	"math"
	"time"

	"github.com/hearthgate/hearthgate/store"
)

// bridgeHealth is <b>/bridge/health.
type bridgeHealth struct {
	OK           bool    `json:"ok"`
	Storage      string  `json:"storage"`             // "ok", or what the last commit failed with
	InMemory     bool    `json:"in_memory,omitempty"` // storage has failed for so long that nothing is kept
	Devices      int     `json:"devices"`
	Online       int     `json:"online"` // sleepers within their time are
	Uptime       int64   `json:"uptime"` // s
	StorageBytes int64   `json:"storage_bytes"`
	Lag          uint64  `json:"lag"`                     // entries that the broker has not confirmed
	Skipped      uint64  `json:"skipped"`                 // messages and entries that never reached the broker
	Dropped      int64   `json:"dropped,omitempty"`       // messages that subscribers of the embedded broker were too slow for
	WrittenToday uint64  `json:"written_today,omitempty"` // bytes
	GBYear       float64 `json:"gb_year,omitempty"`       // at this rate
	LifeYears    float64 `json:"card_years,omitempty"`    // that a 32 GB card bears it
	FreePages    int     `json:"free_pages,omitempty"`    // of the database, used before it grows
	OldestRaw    int64   `json:"oldest_raw,omitempty"`    // ms since 1970: the day of the oldest samples
}

// countsChanged: how many devices there are, or are online, may not be what was said
// last. After a start many come at once, so it is said with a gap.
func (b *Bridge) countsChanged() {
	b.plan.health = earlier(b.plan.health, b.plan.said.Add(b.healthGap))
}

// publishHealth says how the gateway is.
func (b *Bridge) publishHealth(l *link) error {
	h, w, s := b.o.Store.Health(), b.o.Store.Wear(), b.Status()
	doc := bridgeHealth{OK: h.Healthy, Storage: "ok", Uptime: int64(time.Since(b.started).Seconds()),
		StorageBytes: h.FileBytes, Lag: s.Lag, Skipped: s.Skipped + s.Lost,
		WrittenToday: w.BytesToday, GBYear: rounded(w.GBYear), LifeYears: rounded(w.LifeYears), FreePages: w.FreePages}
	if !w.OldestRaw.IsZero() {
		doc.OldestRaw = w.OldestRaw.UnixMilli()
	}
	if !h.Healthy {
		doc.Storage, doc.InMemory = h.Err, h.InMemory
	}
	for _, d := range b.o.Registry.List() {
		doc.Devices++
		if p, ok := b.o.Store.PresenceOf(d.ID); ok && (p.State == store.Online || p.State == store.Sleeping) {
			doc.Online++
		}
	}
	doc.Dropped = b.lostBySubscribers()
	topic := b.topics.bridge("health")
	b.owned.own(gatewayKey, topic, 0)
	return l.publishAll([]message{{topic, document(doc), true}})
}

// lostBySubscribers is how many messages the embedded broker's subscribers have lost. That
// there are more of them than last time is said as well.
func (b *Bridge) lostBySubscribers() int64 {
	if b.o.Embedded == nil {
		return 0
	}
	n := b.o.Embedded.Dropped()
	if lost := n - b.lost; lost > 0 {
		b.event(bridgeEvent{Type: "alert", Message: fmt.Sprintf(
			"subscribers of the embedded broker were too slow for %d messages (the log names them); states among them are sent again, the stream is not", lost)})
	}
	b.lost = n
	return n
}

// rounded is for people: an estimate has no more than one decimal.
func rounded(f float64) float64 { return math.Round(f*10) / 10 }
