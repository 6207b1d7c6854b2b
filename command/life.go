package command

import (
	"fmt"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// command is one command on its way. The functions of this file are called with
// Service.mu held, except those whose comment says "without the lock".
type command struct {
	// Set at birth.
	number    uint64 // counts up over all commands
	id        uint64 // towards the device
	req       Request
	asker     Asker // Submit's; nil after a restart
	records   []protocol.Record
	momentary bool
	born      time.Time
	deadline  time.Time

	// Guarded by Service.mu.
	state    state
	stored   bool // has a row, or will have
	slow     bool // the disk holds it up; others may pass
	told     bool // that it waits
	marked   bool // its row says that it may have been sent, to boot
	boot     protocol.Boot
	attempt  uint64
	overdue  bool // sent, and its time is over
	durable  bool // its outcome is on disk
	gone     bool // confirmed or dropped
	result   Result
	timer    *time.Timer // deadline
	watchdog *time.Timer // of the disk
}

// state is where a command is in its life; see the diagram in doc.go.
type state uint8

const (
	storing state = iota
	queued
	marking
	sent
	over
)

func (c *command) left() time.Duration { return time.Until(c.deadline) }

func (c *command) end(o Outcome, message string, state []protocol.Record) {
	c.state = over
	c.result = Result{
		ID: c.req.ID, Device: c.req.Device, Via: c.req.Via, Set: c.req.Set,
		Outcome: o, Message: message, State: state,
		Took: max(0, time.Since(c.born)),
	}
}

func (c *command) stopTimers() {
	for _, t := range []*time.Timer{c.timer, c.watchdog} {
		if t != nil {
			t.Stop()
		}
	}
}

// admit takes a command that passed the checks, or says why not.
func (s *Service) admit(c *command, guarded bool) *refusal {
	if s.closed {
		return refuse(Failed, "the gateway is stopping")
	}
	if _, ok := s.registry.Get(c.req.Device); !ok { // removed since it was checked
		return noDevice(c.req.Device)
	}
	d := s.device(c.req.Device)
	if no := c.plan(d, guarded); no != nil {
		return no
	}
	if len(d.waiting)-len(d.coveredBy(c)) >= MaxWaiting {
		return refuse(Busy, "%d commands already wait for this device", MaxWaiting)
	}
	if s.total >= MaxCommands {
		return refuse(Busy, "%d commands are under way in the whole home", MaxCommands)
	}
	s.number++
	c.number, c.id = s.number, newID()
	if c.stored {
		return s.admitStored(c, d)
	}
	c.state = queued
	s.enter(c, d)
	s.supersede(c, d)
	s.pump(d)
	return nil
}

// plan decides until when a command may wait and whether it is stored.
func (c *command) plan(d *device, guarded bool) *refusal {
	ttl := c.req.TTL
	switch {
	case ttl > 0:
		c.stored = true
	case d.live():
		ttl = LiveDeadline
	case d.presence == store.Sleeping && d.interval > 0 && guarded:
		return refuse(Offline, "the device sleeps, and a button, lock, cover, valve or siren does not wait without a ttl")
	case d.presence == store.Sleeping && d.interval > 0:
		c.stored = true
		ttl = 2 * time.Duration(min(d.interval, uint64(MaxTTL/time.Second)/2)) * time.Second
	default:
		return refuse(Offline, "the device is %s; with a ttl a command waits for it", d.presence)
	}
	c.deadline = c.born.Add(ttl)
	return nil
}

// admitStored gives a command to the disk; storedNow goes on with it. If it
// looks as if it could be sent right then, the row already says so, which saves
// a second write.
func (s *Service) admitStored(c *command, d *device) *refusal {
	if h := s.store.Health(); !h.Healthy {
		return refuse(Failed, "a command that may have to wait cannot be stored now: %s", h.Err)
	}
	if d.ready() && len(d.waiting) == 0 && d.unanswered() < MaxUnanswered {
		c.marked, c.boot = true, d.boot
	}
	c.state = storing
	err := s.table.Put(c.key(), c.row(), store.Urgent, func(err error) { s.storedNow(c, err) })
	if err != nil {
		return refuse(Failed, "a command that may have to wait cannot be stored now: %v", err)
	}
	s.enter(c, d)
	s.watch(c)
	return nil
}

// enter puts a command in line.
func (s *Service) enter(c *command, d *device) {
	s.total++
	d.waiting = append(d.waiting, c)
	s.arm(c)
}

func (s *Service) arm(c *command) {
	c.timer = time.AfterFunc(c.left(), func() { s.due(c) })
}

func (s *Service) watch(c *command) {
	c.watchdog = time.AfterFunc(diskPatience, func() { s.diskSlow(c) })
}

// storedNow is called by the store without the lock: the row is on disk.
func (s *Service) storedNow(c *command, err error) {
	s.mu.Lock()
	defer s.unlock()
	if c.state != storing || s.closed || err != nil {
		return // it is over, or it goes on after the restart
	}
	d := s.device(c.req.Device)
	c.watchdog.Stop()
	c.state = queued
	s.supersede(c, d)
	s.pump(d)
	s.rest(c)
}

// rest is where a stored command comes to that was on disk and could not be
// sent after all.
func (s *Service) rest(c *command) {
	if c.state != queued {
		return
	}
	if c.marked {
		c.marked = false
		s.note(c, store.Urgent)
	}
	if !c.told {
		c.told = true
		if a := s.askerOf(c); a != nil {
			s.later = append(s.later, func() { a.Waiting(c.req, c.deadline) })
		}
	}
}

// note writes the row as it stands; nothing waits for it. If the store takes
// nothing now, a kill could at worst turn outcome_unknown into expired.
func (s *Service) note(c *command, u store.Urgency) {
	_ = s.table.Put(c.key(), c.row(), u, nil)
}

// pump sends what can be sent, in order.
func (s *Service) pump(d *device) {
	for i := 0; i < len(d.waiting) && d.ready() && d.unanswered() < MaxUnanswered; {
		c := d.waiting[i]
		if c.state == queued && c.left() > 0 {
			if c.mustMark(d) {
				s.mark(c, d)
			} else if s.send(c, d) {
				d.waiting = slices.Delete(d.waiting, i, i+1)
				d.sent = append(d.sent, c)
				continue
			} else {
				return // the link is ending
			}
		}
		if c.state != queued && !c.slow {
			return // those behind wait while the disk has it
		}
		i++
	}
}

// mustMark reports whether the disk has to know before c is sent now.
func (c *command) mustMark(d *device) bool {
	return c.stored && c.momentary && !(c.marked && c.boot == d.boot)
}

func (s *Service) mark(c *command, d *device) {
	c.state, c.slow, c.marked, c.boot = marking, false, true, d.boot
	err := s.table.Put(c.key(), c.row(), store.Urgent, func(err error) { s.markedNow(c, err) })
	if err != nil { // tried again when the device is next heard of
		c.state, c.marked, c.slow = queued, false, true
		return
	}
	s.watch(c)
}

// markedNow is called by the store without the lock: the mark is on disk.
func (s *Service) markedNow(c *command, err error) {
	s.mu.Lock()
	defer s.unlock()
	if c.state != marking || s.closed || err != nil {
		return
	}
	c.watchdog.Stop()
	c.state, c.slow = queued, false
	s.pump(s.device(c.req.Device))
	s.rest(c)
}

// diskSlow is called by the watchdog without the lock.
func (s *Service) diskSlow(c *command) {
	s.mu.Lock()
	defer s.unlock()
	if s.closed {
		return
	}
	switch c.state {
	case storing:
		s.finishUnstored(c, Failed, fmt.Sprintf("the disk did not take the command within %v", diskPatience))
	case marking:
		c.slow = true
	default:
		return
	}
	s.pump(s.device(c.req.Device))
}

// send gives a command to the link; false if that is ending.
func (s *Service) send(c *command, d *device) bool {
	ok := d.link.Send(&protocol.Command{
		ID: c.id, Records: c.records,
		Left:    uint64(max(1, c.left().Milliseconds())),
		Attempt: c.attempt + 1,
	})
	if !ok {
		return false
	}
	s.later = append(s.later, d.link.Flush)
	c.attempt++
	c.state = sent
	c.boot = d.boot
	if c.stored && !c.marked {
		c.marked = true
		s.note(c, store.Urgent)
	}
	return true
}

// due is called by the deadline's timer without the lock.
func (s *Service) due(c *command) {
	s.mu.Lock()
	defer s.unlock()
	if c.state == over || s.closed {
		return
	}
	d := s.device(c.req.Device)
	switch {
	case c.state == sent && !c.overdue:
		c.overdue = true
		c.timer.Reset(allowance)
	case c.state == sent:
		s.finish(c, OutcomeUnknown, "sent, but the device did not answer in time", nil)
	case c.state == storing: // told without the disk: after a kill it is expired again
		s.finishUnstored(c, Expired, "its time was over before it was stored")
	case c.stored:
		s.finish(c, Expired, "its time was over before it could be sent", nil)
	case d.link == nil:
		s.finish(c, Offline, "the device did not come back in time", nil)
	default:
		s.finish(c, Expired, fmt.Sprintf("the device left %d commands unanswered", MaxUnanswered), nil)
	}
	s.pump(d)
}

// coveredBy are the older commands that wait and of which c sets every name.
func (d *device) coveredBy(c *command) (covered []*command) {
	for _, w := range d.waiting {
		if w != c && (c.number == 0 || w.number < c.number) && covers(c.req.Set, w.req.Set) {
			covered = append(covered, w)
		}
	}
	return covered
}

func (s *Service) supersede(c *command, d *device) {
	for _, w := range d.coveredBy(c) {
		s.finish(w, Superseded, "a newer command sets the same", nil)
	}
}

// finish gives a command its outcome: at once, or, if it is stored, when that
// is on disk too.
func (s *Service) finish(c *command, o Outcome, message string, state []protocol.Record) {
	c.stopTimers()
	d := s.device(c.req.Device)
	d.past.add(c.id)
	is := func(x *command) bool { return x == c }
	d.waiting = slices.DeleteFunc(d.waiting, is)
	d.sent = slices.DeleteFunc(d.sent, is)
	c.end(o, message, state)
	if !c.stored {
		s.total--
		s.later = append(s.later, func() { s.give(c) })
		return
	}
	s.owed[c] = true
	s.storeOutcome(c)
}

// finishUnstored ends a command whose row did not reach the disk, so far as we
// know. The row is deleted behind it; if a kill lets it through but not its
// deletion, the command is taken up again by the next start: the one way to a
// second outcome, and only while the disk is stuck.
func (s *Service) finishUnstored(c *command, o Outcome, message string) {
	c.stored = false
	_ = s.table.Delete(c.key(), store.Urgent, nil)
	s.finish(c, o, message, nil)
}

func (s *Service) storeOutcome(c *command) {
	err := s.table.Put(c.key(), c.row(), store.Urgent, func(err error) {
		if err == nil { // else it is found out again after the restart
			s.give(c)
		}
	})
	if err != nil && !s.closed {
		c.timer = time.AfterFunc(time.Second, func() {
			s.mu.Lock()
			defer s.unlock()
			if !s.closed {
				s.storeOutcome(c)
			}
		})
	}
}

func (s *Service) askerOf(c *command) Asker {
	if a := s.askers[c.req.Asker]; c.req.Asker != "" && a != nil {
		return a
	}
	return c.asker
}

// give tells the asker the outcome. Called without the lock, once for each
// command, and again for one that an asker with a name is owed.
func (s *Service) give(c *command) {
	s.mu.Lock()
	if c.stored && s.closed || c.gone {
		s.mu.Unlock()
		return // given after the restart; or confirmed already
	}
	c.durable = c.stored
	a := s.askerOf(c)
	s.mu.Unlock()

	s.past.add(c.result)
	if c.result.Outcome != OK {
		s.registry.Note(c.result.Device, registry.AboutCommand, c.result.words())
	}
	switch {
	case a != nil:
		a.Done(c.result, func() { s.confirm(c) })
	case c.req.Asker == "":
		s.log.Info("a command ended whose asker is gone", "device", c.result.Device,
			"id", c.result.ID, "outcome", c.result.Outcome, "message", c.result.Message)
		s.confirm(c)
	}
}

// confirm forgets a command. Called without the lock.
func (s *Service) confirm(c *command) {
	s.mu.Lock()
	defer s.unlock()
	if !c.stored || c.gone {
		return
	}
	c.gone = true
	delete(s.owed, c)
	s.total--
	_ = s.table.Delete(c.key(), store.Rides, nil) // if it is lost, the outcome is given once more
}
