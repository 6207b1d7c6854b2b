package command

import (
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// The hub calls what is in this file. For one device it calls in order.

// CountWaiting is welcome.8: what Connected will send, and what waits behind it.
func (s *Service) CountWaiting(device string) int {
	s.mu.Lock()
	defer s.unlock()
	d := s.devices[device]
	if d == nil {
		return 0
	}
	return d.unanswered() + len(d.waiting)
}

// Connected: a session began (its welcome is queued); unanswered and waiting
// commands are sent before it returns. Only a stored one that must not happen
// twice (a button, an action) is written down first and follows a moment later,
// with those behind it.
func (s *Service) Connected(device string, boot protocol.Boot, l Link) {
	s.mu.Lock()
	defer s.unlock()
	d := s.device(device)
	d.link, d.boot = l, boot
	d.presence, d.grace = store.Online, false
	for _, c := range slices.Clone(d.sent) {
		s.sendAgain(c, d)
	}
	s.pump(d)
}

// sendAgain sends a command that an earlier session did not answer. mu is held.
func (s *Service) sendAgain(c *command, d *device) {
	switch {
	case c.overdue || c.left() <= 0:
		return // its timer ends it
	case c.momentary && c.boot != d.boot:
		s.finish(c, OutcomeUnknown, "the device restarted before it answered", nil)
	case s.send(c, d) && c.stored:
		s.note(c, store.Rides) // the attempt
	}
}

// Disconnected: that session ended.
func (s *Service) Disconnected(device string, l Link) {
	s.mu.Lock()
	defer s.unlock()
	if d := s.devices[device]; d != nil && d.link == l { // else a newer one took its place
		d.link = nil
	}
}

// Presence: the device's presence changed. interval is the larger of hello.4
// and its last bye.2 in seconds. grace: its link just broke and it may be back.
func (s *Service) Presence(device string, st store.PresenceState, grace bool, interval uint64) {
	s.mu.Lock()
	defer s.unlock()
	d := s.device(device)
	d.presence, d.grace, d.interval = st, grace, interval
	if d.live() || st == store.Sleeping {
		return
	}
	for _, c := range slices.Clone(d.waiting) {
		if !c.stored {
			s.finish(c, Offline, "the device did not come back in time", nil)
		}
	}
}

// Answered: the device answered. The hub appends the records to the log by
// itself. It reports whether the command is known (also one that is over: a
// result that comes too late changes nothing here).
func (s *Service) Answered(device string, r *protocol.Result) bool {
	s.mu.Lock()
	defer s.unlock()
	d := s.devices[device]
	if d == nil {
		return false
	}
	i := slices.IndexFunc(d.sent, func(c *command) bool { return c.id == r.ID })
	if i < 0 {
		return d.past.has(r.ID)
	}
	s.finish(d.sent[i], fromResult(r.Code), r.Message, r.Records)
	s.pump(d)
	return true
}

// Removed: the device left the home. What it was not sent ends as unsupported,
// the rest as outcome_unknown.
func (s *Service) Removed(device string) {
	s.mu.Lock()
	defer s.unlock()
	d := s.devices[device]
	if d == nil {
		return
	}
	for _, c := range slices.Clone(d.waiting) {
		s.finish(c, Unsupported, "the device left the home", nil)
	}
	for _, c := range slices.Clone(d.sent) {
		s.finish(c, OutcomeUnknown, "the device left the home before it answered", nil)
	}
	delete(s.devices, device)
}
