package command_test

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

var (
	on    = setting("desk/on", protocol.Bool(true))
	off   = setting("desk/on", protocol.Bool(false))
	dim   = setting("desk/brightness", protocol.Int(40))
	press = setting("bell", protocol.Bool(true))
)

// nth is the i-th of 256 sets of which no later one covers an earlier one, so
// that nothing is superseded: the larger sets of n0 … n7 come first.
func nth(i int) (settings []Setting) {
	masks := make([]uint, 256)
	for m := range masks {
		masks[m] = uint(m)
	}
	slices.SortStableFunc(masks, func(a, b uint) int { return bits.OnesCount(b) - bits.OnesCount(a) })
	for b := range 8 {
		if masks[i]&(1<<b) != 0 {
			settings = append(settings, setting(fmt.Sprint("n", b), protocol.Int(int64(i))))
		}
	}
	return settings
}

// Every outcome of the table, each on every way that leads to it.
func TestEveryOutcome(t *testing.T) {
	t.Parallel()
	answered := func(code protocol.ResultCode) func(h *home) *notes {
		return func(h *home) *notes {
			l := h.connect(boot1)
			n := h.ask("x", 0, on)
			h.answer(l.last(h.t, 1), code)
			return n
		}
	}
	asked := func(ttl time.Duration, settings ...Setting) func(h *home) *notes {
		return func(h *home) *notes {
			h.connect(boot1)
			return h.ask("x", ttl, settings...)
		}
	}
	while := func(presence store.PresenceState, interval uint64, s Setting) func(h *home) *notes {
		return func(h *home) *notes {
			h.Presence("lamp", presence, false, interval)
			return h.ask("x", 0, s)
		}
	}
	for _, c := range []struct {
		name    string
		story   func(h *home) *notes
		want    Outcome
		message string // part of it
	}{
		{"the device did it", answered(protocol.ResultOK), OK, ""},
		{"the device failed", answered(protocol.ResultFailed), Failed, ""},
		{"the device denied", answered(protocol.ResultDenied), Denied, ""},
		{"the device said invalid", answered(protocol.ResultInvalid), Invalid, ""},
		{"the device said unsupported", answered(protocol.ResultUnsupported), Unsupported, ""},
		{"the device said busy", answered(protocol.ResultBusy), Busy, ""},
		{"the device said too late", answered(protocol.ResultTooLate), Expired, ""},
		{"a code of a later version", answered(99), Failed, ""},

		{"nothing to set", asked(0), Invalid, "nothing to set"},
		{"text for a bool", asked(0, setting("desk/on", protocol.Text("x"))), Invalid, "desk/on"},
		{"plain text that is no bool", asked(0, Setting{Name: "desk/on", Text: "maybe"}), Invalid, "ON or OFF"},
		{"out of range", asked(0, setting("desk/brightness", protocol.Int(101))), Invalid, "100"},
		{"not an option", asked(0, setting("mode", protocol.Text("turbo"))), Invalid, "eco"},
		{"no time at all", asked(-time.Second, on), Invalid, "ttl"},
		{"more than 90 days", asked(MaxTTL+1, on), Invalid, "90 days"},
		{"a name without end", asked(0, setting(strings.Repeat("x", 66), protocol.Bool(true))), Invalid, "a name of 66 bytes"},
		{"one of two is wrong", asked(0, on, setting("level", protocol.Int(-1))), Invalid, "level"},
		{"an id without end", func(h *home) *notes {
			h.connect(boot1)
			return h.ask(strings.Repeat("x", MaxID+1), 0, on)
		}, Invalid, "id"},

		{"no such device", func(h *home) *notes {
			n := &notes{}
			h.Submit(Request{ID: "x", Device: "attic", Set: set("on", protocol.Bool(true))}, n)
			return n
		}, Unsupported, "attic"},
		{"no such component", asked(0, setting("heater", protocol.Bool(true))), Unsupported, "heater"},
		{"no such attribute", asked(0, setting("desk/rgb", protocol.Text("#ffffff"))), Unsupported, "rgb"},
		{"a light as a whole", asked(0, setting("desk", protocol.Bool(true))), Unsupported, "desk is set by its attributes, such as desk/on"},
		{"a sensor", asked(0, setting("temperature", protocol.Int(20))), Unsupported, "temperature"},
		{"a device that leaves before it is sent", func(h *home) *notes {
			n := h.ask("x", time.Hour, on)
			settle()
			h.registry.Remove("lamp")
			h.Removed("lamp")
			return n
		}, Unsupported, "left"},

		{"the 33rd that waits", func(h *home) *notes {
			for i := range MaxWaiting {
				h.ask("", time.Hour, nth(i)...).none(h.t)
			}
			return h.ask("x", time.Hour, nth(MaxWaiting)...)
		}, Busy, "32"},
		{"the 33rd that waits for a link", func(h *home) *notes {
			h.cut(h.connect(boot1))
			for i := range MaxWaiting {
				h.ask("", 0, nth(i)...).none(h.t)
			}
			return h.ask("x", 0, nth(MaxWaiting)...)
		}, Busy, "32"},

		{"never seen", func(h *home) *notes { return h.ask("x", 0, on) }, Offline, "ttl"},
		{"lost", while(store.Lost, 0, on), Offline, "lost"},
		{"unknown since the start", while(store.Unknown, 0, on), Offline, "unknown"},
		{"revoked", while(store.Disabled, 0, on), Offline, "disabled"},
		{"a button of a sleeper", while(store.Sleeping, 60, press), Offline, "button"},
		{"a lock of a sleeper", while(store.Sleeping, 60, setting("door/action", protocol.Text("open"))), Offline, "lock"},
		{"a siren of a sleeper", while(store.Sleeping, 60, setting("horn", protocol.Bool(false))), Offline, "siren"},
		{"grace, and it never came back", func(h *home) *notes {
			h.cut(h.connect(boot1))
			n := h.ask("x", 0, on)
			n.none(h.t)
			h.Presence("lamp", store.Lost, false, 0)
			return n
		}, Offline, "come back"},
		{"no link until the deadline", func(h *home) *notes {
			h.cut(h.connect(boot1))
			n := h.ask("x", 0, on)
			time.Sleep(LiveDeadline)
			return n
		}, Offline, "come back"},

		{"a ttl that ran out", func(h *home) *notes {
			n := h.ask("x", time.Hour, on)
			time.Sleep(time.Hour)
			return n
		}, Expired, "before it could be sent"},
		{"a sleeper that did not come", func(h *home) *notes {
			h.sleep(60)
			n := h.ask("x", 0, on)
			time.Sleep(2*time.Minute - 1)
			n.none(h.t)
			time.Sleep(time.Nanosecond)
			return n
		}, Expired, ""},
		{"a device that takes no more", func(h *home) *notes {
			h.connect(boot1)
			for range MaxUnanswered {
				h.ask("", time.Minute, press).none(h.t)
			}
			n := h.ask("x", 0, on)
			time.Sleep(LiveDeadline)
			return n
		}, Expired, "8"},

		{"a newer one sets the same", func(h *home) *notes {
			n := h.ask("x", time.Hour, on, dim)
			settle()
			h.ask("newer", time.Hour, dim, off).none(h.t)
			return n
		}, Superseded, ""},
		{"a newer one that is sent at once", func(h *home) *notes {
			h.cut(h.connect(boot1))
			n := h.ask("x", time.Hour, on)
			settle()
			h.ask("newer", 0, off)
			return n
		}, Superseded, ""},

		{"taken back", func(h *home) *notes {
			n := h.ask("x", time.Hour, on)
			settle()
			if !h.Cancel("lamp", "x") {
				h.t.Fatal("there was nothing to cancel")
			}
			return n
		}, Cancelled, ""},

		{"no answer", func(h *home) *notes {
			h.connect(boot1)
			n := h.ask("x", 0, on)
			time.Sleep(LiveDeadline)
			n.none(h.t) // the answer may be on its way
			time.Sleep(time.Second)
			return n
		}, OutcomeUnknown, "did not answer"},
		{"no answer within the ttl", func(h *home) *notes {
			h.connect(boot1)
			n := h.ask("x", 2*time.Second, on)
			time.Sleep(3 * time.Second)
			return n
		}, OutcomeUnknown, "did not answer"},
		{"the link broke and never came back", func(h *home) *notes {
			l := h.connect(boot1)
			n := h.ask("x", 0, on)
			h.cut(l)
			time.Sleep(11 * time.Second)
			return n
		}, OutcomeUnknown, ""},
		{"a button of a device that restarted", func(h *home) *notes {
			l := h.connect(boot1)
			n := h.ask("x", 0, press)
			h.cut(l)
			h.connect(boot2)
			return n
		}, OutcomeUnknown, "restarted"},
		{"a device that leaves when it was sent", func(h *home) *notes {
			h.connect(boot1)
			n := h.ask("x", 0, on)
			h.Removed("lamp")
			return n
		}, OutcomeUnknown, "left"},
		{"the gateway stops on the way", func(h *home) *notes {
			h.connect(boot1)
			n := h.ask("x", 0, on)
			h.Service.Close()
			return n
		}, OutcomeUnknown, "stopped"},

		{"the disk takes nothing", func(h *home) *notes {
			h.store.Close()
			return h.ask("x", time.Hour, on)
		}, Failed, "stored"},
		{"the gateway is stopping", func(h *home) *notes {
			h.connect(boot1)
			h.Service.Close()
			return h.ask("x", 0, on)
		}, Failed, "stopping"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inHome(t, func(h *home) {
				h.t = t
				r := c.story(h).one(t)
				if r.Outcome != c.want || !strings.Contains(r.Message, c.message) {
					t.Fatalf("%s (%q), want %s (…%q…)", r.Outcome, r.Message, c.want, c.message)
				}
				if r.Device != "lamp" && r.Device != "attic" || r.ID == "" || r.Took < 0 {
					t.Fatalf("the result does not say whose it is: %+v", r)
				}
			})
		})
	}
}

