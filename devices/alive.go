package devices

import (
	"math/rand/v2"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// byeTime is how long a device that said bye is kept for its last acks; it
// waits 2 s itself.
const byeTime = 5 * time.Second

// A read deadline a link would be a second clock beside this timer, and it
// would run out while the gateway itself holds the reader. So there is the
// timer alone: one a link, on no goroutine of its own.

// tick is the link's timer: hello overdue, time for a ping, silence, or the
// end of a goodbye.
func (l *link) tick() {
	defer l.rescueWriter()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over || l.ending:
	case !l.welcomed:
		l.endLocked(protocol.CloseHelloTimeout, "no hello")
	case l.leaving:
		l.endLocked(protocol.CloseNormal, "bye")
	default:
		l.watch()
	}
}

// watch pings a link on which nothing came in or nothing went out for a
// heartbeat, and gives it up after two and a half of silence, unless it is we
// who do not read. Called with mu held.
func (l *link) watch() {
	now, in, out := l.hub.now(), l.lastIn.Load(), l.lastOut.Load()
	if l.paused {
		in = now
	}
	dead := in + (l.heartbeat * 5 / 2).Milliseconds()
	if now >= dead {
		l.hub.Counters.Silent.Add(1)
		l.endLocked(protocol.CloseSilence, "silence")
		return
	}
	next := max(min(in, out), l.lastPing) + l.interval().Milliseconds()
	if now >= next {
		l.lastPing = now
		l.queueLocked(opPing, nil)
		next = now + l.interval().Milliseconds()
	}
	l.timer.Reset(time.Duration(max(min(next, dead)-now, 1)) * time.Millisecond)
}

// interval is the heartbeat less a random tenth, so that links do not beat
// together.
func (l *link) interval() time.Duration {
	return l.heartbeat - rand.N(l.heartbeat/10)
}
