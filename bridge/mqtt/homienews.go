package mqtt

import (
	"slices"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/homie"
	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// publishEntries says what is new. Of a number the newest of the batch is enough.
func (h *homieSide) publishEntries(l *link, entries []*store.Entry) error {
	b := homieBatch{h: h, l: l, now: time.Now(), numbers: map[string]int{}}
	for _, e := range entries {
		v := h.views[e.Device]
		switch {
		case v == nil || e.Again || e.Uncertain: // the first will be announced as it is then
		case e.Kind == store.Presence:
			v.state = homie.State(e.Presence.State)
			b.msgs = append(b.msgs, message{h.topic(v, "$state"), []byte(v.state), true})
		case e.Kind == store.Telemetry || e.Kind == store.Result:
			for i := range e.Records {
				b.add(v, &e.Records[i])
			}
		}
	}
	return l.publishAll(b.msgs)
}

type homieBatch struct {
	h       *homieSide
	l       *link
	now     time.Time
	msgs    []message
	numbers map[string]int // topic → place in msgs
}

func (b *homieBatch) add(v *homieView, r *protocol.Record) {
	p := v.device.Points[r.Name]
	switch {
	case p == nil || r.Unfit:
		return
	case !p.Retained:
		if payload, ok := p.Payload(r.Value); ok && b.now.UnixNano()-r.Time < int64(freshEvent) {
			b.h.once(b.l, v, p, payload)
		}
		return
	case r.Late:
		return
	}
	if f := v.fresh[p.Point().Component.ID]; f != nil && !b.revive(v, f, r.Time) {
		return // too old already
	}
	topic := b.h.topic(v, p.Path())
	if at, ok := b.numbers[topic]; ok && p.Datatype == "float" {
		b.msgs[at].topic = ""
	}
	b.numbers[topic] = len(b.msgs)
	b.msgs = append(b.msgs, message{topic, payloadOf(p, r.Value), true})
}

// revive takes note of a value of that time; false if that is too old. The first after
// a while brings what else is known of its component back.
func (b *homieBatch) revive(v *homieView, f *homieFresh, t int64) bool {
	f.refresh(t, b.now)
	switch {
	case !b.now.Before(f.until):
		return false
	case f.stale:
		f.stale = false
		for name, p := range v.device.Points {
			if n, ok := b.h.b.o.Store.NewestOf(v.id, name); ok && p.Retained && p.Point().Component == f.component {
				b.msgs = append(b.msgs, message{b.h.topic(v, p.Path()), payloadOf(p, n.Value), true})
			}
		}
		b.msgs = append(b.msgs, b.h.alert(v, f))
	}
	b.h.expectStale(f)
	return true
}

// once publishes what is no state: not retained, and at most once, as the convention
// has it.
func (h *homieSide) once(l *link, v *homieView, p *homie.Property, payload string) {
	l.client.Publish(h.topic(v, p.Path()), 0, false, payload)
}

// takes reports whether a topic belongs to a child of ours. The embedded broker asks
// for each command.
func (h *homieSide) takes(topic string) bool { return h.on && strings.HasPrefix(topic, h.below) }

// takeSet takes what was published on a topic. It does not block and keeps nothing of
// payload. One that was published with the retain flag is refused; the embedded broker
// has not kept it.
func (h *homieSide) takeSet(topic string, payload []byte, retained bool) {
	device, node, property, ok := h.names.Target(topic)
	if !ok || len(payload) == 0 { // which is how one that was retained is cleared
		return
	}
	err := checkPayload(payload)
	name := node + "/" + property
	var v protocol.Value
	if err == nil {
		name, v, err = h.names.Setting(h.b.o.Registry.Description(device), node, property, payload)
	}
	if retained {
		err = errRetainFlag
		if h.b.o.Embedded == nil {
			h.b.clearRetained(inbound{topic: topic}, target{device: device})
			err = errRetained
		}
	}
	if err != nil {
		h.b.results.Done(command.Result{Device: device, Set: []command.Setting{{Name: name, Text: string(payload[:min(len(payload), maxRepeated)])}},
			Outcome: command.Invalid, Message: err.Error()}, nil)
		return
	}
	h.b.o.Commands.Submit(command.Request{Device: device, Set: []command.Setting{{Name: name, Value: v}}, Asker: homieAskerName}, nil)
}

// maxRepeated is how much of a payload that cannot be used its result repeats.
const maxRepeated = 256

// homieAskerName is what the command service knows it by. Its outcomes are published
// where those of the bridge are.
const homieAskerName = "homie"

type homieAsker struct {
	*results
	h *homieSide
}

// Done is command.Asker.
func (a homieAsker) Done(r command.Result, confirm func()) {
	if r.Outcome == command.OK {
		a.h.acted(r)
	}
	a.results.Done(r, confirm)
}

// homieDone is something that a device has done once.
type homieDone struct {
	device, name string
	value        protocol.Value
}

// maxDone bounds what waits to be said.
const maxDone = 256

// acted notes what the device says it has done; the controller that asked for it hears
// of it on the topic of the property, which has no state.
func (h *homieSide) acted(r command.Result) {
	d := h.b.o.Registry.Description(r.Device)
	if d == nil || !h.on {
		return
	}
	for _, s := range r.Set {
		if p := d.Point(s.Name); p != nil && p.Momentary() {
			h.mu.Lock()
			if len(h.done) < maxDone {
				h.done = append(h.done, homieDone{r.Device, s.Name, s.Value})
			}
			h.mu.Unlock()
			h.poke()
		}
	}
}

// sayDone publishes what was done.
func (h *homieSide) sayDone(l *link) {
	h.mu.Lock()
	done := slices.Clone(h.done)
	h.done = h.done[:0]
	h.mu.Unlock()
	for _, a := range done {
		v := h.views[a.device]
		if v == nil || v.device.Points[a.name] == nil {
			continue
		}
		if p := v.device.Points[a.name]; p.Format == homie.Press {
			h.once(l, v, p, homie.Press)
		} else if payload, ok := p.Payload(a.value); ok {
			h.once(l, v, p, payload)
		}
	}
}
