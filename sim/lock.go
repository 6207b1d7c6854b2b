package sim

import (
	"math/rand/v2"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Lock is a door lock with a motor: it is under way for two seconds, and now
// and then it jams.
type Lock struct {
	pace
	rng   *rand.Rand
	state string
	goal  string // while it is under way
	done  time.Time
}

// NewLock returns a lock that is locked.
func NewLock(o Options) *Lock {
	return &Lock{pace: newPace(o, 30*time.Minute), rng: o.rng(10), state: "locked"}
}

// Describe implements Model.
func (l *Lock) Describe() *protocol.Describe {
	return &protocol.Describe{
		Model: "DL-9", Manufacturer: "Hearthgate", Name: "Lock",
		Components: []protocol.Component{{
			ID: "lock", Kind: "lock",
			Attributes: map[string]protocol.Attribute{
				"state": {}, "action": {Options: []string{"lock", "unlock"}},
			},
		}},
	}
}

// Next implements Model.
func (l *Lock) Next() time.Time {
	if l.goal != "" && l.done.Before(l.next) {
		return l.done
	}
	return l.next
}

// Step implements Model.
func (l *Lock) Step(now time.Time) []protocol.Record {
	arrived := l.goal != "" && !now.Before(l.done)
	if arrived {
		l.state, l.goal = l.goal, ""
		if l.rng.IntN(50) == 0 {
			l.state = "jammed"
		}
	}
	if !l.due(now) && !arrived {
		return nil
	}
	return l.report()
}

func (l *Lock) report() []protocol.Record {
	return []protocol.Record{word("lock/state", l.state)}
}

// Command implements Model.
func (l *Lock) Command(now time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	code, problem := obey(set, map[string]setter{
		"lock/action": setWord([]string{"lock", "unlock"}, func(a string) {
			l.state, l.goal = a+"ing", a+"ed"
			l.done = now.Add(2 * time.Second)
		}),
	})
	if code != protocol.ResultOK {
		return code, problem, nil
	}
	return code, "", l.report()
}