// What was refused is repeated in the form of a command: as what the description
// says it is, and as it was written only where it cannot be read so.
func TestARefusedRequestIsSaidInItsTypes(t *testing.T) {
	inHome(t, func(h *home) {
		text := func(name, s string) Setting { return Setting{Name: name, Text: s} }
		for want, asked := range map[string][]Setting{
			`{"set":{"desk/on":true,"desk/brightness":130},"outcome":"invalid"`: {text("desk/on", "ON"), text("desk/brightness", "130")},
			`{"set":{"desk/on":"BLUE","level":5},"outcome":"invalid"`:           {text("desk/on", "BLUE"), text("level", "5.0")},
			`{"set":{"mode":"turbo"},"outcome":"invalid"`:                       {text("mode", "turbo")},
			`{"set":{"temperature":5},"outcome":"unsupported"`:                  {text("temperature", "5")},
			`{"set":{"nothing":"5"},"outcome":"unsupported"`:                    {text("nothing", "5")},
			`{"set":{"desk/on":true},"outcome":"offline"`:                       {text("desk/on", "on")},
		} {
			got := string(h.ask("", 0, asked...).one(t).AppendJSON(nil))
			if !strings.HasPrefix(strings.Replace(got, `"id":null,`, "", 1), want) {
				t.Errorf("%v:\n%s, want\n%s", asked, got, want)
			}
		}
	})
}
