package sim

import (
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Siren is a siren that falls silent by itself after a minute.
type Siren struct {
	pace
	on   bool
	ends time.Time
}

// NewSiren returns a silent siren.
func NewSiren(o Options) *Siren { return &Siren{pace: newPace(o, 30*time.Minute)} }

// Describe implements Model.
func (s *Siren) Describe() *protocol.Describe {
	return &protocol.Describe{
		Model: "SI-1", Manufacturer: "Hearthgate", Name: "Siren",
		Components: []protocol.Component{{ID: "siren", Kind: "siren"}},
	}
}

// Next implements Model.
func (s *Siren) Next() time.Time {
	if s.on && s.ends.Before(s.next) {
		return s.ends
	}
	return s.next
}

// Step implements Model.
func (s *Siren) Step(now time.Time) []protocol.Record {
	over := s.on && !now.Before(s.ends)
	if over {
		s.on = false
	}
	if !s.due(now) && !over {
		return nil
	}
	return []protocol.Record{truth("siren", s.on)}
}

// Command implements Model.
func (s *Siren) Command(now time.Time, set []protocol.Record) (protocol.ResultCode, string, []protocol.Record) {
	code, problem := obey(set, map[string]setter{
		"siren": setBool(func(on bool) { s.on, s.ends = on, now.Add(time.Minute) }),
	})
	if code != protocol.ResultOK {
		return code, problem, nil
	}
	return code, "", []protocol.Record{truth("siren", s.on)}
}
