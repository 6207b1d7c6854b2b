package devices

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// session is what the reader keeps between frames.
type session struct {
	opened   bool // hello was taken
	left     bool // bye was
	boot     protocol.Boot
	newest   []counter // the newest seq of each boot that hello named
	rate     bucket
	logs     bucket
	peerDone bool // the peer's close frame came
}

// take takes one frame in: it is the reader's whole work, in the order in
// which the device sent.
func (l *link) take(b []byte) {
	if l.left || l.hub.stopping() {
		return
	}
	f, err := protocol.Decode(b, l.hub.limits)
	if err != nil {
		l.refuse(err)
		return
	}
	switch hello, ok := f.(*protocol.Hello); {
	case ok && !l.opened:
		l.hello(hello)
		return
	case ok:
		l.end(protocol.CloseMalformed, "hello comes once only")
		return
	case !l.opened:
		l.end(protocol.CloseMalformed, "the first frame must be hello")
		return
	}
	switch f := f.(type) {
	case *protocol.Telemetry:
		l.telemetry(f)
	case *protocol.Result:
		l.result(f)
	case *protocol.Describe:
		l.describe(f)
	case protocol.Ping:
		l.send(protocol.Pong{Token: f.Token, Time: l.hub.wallClock()})
	case protocol.Bye:
		l.bye(f)
	case protocol.Log:
		l.logLine(f)
	default:
		l.complain(protocol.Unsupported, fmt.Sprintf("frame type %d is not taken here", f.Type()))
	}
}

// refuse answers a frame that could not be decoded.
func (l *link) refuse(err error) {
	var r *protocol.Refusal
	if !errors.As(err, &r) {
		r = &protocol.Refusal{Close: protocol.CloseMalformed, Message: err.Error()}
	}
	switch {
	case r.Close != 0:
		l.end(r.Close, r.Message)
	case !l.opened:
		l.end(protocol.CloseMalformed, "the first frame must be a hello that can be used: "+r.Message)
	case r.Seq != 0:
		l.settle(r.Boot, r.Seq, r.Code, r.Message)
	default:
		l.complain(r.Code, r.Message)
	}
}

// complain sends an error frame that is about no seq.
func (l *link) complain(code protocol.ErrorCode, text string) {
	l.hub.Counters.Errors.Add(1)
	l.device.note(registry.AboutFrame, fmt.Sprintf("refused with error %d: %s", code, text))
	l.send(l.errorFrame(code, text))
}

func (l *link) errorFrame(code protocol.ErrorCode, text string) protocol.Error {
	return protocol.Error{Code: code, Message: clean(text, 240)} // fits the smallest hello.5
}

// hello opens the session: the device's counters are looked up, older links
// give way, and the welcome goes out before anything else.
func (l *link) hello(h *protocol.Hello) {
	if !l.device.admits(l, h.Boot) {
		return
	}
	o := &l.hub.o
	l.opened, l.boot = true, h.Boot
	o.Registry.Seen(l.device.id, h)

	era := o.Store.Era() // before the counters, which are of that era or newer
	boots := append([]protocol.Boot{h.Boot}, h.Boots...)
	settled := o.Store.Hello(l.device.id, boots)
	w := &protocol.Welcome{
		Device:    l.device.id,
		Time:      l.hub.wallClock(),
		Heartbeat: l.hub.grantHeartbeat(h.Heartbeat),
		Settled:   settled[0],
		Window:    uint64(o.Window),
		MaxFrame:  uint64(l.hub.limits.Message),
		Describe:  h.Description != nil && !o.Registry.HasDescription(l.device.id, *h.Description),
		Waiting:   uint64(o.Commands.CountWaiting(l.device.id)),
	}
	if era.InMemory() {
		w.Durability = protocol.InMemory
	}
	counters := make([]counter, len(boots))
	for i, b := range boots {
		counters[i] = counter{boot: b, seq: settled[i]}
		if i > 0 {
			w.Boots = append(w.Boots, protocol.SettledBoot{Boot: b, Seq: settled[i]})
		}
	}
	l.newest = slices.Clone(counters)
	l.mu.Lock()
	l.boots, l.heartbeat = counters, time.Duration(w.Heartbeat)*time.Second
	l.era = era
	l.mu.Unlock()
	l.device.attach(l, h, w)
	if now := o.Store.Era(); now != era { // the hub told those that had a session
		l.renew(now, 1)
	}
}

// welcome queues the welcome and begins to watch the link's life.
func (l *link) welcome(w *protocol.Welcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sendLocked(w) {
		l.welcomed = true
		l.timer.Reset(l.interval())
	}
}

// describe takes a description. One that cannot be used leaves the old one.
// Each new one is written down and announced to Home Assistant, so a device
// that changes all the time is slowed.
func (l *link) describe(d *protocol.Describe) {
	if !l.hub.o.Registry.HasDescription(l.device.id, d.Hash()) &&
		!l.slow(func() time.Duration { return l.device.descriptions.take(1, describeRate, describeBurst) }) {
		return
	}
	err := l.hub.o.Registry.Describe(l.device.id, d)
	var r *protocol.Refusal
	switch {
	case errors.As(err, &r):
		l.complain(r.Code, r.Message)
	case err != nil:
		l.hub.log.Error("description not kept", "device", l.device.id, "err", err)
	}
}

