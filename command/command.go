// Package command is the life of one command: checked against the description,
// waiting or sent, with a deadline, answered or not, and exactly one outcome.
// MQTT, HTTP and the command line all submit here; the hub delivers.
package command

import (
	"log/slog"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// Outcome is how a command ended. DESIGN's table: exactly one for each.
type Outcome string

// The outcomes.
const (
	OK             Outcome = "ok"
	Failed         Outcome = "failed"
	Denied         Outcome = "denied"
	Invalid        Outcome = "invalid"
	Unsupported    Outcome = "unsupported"
	Busy           Outcome = "busy"
	Offline        Outcome = "offline"
	Expired        Outcome = "expired"
	Superseded     Outcome = "superseded"
	Cancelled      Outcome = "cancelled"
	OutcomeUnknown Outcome = "outcome_unknown"
)

// Setting is one desired value. When Value's kind is None, Text is parsed as
// the point's type by Submit (a plain MQTT payload, a CLI argument).
type Setting struct {
	Name  string
	Value protocol.Value
	Text  string
}

// Request is what someone asks.
type Request struct {
	ID     string // the asker's own; "" = none (null in the result)
	Device string
	Set    []Setting
	TTL    time.Duration // 0 = none given
	Asker  string        // name of a registered Asker; "" = Submit's own
}

// Result is the end of a command.
type Result struct {
	ID      string
	Device  string
	Set     []Setting // what was asked, values resolved where that worked
	Outcome Outcome
	Message string
	Took    time.Duration
	State   []protocol.Record // what the device said the state is after
}

// Asker gets the outcomes of what it asked. Calls come from any goroutine and
// must not block. Registered under a name (Service.Register) it also gets, after a
// restart, the outcomes that it did not confirm.
type Asker interface {
	// Waiting: the command is on disk and waits until then.
	Waiting(r Request, until time.Time)
	// Done: the outcome. confirm must be called once it is passed on for good
	// (nil-safe to call from any goroutine); until then a stored command's
	// outcome is kept and given again after a restart.
	Done(r Result, confirm func())
}

// Link is a device's live connection, as the hub lends it.
type Link interface {
	// Send queues a command frame; false when the link is ending. Never blocks.
	Send(c *protocol.Command) bool
}

// Options of a service.
type Options struct {
	Store    *store.Store
	Registry *registry.Registry
	Log      *slog.Logger
}

// Service is safe for concurrent use.
type Service struct{ unwritten }

type unwritten struct{}

// New reads what waits from the store. Outcomes owed to a registered asker are
// given again once it registers.
func New(o Options) (*Service, error) { panic("not written yet") }

// Close stops the timers. Live commands end as outcome_unknown or offline;
// what waits on disk stays.
func (s *Service) Close() { panic("not written yet") }

// Register names an asker ("mqtt"). Call before commands flow.
func (s *Service) Register(name string, a Asker) { panic("not written yet") }

// Submit takes a command. a gets its outcome, or, if r.Asker names a registered
// one, that does. Submit does not block.
func (s *Service) Submit(r Request, a Asker) { panic("not written yet") }

// Pending is one command that waits or is on its way.
type Pending struct {
	ID     string
	Device string
	Set    []Setting
	Stored bool
	Sent   bool
	Until  time.Time
}

// Waiting lists the commands of a device ("" = all) that have no outcome yet.
func (s *Service) Waiting(device string) []Pending { panic("not written yet") }

// Cancel takes back a waiting command by its asker's id: cancelled.
func (s *Service) Cancel(device, id string) bool { panic("not written yet") }

// The hub calls the following. For one device it calls them in order.

// CountWaiting is welcome.8.
func (s *Service) CountWaiting(device string) int { panic("not written yet") }

// Connected: a session began (its welcome is queued); unanswered and waiting
// commands are sent before it returns.
func (s *Service) Connected(device string, boot protocol.Boot, l Link) { panic("not written yet") }

// Disconnected: that session ended.
func (s *Service) Disconnected(device string, l Link) { panic("not written yet") }

// Presence: the device's presence changed. interval is the larger of hello.4
// and its last bye.2 in seconds. grace: its link just broke and it may be back.
func (s *Service) Presence(device string, st store.PresenceState, grace bool, interval uint64) {
	panic("not written yet")
}

// Answered: the device answered. The hub appends the records to the log by
// itself. It reports whether the command is known (also one that is over).
func (s *Service) Answered(device string, r *protocol.Result) bool { panic("not written yet") }

// Removed: the device left the home; its commands end as unsupported.
func (s *Service) Removed(device string) { panic("not written yet") }
