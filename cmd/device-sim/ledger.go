package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// ledger is what happened to everything that was reported. It is safe for
// concurrent use; counters that each device keeps are added up at the end.
type ledger struct {
	started time.Time
	keep    bool // the acknowledged frames, for verify

	acked, refused, dropped, records atomic.Uint64
	latency                          histogram // from the first sending to the ack

	mu       sync.Mutex // guards the rest
	kept     map[string][]keptFrame
	refusals map[string]int // why, in the gateway's words
	ends     map[string]int // how links and tries ended
}

// keptFrame is an acknowledged frame.
type keptFrame struct {
	boot    protocol.Boot
	seq     uint64
	records []protocol.Record
}

func newLedger(keep bool) *ledger {
	return &ledger{
		started: time.Now(), keep: keep,
		kept: map[string][]keptFrame{}, refusals: map[string]int{}, ends: map[string]int{},
	}
}

func (l *ledger) settled(device string, f client.Fate) {
	switch err := f.Err.(type) {
	case nil:
	case *client.Rejection:
		l.refused.Add(1)
		l.count(l.refusals, err.Message)
		return
	default:
		l.dropped.Add(1)
		return
	}
	l.acked.Add(1)
	l.records.Add(uint64(len(f.Records)))
	l.latency.add(time.Since(f.Sent))
	// What has no certain time goes to the stream alone, so no export has it.
	if l.keep && !f.Uncertain {
		l.mu.Lock()
		l.kept[device] = append(l.kept[device], keptFrame{f.Boot, f.Seq, f.Records})
		l.mu.Unlock()
	}
}

// maxKinds bounds the texts that are told apart.
const maxKinds = 32

func (l *ledger) count(m map[string]int, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := m[what]; !known && len(m) >= maxKinds {
		what = "others"
	}
	m[what]++
}

// summary is the ledger as it is printed.
type summary struct {
	Devices   int            `json:"devices"`
	Seconds   float64        `json:"seconds"`
	Sessions  uint64         `json:"sessions"`
	Reported  uint64         `json:"reported"`
	Sent      uint64         `json:"sent"`
	Again     uint64         `json:"sent_again"`
	Acked     uint64         `json:"acked"`
	InMemory  uint64         `json:"acked_in_memory,omitempty"` // not stored: kept, and sent again
	Records   uint64         `json:"records_acked"`
	Rate      float64        `json:"acked_per_second"`
	Refused   uint64         `json:"refused"`
	Gaps      uint64         `json:"gaps"`
	Pending   uint64         `json:"pending"`
	Commands  uint64         `json:"commands_answered"`
	Repeats   uint64         `json:"commands_repeated"`
	Latency   percentiles    `json:"ack_ms"`
	Refusals  map[string]int `json:"refusals,omitempty"`
	Ends      map[string]int `json:"link_ends,omitempty"`
	Faults    map[string]int `json:"faults,omitempty"`
	Verified  *verdict       `json:"verified,omitempty"`
	ShiftedBy int64          `json:"csv_shifted_by_s,omitempty"`
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func (l *ledger) sum(clients []*client.Device) summary {
	s := summary{
		Devices: len(clients),
		Seconds: time.Since(l.started).Seconds(),
		Acked:   l.acked.Load(), Records: l.records.Load(),
		Refused: l.refused.Load(), Gaps: l.dropped.Load(),
		Latency: percentiles{l.latency.at(0.5), l.latency.at(0.9), l.latency.at(0.99), l.latency.at(1)},
	}
	for _, c := range clients {
		st := c.Stats()
		s.Sessions += st.Sessions
		s.Reported += st.Reported
		s.Sent += st.Sent
		s.Again += st.Again
		s.InMemory += st.InMemory
		s.Commands += st.Commands
		s.Repeats += st.Repeats
		s.Pending += uint64(c.Pending())
	}
	if s.Seconds > 0 {
		s.Rate = float64(s.Acked) / s.Seconds
	}
	l.mu.Lock()
	s.Refusals, s.Ends = l.refusals, l.ends
	l.mu.Unlock()
	return s
}

func (s *summary) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(s)
}

func (s *summary) print(w io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-20s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("devices", "%d, %d sessions in %.1f s", s.Devices, s.Sessions, s.Seconds)
	if s.ShiftedBy != 0 {
		line("times", "moved by %d s, so that the last row is now", s.ShiftedBy)
	}
	line("sent", "%d frames, %d of them again", s.Sent+s.Again, s.Again)
	line("acked", "%d frames, %d records, %.0f frames/s", s.Acked, s.Records, s.Rate)
	if s.InMemory > 0 {
		line("acked in memory", "%d frames: the gateway's disk failed; they were kept and sent again", s.InMemory)
	}
	line("ack latency", "p50 %s  p90 %s  p99 %s  max %s", ms(s.Latency.P50), ms(s.Latency.P90), ms(s.Latency.P99), ms(s.Latency.Max))
	line("refused", "%s", strings.TrimSpace(fmt.Sprint(s.Refused, " ", list(s.Refusals))))
	line("gaps", "%d frames dropped before they were acked", s.Gaps)
	line("pending", "%d frames not settled at the end", s.Pending)
	line("commands answered", "%d, and %d that came again", s.Commands, s.Repeats)
	if len(s.Ends) > 0 {
		line("links ended", "%s", list(s.Ends))
	}
	if len(s.Faults) > 0 {
		line("faults", "%s", list(s.Faults))
	}
	if s.Verified != nil {
		line("verified", "%s", s.Verified)
	}
}

func ms(v float64) string { return fmt.Sprintf("%.2f ms", v) }

// histogram counts durations in buckets that are 1/16 wide at most, so that a
// percentile is off by 6 % at most. It is safe for concurrent use.
type histogram struct{ buckets [64 * 16]atomic.Uint64 }

func bucket(us uint64) int {
	if us < 16 {
		return int(us)
	}
	shift := bits.Len64(us) - 5
	return shift*16 + int(us>>shift)
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucket(uint64(max(d, 0)/time.Microsecond))].Add(1)
}

// at is the duration in ms that the given part of all is not above.
func (h *histogram) at(part float64) float64 {
	var total uint64
	for i := range h.buckets {
		total += h.buckets[i].Load()
	}
	if total == 0 {
		return 0
	}
	need, seen := max(uint64(part*float64(total)), 1), uint64(0)
	for i := range h.buckets {
		if seen += h.buckets[i].Load(); seen >= need {
			return float64(upper(i)) / 1000
		}
	}
	return 0
}

// upper is the largest value of a bucket.
func upper(i int) uint64 {
	if i < 32 {
		return uint64(i)
	}
	shift := i/16 - 1
	return (uint64(i-shift*16)+1)<<shift - 1
}
