package mqtt

import (
	"sync"
	"time"

	"github.com/hearthgate/hearthgate/command"
)

// askerName is what the command service knows the bridge by.
const askerName = "mqtt"

// results are outcomes on their way to the broker: bounded, in order, kept over
// a reconnect. It is the command service's asker "mqtt".
type results struct {
	topics  topics
	mu      sync.Mutex
	queue   []answer
	back    []answer // were in flight when the connection ended; they go first
	bytes   int      // of both
	sending bool     // a link has what was taken
	dropped uint64
	now     func(message) bool // the link's publishNow, nil while there is no link
	wake    chan struct{}      // holds a token when there may be something to send
}

// answer is one message on a result topic.
type answer struct {
	m       message
	confirm func() // may be nil
	sent    bool   // on a link that ended before it was confirmed
}

// maxResults bounds the queue while the broker is away. Outcomes of stored
// commands that do not fit are given again by the command service after a
// restart; those of live commands are lost, counted.
const (
	maxResults     = 8192
	maxResultBytes = 16 << 20
)

func newResults(t topics) *results { return &results{topics: t, wake: make(chan struct{}, 1)} }

// Waiting is command.Asker.
func (r *results) Waiting(q command.Request, until time.Time) {
	r.add(q.Device, q.Via, command.AppendWaiting(nil, q, until), nil)
}

// Done is command.Asker.
func (r *results) Done(res command.Result, confirm func()) {
	r.add(res.Device, res.Via, res.AppendJSON(nil), confirm)
}

func (r *results) add(device, via string, payload []byte, confirm func()) {
	topic, ok := r.topics.result(device, via)
	if !ok {
		if confirm != nil {
			confirm() // there is nowhere to tell it
		}
		return
	}
	r.push(message{topic: topic, payload: payload}, confirm)
}

// push passes on any message that is said once: an outcome, an alert, the clearing
// of a retained command. If none is before it and the broker takes it at once, it
// does not wait for the sender.
func (r *results) push(m message, confirm func()) {
	r.mu.Lock()
	if len(r.queue)+len(r.back) == 0 && !r.sending && r.now != nil && r.now(m) {
		r.mu.Unlock()
		if confirm != nil {
			confirm()
		}
		return
	}
	if len(r.queue)+len(r.back) < maxResults && r.bytes+len(m.payload) <= maxResultBytes {
		r.bytes += len(m.payload)
		r.queue = append(r.queue, answer{m: m, confirm: confirm})
	} else {
		r.dropped++
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take is everything that waits, in order.
func (r *results) take() []answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.queue
	if len(r.back) > 0 {
		all = append(r.back, r.queue...)
	}
	r.queue, r.back, r.bytes = nil, nil, 0
	r.sending = len(all) > 0
	return all
}

// unsent takes what no link has sent yet. The rest may be with the broker.
func (r *results) unsent() (all []answer) {
	for _, a := range r.take() {
		if !a.sent {
			all = append(all, a)
		}
	}
	return all
}

// send publishes results on l until it ends. The caller waits for it.
func (r *results) send(l *link) {
	r.serve(l.publishNow)
	defer r.serve(nil)
	for l.ctx.Err() == nil { // else what is taken comes back at once
		all := r.take()
		for _, a := range all {
			r.sendOne(l, a)
		}
		if len(all) > 0 {
			continue // only now nothing is under way
		}
		select {
		case <-r.wake:
		case <-l.ctx.Done():
			return
		}
	}
}

func (r *results) serve(now func(message) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.sending = now, false
}

func (r *results) sendOne(l *link, a answer) {
	l.publish(a.m, func(err error) {
		switch {
		case err != nil && err != errSkipped:
			a.sent = err != errNotSent
			r.mu.Lock()
			r.back = append(r.back, a)
			r.bytes += len(a.m.payload)
			r.mu.Unlock()
		case a.confirm != nil:
			a.confirm()
		}
	})
}

// count is how many wait and how many were lost.
func (r *results) count() (waiting int, dropped uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) + len(r.back), r.dropped
}
