package client

import (
	"errors"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// What goes out (pump, from Run) and what comes in (take, from the reader).

var (
	errSilence = errors.New("the gateway was silent for 2.5 heartbeats")
	errAnew    = errors.New("begins anew")
)

// pump sends what may be sent now: the description that was asked for, results,
// then telemetry while the window has room.
func (d *Device) pump(conn *Conn) error {
	for {
		f := d.nextFrame()
		if f == nil {
			return nil
		}
		if err := conn.Send(f); err != nil {
			return err
		}
	}
}

func (d *Device) nextFrame() protocol.Frame {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.session
	switch {
	case s.welcome == nil || d.redial:
		return nil // ended meanwhile
	case s.describe:
		s.describe = false
		return d.cfg.Describe
	case len(d.out) > 0:
		f := d.out[0]
		d.out = d.out[1:]
		if _, ok := f.(*protocol.Result); ok {
			s.answered++
		}
		return f
	}
	now := time.Now()
	f := d.spool.next(window(s.welcome), now)
	switch {
	case f == nil:
		return nil
	case f.Sent == now:
		d.stats.Sent++
	default:
		d.stats.Again++
	}
	return f.telemetry(d.spool.boot, now)
}

func window(w *protocol.Welcome) int {
	if w.Window == 0 {
		return 16
	}
	return int(min(w.Window, 1<<16))
}

// telemetry is the frame as it is sent now.
func (f *frame) telemetry(current protocol.Boot, now time.Time) *protocol.Telemetry {
	t := &protocol.Telemetry{Seq: f.Seq, Records: f.Records, Uncertain: f.Uncertain}
	if f.Boot != current {
		boot := f.Boot
		t.Boot = &boot
	}
	if !f.Uncertain {
		t.Age = uint64(max(now.Sub(f.Composed), 0) / time.Millisecond)
	}
	return t
}

// take receives one frame of the gateway; the reader calls it.
func (d *Device) take(f protocol.Frame) {
	switch f := f.(type) {
	case *protocol.Welcome:
		d.welcomed(f)
	case protocol.Ack:
		d.acknowledged(f)
	case protocol.Error:
		d.refused(f)
	case *protocol.Command:
		d.asked(f)
	case *protocol.Grant:
		d.granted(f)
	case protocol.Bye:
		d.log.Info("the gateway says bye", "reason", f.Reason, "seconds", f.Seconds)
	}
}

func (d *Device) welcomed(w *protocol.Welcome) {
	d.mu.Lock()
	if d.redial {
		d.mu.Unlock()
		return // a restart came between: this hello is not ours any more
	}
	settled, clash := d.spool.resume(w)
	if clash {
		d.spool.rename(NewBoot())
		d.redial = true
	} else {
		d.session.welcome = w
		d.session.describe = w.Describe && d.cfg.Describe != nil
	}
	if d.url > 0 {
		d.url-- // this address works: stay with it
	}
	d.stats.Sessions++
	d.stats.Settled += uint64(len(settled))
	d.released()
	d.mu.Unlock()
	if clash {
		d.log.Warn("the gateway has seen a higher counter of this boot: beginning a new one")
		d.stir() // Run ends this link
		return
	}
	d.tell(settled...)
	if d.cfg.OnWelcome != nil {
		d.cfg.OnWelcome(w)
	}
	d.stir()
}

func (d *Device) acknowledged(a protocol.Ack) {
	d.mu.Lock()
	boot := d.spool.boot
	if a.Boot != nil {
		boot = *a.Boot
	}
	hold := d.session.welcome != nil && d.session.welcome.Durability == protocol.InMemory
	settled := d.spool.ack(boot, a.Seq, hold)
	d.stats.Settled += uint64(len(settled))
	d.released()
	d.mu.Unlock()
	d.tell(settled...)
	d.stir()
}

func (d *Device) refused(e protocol.Error) {
	d.log.Warn("the gateway refused something", "code", e.Code, "message", e.Message, "seq", e.Seq)
	if e.Seq == 0 {
		return
	}
	d.mu.Lock()
	boot := d.spool.boot
	if e.Boot != nil {
		boot = *e.Boot
	}
	f := d.spool.refuse(boot, e.Seq, &Rejection{e.Code, e.Message})
	if f != nil {
		d.stats.Settled++
	}
	d.released()
	d.mu.Unlock()
	if f != nil {
		d.tell(f)
	}
	d.stir()
}
