package devices

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"

	"github.com/hearthgate/hearthgate/protocol"
)

// WebSocket opcodes that we send (RFC 6455 §5.2).
const (
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// What may wait for a peer to read it. A device that is behind by more is cut.
const (
	maxQueuedFrames = 256
	maxQueuedBytes  = 64 << 10
)

// send queues a frame. It never blocks; false means that the link is ending.
func (l *link) send(f protocol.Frame) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sendLocked(f)
}

func (l *link) sendLocked(f protocol.Frame) bool {
	if !l.putLocked(f) {
		return false
	}
	l.kick()
	return true
}

// putLocked queues a frame for whoever writes next.
func (l *link) putLocked(f protocol.Frame) bool {
	if l.ending {
		return false
	}
	buf := buffers.Get().(*[]byte)
	*buf = protocol.Append((*buf)[:0], f)
	ok := l.fits(len(*buf))
	if ok {
		l.appendFrame(opBinary, *buf)
	}
	buffers.Put(buf)
	return ok
}

// queue queues one WebSocket frame.
func (l *link) queue(opcode byte, payload []byte) {
	l.mu.Lock()
	l.queueLocked(opcode, payload)
	l.mu.Unlock()
}

func (l *link) queueLocked(opcode byte, payload []byte) {
	if !l.ending && l.fits(len(payload)) {
		l.appendFrame(opcode, payload)
		l.kick()
	}
}

// fits reports whether there is room for one more frame, and else cuts the link.
func (l *link) fits(size int) bool {
	if l.frames >= maxQueuedFrames || len(l.out)+size > maxQueuedBytes {
		l.hub.Counters.SlowPeers.Add(1)
		l.hub.log.Warn("link cut: the device does not read", "device", l.device.id, "frames", l.frames, "bytes", len(l.out))
		l.code = protocol.CloseOverloaded
		l.cutLocked("does not read")
		return false
	}
	return true
}

// appendFrame appends an unmasked, unfragmented WebSocket frame to out.
func (l *link) appendFrame(opcode byte, payload []byte) {
	if l.out == nil {
		l.out = (*buffers.Get().(*[]byte))[:0]
	}
	b := append(l.out, 0x80|opcode)
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	l.out = append(b, payload...)
	l.frames++
	l.hub.Counters.FramesOut.Add(1)
}

// kick starts the writer if nobody writes. Called with mu held.
func (l *link) kick() {
	if !l.writing && !l.over {
		l.writing = true
		go l.write()
	}
}

// write is the writer: it writes what is queued, everything that gathered in
// one call, and ends when there is nothing left.
func (l *link) write() {
	defer l.rescueWriter()
	for {
		l.mu.Lock()
		l.gather()
		last := l.ending && l.code != 0 && l.conn.sayClose()
		if last {
			l.appendFrame(opClose, closePayload(l.code, l.text))
		}
		batch := l.out
		l.out, l.frames = nil, 0
		mute := l.ending && l.code == 0 || !last && l.saidClose.Load() // nobody would read it
		if len(batch) == 0 || mute {
			l.writing = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		_, err := l.conn.write(batch)
		recycle(batch)
		switch {
		case err != nil:
			l.cut("does not read")
		case last:
			l.conn.Close()
		}
		l.lastOut.Store(l.hub.now())
	}
}

// gather queues the acks that are due: one a boot, however many frames it
// tells of. Called with mu held.
func (l *link) gather() {
	if !l.acksDue {
		return
	}
	l.acksDue = false
	for i := range l.boots {
		c := &l.boots[i]
		if !c.due {
			continue
		}
		c.due = false
		ack := protocol.Ack{Seq: c.seq}
		if i > 0 {
			ack.Boot = &c.boot
		}
		var small [32]byte
		l.appendFrame(opBinary, protocol.Append(small[:0], ack))
		l.hub.Counters.Acks.Add(1)
	}
}

func (l *link) rescueWriter() {
	if p := recover(); p != nil {
		l.hub.panicked(l.device.id, p)
		l.cut("internal error")
	}
}

// closePayload is the payload of a close frame: at most 125 bytes.
func closePayload(code protocol.CloseCode, text string) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 125), uint16(code))
	return append(b, clean(text, 123)...)
}

// jitter is a random part of n, from 1 on.
func jitter(n uint64) uint64 { return 1 + rand.Uint64N(n) }

// buffers are for frames on their way out: a link at rest holds none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

func recycle(b []byte) {
	if cap(b) <= 8<<10 {
		buffers.Put(&b)
	}
}
