package broker

import "time"

// fifo is a queue in one piece of memory, which it uses again and again.
type fifo[T any] struct {
	items []T
	head  int // items before it are gone
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

// reserve makes room by moving what is left to the front, if that is worth it;
// else append grows the memory.
func (f *fifo[T]) reserve(n int) {
	if len(f.items)+n > cap(f.items) && f.head >= f.len() {
		f.items = f.items[:copy(f.items, f.items[f.head:])]
		f.head = 0
	}
}

// drop takes n items from the front.
func (f *fifo[T]) drop(n int) {
	if f.head += n; f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
}

// entry is one message that waits: its parts lie in the queue's bytes one after
// another. It is kept apart from any version of the protocol, since a session can
// come back with another one.
type entry struct {
	topic, props, payload int           // lengths
	expires               time.Duration // by the broker's clock; 0 is never
	qos                   byte
	retain                bool
}

func (e *entry) size() int { return e.topic + e.props + e.payload }

// cut returns the parts.
func (e *entry) cut(b []byte) (topic, props, payload []byte) {
	return b[:e.topic], b[e.topic : e.topic+e.props], b[e.topic+e.props : e.size()]
}

// queue is a line of messages. Publishing to it allocates nothing once it has
// grown to what a client usually is behind.
type queue struct {
	entries fifo[entry]
	bytes   fifo[byte]
	calm    int // how often in a row it was empty and its memory far too large
	peak    int // bytes since it was empty
}

// overhead is what an entry costs beside its bytes, for the limits.
const overhead = 64

func (q *queue) count() int { return q.entries.len() }
func (q *queue) size() int  { return q.bytes.len() + overhead*q.entries.len() }

func (q *queue) push(e entry, topic string, ids, props, payload []byte) {
	q.bytes.reserve(e.size())
	b := append(q.bytes.items, topic...)
	b = append(b, ids...)
	b = append(b, props...)
	q.bytes.items = append(b, payload...)
	q.entries.reserve(1)
	q.entries.items = append(q.entries.items, e)
	q.peak = max(q.peak, q.bytes.len())
}

// front is the oldest message; there has to be one. It is valid until the next
// push or pop.
func (q *queue) front() (*entry, []byte) {
	e := &q.entries.items[q.entries.head]
	return e, q.bytes.items[q.bytes.head:][:e.size()]
}

func (q *queue) pop() {
	e, _ := q.front()
	q.bytes.drop(e.size())
	if q.entries.drop(1); q.count() == 0 {
		q.relax()
	}
}

// relax gives memory back that one burst needed and the next hundred did not.
func (q *queue) relax() {
	if cap(q.bytes.items) <= 64<<10 || q.peak > cap(q.bytes.items)/8 {
		q.calm = 0
	} else if q.calm++; q.calm == 100 {
		*q = queue{}
	}
	q.peak = 0
}
