package mqtt

import (
	"hash/fnv"
	"sync"
)

// refusals finds the message that a broker will not have. MQTT 3.1.1 has no
// negative PUBACK: a broker that refuses (too large, mostly) ends the
// connection. So what was in flight when the broker did that is suspect and is
// sent alone the next time; what was alone in flight, twice, when a broker that
// takes other messages and can be reached again at once hung up, is skipped.
// One device must not stop the home's MQTT.
type refusals struct {
	mu    sync.Mutex
	times map[uint64]int // suspects: how often each was refused alone
	alone uint64         // was alone in flight at the last end; 0 = none
}

const maxRefusals = 2

// maxSuspects bounds who is remembered: a state that gave way to a newer one is not
// sent again, so nobody ever clears it. Beyond it all begin anew.
const maxSuspects = 16 * windowSize

// key names a message by topic and content.
func (m *message) key() uint64 {
	h := fnv.New64a()
	h.Write([]byte(m.topic))
	h.Write([]byte{0})
	h.Write(m.payload)
	return h.Sum64() | 1
}

// verdict reports whether m is suspect, and whether it is to be skipped.
func (r *refusals) verdict(m *message) (suspect, skip bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.times) == 0 {
		return false, false
	}
	n, suspect := r.times[m.key()]
	return suspect, n >= maxRefusals
}

// confirmed clears a suspect.
func (r *refusals) confirmed(m *message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.times) > 0 {
		delete(r.times, m.key())
	}
}

// hungUp: the broker ended a working connection with these in flight.
func (r *refusals) hungUp(inFlight []message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == nil || len(r.times) > maxSuspects {
		r.times = map[uint64]int{}
	}
	for i := range inFlight {
		k := inFlight[i].key()
		r.times[k] += 0
		if len(inFlight) == 1 {
			r.alone = k
		}
	}
}

// back: there is a connection again. Only when the first try gave it was the
// broker there all the time, and its hanging up an answer.
func (r *refusals) back(firstTry bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.times[r.alone]; ok && firstTry {
		r.times[r.alone]++
	}
	r.alone = 0
}