// telemetry takes measurements in: checked, resolved, given to the log. The
// ack follows when the log says that they are durable (see Committed).
func (l *link) telemetry(t *protocol.Telemetry) {
	boot, old, ok := l.named(t.Boot)
	if !ok {
		l.complain(protocol.InvalidRecord, fmt.Sprintf("boot %x was not named by this session's hello", t.Boot[:]))
		return
	}
	now := time.Now()
	soon, err := l.device.check(t.Records, old)
	if err != nil {
		r := refusalOf(err)
		l.settle(t.Boot, t.Seq, r.Code, r.Message)
		return
	}
	l.hub.Counters.Retimed.Add(uint64(t.Resolve(now.UnixMilli(), l.hub.trusted(now))))
	unacked, ok := l.room()
	if !ok {
		return
	}
	l.hub.Counters.Telemetry.Add(1)
	l.hub.Counters.Records.Add(uint64(len(t.Records)))
	if 2*unacked >= l.hub.o.Window {
		soon = store.Now
	}
	l.append(&store.Entry{
		Kind: store.Telemetry, Device: l.device.id, Boot: boot, Seq: t.Seq,
		Received: now.UnixMilli(), Records: t.Records, Uncertain: t.Uncertain, Era: l.era,
	}, soon, l)
}

// named is the boot of a frame: hello's if it names none. old means another
// than hello's, and ok that this session's hello named it.
func (l *link) named(b *protocol.Boot) (boot protocol.Boot, old, ok bool) {
	if b == nil || *b == l.boot {
		return l.boot, false, true
	}
	return *b, true, slices.ContainsFunc(l.boots, func(c counter) bool { return c.boot == *b })
}

// append gives an entry of this link, counted by room, to the log.
func (l *link) append(e *store.Entry, u store.Urgency, w store.Waiter) (repeat bool) {
	repeat, err := l.hub.o.Store.Append(e, u, w)
	if repeat {
		l.hub.Counters.Repeats.Add(1)
	}
	if err != nil {
		l.mu.Lock()
		l.unacked--
		l.mu.Unlock()
		l.notStored(err)
		return repeat
	}
	l.follow(e.Boot, e.Seq, repeat)
	return repeat
}

// notStored ends the link when the log takes nothing more: the device keeps
// its frames and comes back later.
func (l *link) notStored(err error) {
	switch {
	case errors.Is(err, store.ErrClosed):
		l.end(protocol.CloseRestart, "the gateway stops")
		return
	case errors.Is(err, store.ErrOldEra):
		l.renew(l.hub.o.Store.Era(), 1)
		return
	}
	l.hub.Counters.Overloads.Add(1)
	l.farewell("overloaded", jitter(8), protocol.CloseOverloaded, "too much waits for the disk")
}

// settle refuses a frame for good: its seq goes through the log like any other
// so that the error is sent when all below it are settled.
func (l *link) settle(b *protocol.Boot, seq uint64, code protocol.ErrorCode, text string) {
	boot, old, ok := l.named(b)
	if !ok {
		l.complain(code, text)
		return
	}
	unacked, ok := l.room()
	if !ok {
		return
	}
	l.device.note(registry.AboutFrame, fmt.Sprintf("refused with error %d, its data is not kept: %s", code, text))
	s := &settling{link: l, frame: l.errorFrame(code, text)}
	s.frame.Seq = seq
	if old {
		s.frame.Boot = &boot
	}
	soon := store.Measured
	if 2*unacked >= l.hub.o.Window {
		soon = store.Now
	}
	s.appended(l.append(&store.Entry{
		Kind: store.Refused, Device: l.device.id, Boot: boot, Seq: seq, Received: time.Now().UnixMilli(), Era: l.era,
	}, soon, s))
}

// result takes the answer to a command. Its code counts even if its records
// are refused.
func (l *link) result(r *protocol.Result) {
	now := time.Now()
	refused := r.Refused
	if refused == nil {
		if _, err := l.device.check(r.Records, false); err != nil {
			refused = refusalOf(err)
		}
	}
	if refused != nil {
		r.Records = nil
		l.complain(refused.Code, refused.Message)
	}
	l.hub.Counters.Retimed.Add(uint64(r.Resolve(now.UnixMilli(), l.hub.trusted(now))))
	l.device.answered(r)
	if len(r.Records) == 0 {
		return
	}
	_, err := l.hub.o.Store.Append(&store.Entry{
		Kind: store.Result, Device: l.device.id, Boot: l.boot, Command: r.ID,
		Received: now.UnixMilli(), Records: r.Records,
	}, store.Urgent, nil)
	if err != nil {
		l.notStored(err)
	}
}

// bye: the device leaves. What it said before is committed and acked, then the
// link closes; a disk that does not answer must not hold it.
func (l *link) bye(b protocol.Bye) {
	l.left = true
	l.device.leaves(l, b.Seconds)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ending {
		l.leaving = true
		l.timer.Reset(byeTime)
	}
}

// logLine passes a line of the device's log on, ten a second.
func (l *link) logLine(f protocol.Log) {
	if l.logs.take(time.Now(), 10, 10) > 0 {
		l.hub.Counters.LogsDropped.Add(1)
		return
	}
	level := slog.LevelInfo
	switch f.Level {
	case 0:
		level = slog.LevelDebug
	case 2:
		level = slog.LevelWarn
	case 3:
		level = slog.LevelError
	}
	l.hub.log.Log(context.Background(), level, "device says: "+clean(f.Text, 1024), "device", l.device.id)
	l.device.note(registry.AboutLog, level.String()+" "+f.Text)
}

func refusalOf(err error) *protocol.Refusal {
	var r *protocol.Refusal
	if errors.As(err, &r) {
		return r
	}
	return &protocol.Refusal{Code: protocol.InvalidRecord, Message: err.Error()}
}
