package command

import (
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Outcome is how a command ended: exactly one for each.
type Outcome string

// The outcomes.
const (
	OK             Outcome = "ok"              // the device said so, as the next two
	Failed         Outcome = "failed"          // or it could not be stored
	Denied         Outcome = "denied"          // or the asker may not
	Invalid        Outcome = "invalid"         // wrong form, type, range or option; or the device said so
	Unsupported    Outcome = "unsupported"     // no such device or name, or not settable; or the device said so
	Busy           Outcome = "busy"            // too many wait already, or the device said so
	Offline        Outcome = "offline"         // it needed a live device and there was none
	Expired        Outcome = "expired"         // its time ran out before it was sent, or the device said too late
	Superseded     Outcome = "superseded"      // a newer command sets every name of one that waits
	Cancelled      Outcome = "cancelled"       // a person took it back while it waited
	OutcomeUnknown Outcome = "outcome_unknown" // sent, and no answer came in time, or it restarted before it answered a button or an action
)

// Limits of commands.
const (
	// LiveDeadline is how long a command without a ttl has.
	LiveDeadline = 10 * time.Second
	// MaxTTL is the longest time a command may wait.
	MaxTTL = 90 * 24 * time.Hour
	// MaxUnanswered is how many commands are at a device at once.
	MaxUnanswered = 8
	// MaxWaiting is how many more wait for it here.
	MaxWaiting = 32
	// MaxCommands is how many commands of all devices may be under way, those
	// with an outcome that is not confirmed included.
	MaxCommands = 8192
	// MaxID is the length in bytes of an asker's id.
	MaxID = 256
	// MaxSettings is how many names one command may set: more than the attributes
	// of all components that a device can have.
	MaxSettings = 1024
	// maxAttributes is how many one to a group may set: more than any kind has.
	maxAttributes = 32

	// allowance is how long after its deadline a sent command may be answered.
	allowance = 500 * time.Millisecond
	// diskPatience is how long a command waits for the disk.
	diskPatience = 5 * time.Second
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
	Set    []Setting     // of several values for one name the last counts
	TTL    time.Duration // 0 = none given; at most MaxTTL
	Asker  string        // name of a registered Asker; "" = Submit's own
	Via    string        // "group/…" or "scene/…" that it is part of; "" = none
}

// Result is the end of a command.
type Result struct {
	ID      string
	Device  string
	Via     string    // see Request
	Set     []Setting // what was asked, values resolved where that worked
	Outcome Outcome
	Message string
	Took    time.Duration
	State   []protocol.Record // what the device said the state is after
}

// Asker gets the outcomes of what it asked. Calls come from any goroutine and
// must not block. They may come before Submit returns. Registered under a name
// (Service.Register) it also gets, after a restart, the outcomes that it did
// not confirm.
type Asker interface {
	// Waiting: the command is on disk and waits until then. At most once for
	// each command, and before its Done.
	Waiting(r Request, until time.Time)
	// Done: the outcome. confirm is never nil and must be called once it is
	// passed on for good, from any goroutine, also from within Done; until then
	// a stored command's outcome is kept and given again after a restart.
	Done(r Result, confirm func())
}

// Link is a device's live connection, as the hub lends it.
type Link interface {
	// Send queues a command frame; false when the link is ending. Never blocks
	// and never calls back. It is called under the service's lock, so that
	// commands of one device leave in order.
	Send(c *protocol.Command) bool
	// Flush lets go what Send queued. It is called after Send without the lock,
	// perhaps once more than is needed. It never blocks either.
	Flush()
}

// Pending is one command that waits or is on its way.
type Pending struct {
	ID     string
	Device string
	Set    []Setting
	Stored bool
	Sent   bool
	Until  time.Time
}

// fromResult is the outcome that a device's code says.
func fromResult(code protocol.ResultCode) Outcome {
	switch code {
	case protocol.ResultOK:
		return OK
	case protocol.ResultInvalid:
		return Invalid
	case protocol.ResultUnsupported:
		return Unsupported
	case protocol.ResultBusy:
		return Busy
	case protocol.ResultDenied:
		return Denied
	case protocol.ResultTooLate:
		return Expired
	}
	return Failed // 4, and whatever a later version adds
}
