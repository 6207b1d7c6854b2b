package client

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hearthgate/hearthgate/protocol"
)

// Whatever happens to links, restarts and acks: every frame that was reported
// has one fate, frames of a boot go out in order within the window, and what
// the gateway acknowledged is never given up as dropped.
func TestEveryFrameHasOneFate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const window = 4
		s := &spool{boot: NewBoot(), keep: 12}
		reported, fates := 0, map[*frame]int{}
		has := map[protocol.Boot]uint64{}  // the gateway's counters
		sent := map[protocol.Boot]uint64{} // the highest number sent in this session
		end := func(frames ...*frame) {
			for _, f := range frames {
				if f == nil {
					continue
				}
				if fates[f]++; fates[f] > 1 {
					t.Fatalf("frame %d of %x ended twice", f.Seq, f.Boot)
				}
				if f.Err == nil && (f.Seq == 0 || f.Seq > has[f.Boot]) {
					t.Fatalf("frame %d of %x counts as acknowledged, the gateway has %d", f.Seq, f.Boot, has[f.Boot])
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"report": func(*rapid.T) { reported++; end(s.add(&frame{})) },
			"send": func(t *rapid.T) {
				f := s.next(window, time.Now())
				if f == nil {
					return
				}
				if f.Seq <= sent[f.Boot] {
					t.Fatalf("frame %d of %x went out after %d", f.Seq, f.Boot, sent[f.Boot])
				}
				sent[f.Boot] = f.Seq
				if rapid.Bool().Draw(t, "arrives") && f.Seq > has[f.Boot] {
					has[f.Boot] = f.Seq
				}
			},
			"ack": func(*rapid.T) {
				for boot, seq := range has {
					end(s.ack(boot, seq, false)...)
				}
			},
			"refuse": func(*rapid.T) {
				if s.again > 0 {
					f := s.sent[0]
					end(s.refuse(f.Boot, f.Seq, &Rejection{}))
				}
			},
			"reconnect": func(*rapid.T) {
				w := &protocol.Welcome{Settled: has[s.boot]}
				for _, b := range s.others() {
					w.Boots = append(w.Boots, protocol.SettledBoot{Boot: b, Seq: has[b]})
				}
				settled, clash := s.resume(w)
				if clash {
					t.Fatalf("the gateway has %d, we gave %d", w.Settled, s.seq)
				}
				end(settled...)
				clear(sent)
			},
			"restart": func(*rapid.T) { end(s.restart(NewBoot())...); clear(sent) },
			"": func(t *rapid.T) {
				if s.len()+len(fates) != reported {
					t.Fatalf("%d kept and %d ended of %d", s.len(), len(fates), reported)
				}
				flight := 0
				for _, f := range s.sent[:s.again] {
					if !f.held {
						flight++
					}
				}
				if s.flight != flight || flight > window || s.len() > s.keep || len(s.others()) > maxBoots-1 {
					t.Fatalf("%d counted and %d in flight, %d kept, %d other boots", s.flight, flight, s.len(), len(s.others()))
				}
			},
		})
	})
}
