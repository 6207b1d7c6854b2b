package devices

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// Identity clashes: so many replacements, by another boot, of a link that
// showed life so recently, within so long, close newcomers for that long.
const (
	clashCount  = 3
	clashWithin = time.Minute
	clashLife   = 5 * time.Second
)

// device is a device of the home as the hub sees it: its links, of which one
// at most has a session, and its presence.
//
// mu orders what the command service and the log are told of the device. It is
// held while calling them (they do not block), never while calling what
// changes the registry, whose watchers come back here. It is taken before
// link.mu.
type device struct {
	hub *Hub
	id  string

	bytes        allowance // of its frames
	descriptions allowance // that it changed to

	mu       sync.Mutex
	links    []*link // every one, also before its hello
	current  *link   // the one with the session
	presence presence
	timer    *time.Timer // presence.deadline
	gone     bool        // removed from the home
	clashes  []time.Time
	closedTo time.Time // newcomers of another boot get 4014 until then
}

func (d *device) add(l *link) {
	d.mu.Lock()
	d.links = append(d.links, l)
	d.mu.Unlock()
}

// admits reports whether a link with that boot may become the session, before
// anything is noted of it; else the link ends.
func (d *device) admits(l *link, boot protocol.Boot) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch old := d.current; {
	case d.gone:
		l.end(protocol.CloseRevoked, "removed")
	case old != nil && !d.mayReplace(old, boot):
		d.hub.Counters.ClashClosed.Add(1)
		l.end(protocol.CloseIdentityClash, "another device uses this identity")
	default:
		return true
	}
	return false
}

// attach makes l the device's session: an older one gives way, the welcome
// goes out, then the commands that wait.
func (d *device) attach(l *link, h *protocol.Hello, w *protocol.Welcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return // its links are ending
	}
	if old := d.current; old != nil {
		d.hub.Counters.Replaced.Add(1)
		d.hub.o.Commands.Disconnected(d.id, old)
		old.end(protocol.CloseReplaced, "replaced by a newer link")
	}
	d.current = l
	d.hub.Counters.Accepted.Add(1)
	d.told(d.presence.connected(time.Now(), h.WakeInterval), store.Measured, nil)
	l.welcome(w)
	d.hub.o.Commands.Connected(d.id, h.Boot, l)
}

// mayReplace reports whether a newcomer with that boot may replace the live
// link old. Two devices with one identity would otherwise replace each other
// for ever.
func (d *device) mayReplace(old *link, boot protocol.Boot) bool {
	if old.boot == boot {
		return true
	}
	now := time.Now()
	if now.Before(d.closedTo) {
		return false
	}
	if d.hub.now()-old.lastIn.Load() > clashLife.Milliseconds() {
		return true
	}
	d.clashes = slices.DeleteFunc(d.clashes, func(t time.Time) bool { return now.Sub(t) > clashWithin })
	d.clashes = append(d.clashes, now)
	if len(d.clashes) >= clashCount {
		d.clashes, d.closedTo = nil, now.Add(clashWithin)
		d.hub.Counters.Clashes.Add(1)
		d.hub.alert(d.id, "two devices seem to use one identity: they keep replacing each other; remove the token from one of them")
	}
	return true
}

// ended takes a link off whose goroutine is over.
func (d *device) ended(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.links = slices.DeleteFunc(d.links, func(o *link) bool { return o == l })
	if d.current == l {
		d.current = nil
		d.hub.o.Commands.Disconnected(d.id, l)
		if !d.gone && !d.hub.stopping() {
			d.told(d.presence.ended(time.Now(), l.cause), store.Measured, nil)
		}
	}
	if d.gone && len(d.links) == 0 {
		d.hub.o.Store.Forget(d.id)
	}
}

// leaves: the device said bye. Once that is on disk, and with it all that the
// device said before, the link closes.
func (d *device) leaves(l *link, seconds uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == l && !d.gone && d.told(d.presence.bye(time.Now(), seconds), store.Now, leaving{l}) {
		return
	}
	l.end(protocol.CloseNormal, "bye")
}

// leaving closes a link after its last ack.
type leaving struct{ link *link }

