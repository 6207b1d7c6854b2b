package client

import (
	"context"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// remembered is how many commands a device knows again (PROTOCOL.md, Commands).
const remembered = 16

// maxQueued bounds the commands that wait for OnCommand. A gateway keeps at
// most 8 unanswered, but those whose time is over do not count for it.
const maxQueued = 64

// commands remembers what was asked, so that nothing is done twice. Device.mu
// guards it.
type commands struct {
	known   []*job // the oldest first
	queue   []*job
	working bool // the worker's goroutine runs
}

// job is one command and, once it is done, its result.
type job struct {
	command *protocol.Command
	due     time.Time // when it is too late to begin
	done    bool
	result  protocol.Result
	at      time.Time // of result.Records
}

func (c *commands) find(id uint64) *job {
	for _, j := range c.known {
		if j.command.ID == id {
			return j
		}
	}
	return nil
}

func (c *commands) remember(j *job) {
	c.known = append(c.known, j)
	for len(c.known) > remembered {
		// One that is not done yet must not be forgotten: it would be done twice.
		i := slices.IndexFunc(c.known, func(j *job) bool { return j.done })
		if i < 0 {
			return
		}
		c.known = slices.Delete(c.known, i, i+1)
	}
}

// forget is what a restart does to a device without flash.
func (c *commands) forget() { c.known, c.queue = nil, nil }

// asked receives a command; the reader calls it.
func (d *Device) asked(c *protocol.Command) {
	d.mu.Lock()
	lost, at := d.accept(c, time.Now())
	d.mu.Unlock()
	if len(lost) > 0 {
		d.report(at, lost)
	}
}

// accept queues a command, or answers one that was done before: with the code
// and no records. Its first answer was lost, so the state that was in it is
// returned, to go as telemetry, as old as it is. mu is held.
func (d *Device) accept(c *protocol.Command, now time.Time) (lost []protocol.Record, at time.Time) {
	if j := d.commands.find(c.ID); j != nil {
		if !j.done {
			return nil, at // its result is on its way
		}
		d.stats.Repeats++
		lost, j.result.Records = j.result.Records, nil
		repeat := j.result
		d.reply(&repeat)
		return lost, j.at
	}
	if len(d.commands.queue) >= maxQueued {
		d.reply(&protocol.Result{ID: c.ID, Code: protocol.ResultBusy})
		return nil, at
	}
	j := &job{command: c, due: now.Add(time.Duration(min(c.Left, 1<<40)) * time.Millisecond)}
	d.commands.remember(j)
	d.commands.queue = append(d.commands.queue, j)
	if !d.commands.working {
		d.commands.working = true
		d.running.Go(d.work)
	}
	return nil, at
}

// reply queues a result for the writer; mu is held.
func (d *Device) reply(r *protocol.Result) {
	d.out = append(d.out, r)
	d.stir()
}

// work carries out queued commands, one at a time, and ends with the queue.
func (d *Device) work() {
	for {
		d.mu.Lock()
		if len(d.commands.queue) == 0 {
			d.commands.working = false
			d.mu.Unlock()
			return
		}
		j := d.commands.queue[0]
		d.commands.queue = d.commands.queue[1:]
		d.mu.Unlock()

		result := d.act(j)

		d.mu.Lock()
		j.done, j.result, j.at = true, result, time.Now()
		d.stats.Commands++
		if d.session.welcome != nil {
			answer := j.result // a copy: a repeat changes the job's
			d.reply(&answer)
		}
		d.mu.Unlock()
	}
}

// act carries out one command, unless its time is over.
func (d *Device) act(j *job) protocol.Result {
	result := protocol.Result{ID: j.command.ID, Code: protocol.ResultUnsupported}
	if !time.Now().Before(j.due) {
		result.Code = protocol.ResultTooLate
		return result
	}
	if d.cfg.OnCommand == nil {
		return result
	}
	ctx, cancel := context.WithDeadline(d.life, j.due)
	defer cancel()
	result.Code, result.Message, result.Records = d.cfg.OnCommand(ctx, j.command)
	return result
}