// Committed is called when everything up to the bye is durable, or never will be.
func (w leaving) Committed(*store.Entry, error) { w.link.end(protocol.CloseNormal, "bye") }

// told writes a change of presence to the log and tells the command service
// how the device is now, changed or not. It reports whether the log took
// something. Called with mu held.
func (d *device) told(changed bool, u store.Urgency, w store.Waiter) (logged bool) {
	if changed {
		d.hub.log.Info("device is "+string(d.presence.State), "device", d.id, "cause", d.presence.Cause)
		d.note(registry.AboutPresence, sentence(string(d.presence.State), d.presence.Cause))
		_, err := d.hub.o.Store.Append(&store.Entry{
			Kind: store.Presence, Device: d.id, Received: d.presence.Since, Presence: d.presence.PresenceChange,
		}, u, w)
		logged = err == nil
		if err != nil && !errors.Is(err, store.ErrClosed) {
			d.hub.log.Error("presence not stored", "device", d.id, "state", d.presence.State, "err", err)
		}
	}
	d.hub.o.Commands.Presence(d.id, d.presence.State, d.presence.grace(), d.presence.interval())
	d.arm()
	return logged
}

// note writes into the device's diary.
func (d *device) note(about, text string) { d.hub.o.Registry.Note(d.id, about, text) }

// arm sets the timer to the presence's deadline.
func (d *device) arm() {
	switch {
	case d.presence.deadline.IsZero():
		if d.timer != nil {
			d.timer.Stop()
		}
	case d.timer == nil:
		d.timer = time.AfterFunc(time.Until(d.presence.deadline), d.expire)
	default:
		d.timer.Reset(time.Until(d.presence.deadline))
	}
}

// expire is the timer.
func (d *device) expire() {
	defer d.hub.rescue(d.id)
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.gone || d.hub.stopping() || d.presence.deadline.IsZero() || now.Before(d.presence.deadline) {
		return // set anew while this was on its way
	}
	d.told(d.presence.expired(now), store.Measured, nil)
}

// answered passes the answer to a command on.
func (d *device) answered(r *protocol.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hub.o.Commands.Answered(d.id, r)
}

// close ends every link of the device.
func (d *device) close(code protocol.CloseCode, text string) {
	for _, l := range d.links {
		l.end(code, text)
	}
}

// standing follows what the registry says of the device: whether it may come. Of two
// changes at a moment either may be heard of first, so what holds is asked here, with
// mu held: who asks last knows the last. Where it was revoked its links end at once,
// though it may come again by now: their token may not.
func (d *device) standing(wasRevoked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if wasRevoked {
		d.close(protocol.CloseRevoked, "revoked")
	}
	known, ok := d.hub.o.Registry.Get(d.id)
	switch disabled := d.presence.State == store.Disabled; {
	case d.gone || !ok || known.Revoked == disabled:
	case disabled:
		d.told(d.presence.enabled(time.Now()), store.Urgent, nil)
	default:
		d.told(d.presence.disabled(time.Now()), store.Urgent, nil)
	}
}

// removed: it leaves the home, and the log forgets it when its links are over.
func (d *device) removed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	if d.timer != nil {
		d.timer.Stop()
	}
	d.close(protocol.CloseRevoked, "removed")
	d.hub.o.Commands.Removed(d.id)
	if len(d.links) == 0 {
		d.hub.o.Store.Forget(d.id)
	}
}

// shutdown says goodbye to its links, and stops its timer.
func (d *device) shutdown(holdOff uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	for _, l := range d.links {
		l.farewell("restart", holdOff, protocol.CloseRestart, "the gateway stops")
	}
}

// cut cuts its links.
func (d *device) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.links {
		l.cut("the gateway stopped")
	}
}

// waits reports whether frames of its session wait for their commit.
func (d *device) waits() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current != nil && d.current.info().Unacked > 0
}

// restate appends how the device is once more, to be committed now.
func (d *device) restate(w store.Waiter) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.hub.o.Store.Append(&store.Entry{
		Kind: store.Presence, Device: d.id, Received: time.Now().UnixMilli(), Presence: d.presence.PresenceChange,
	}, store.Now, w)
	return err == nil
}
