package devices

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// sockets are the two ends of a connection on loopback.
func sockets(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// Commands leave in order, whoever writes them: the one who sends, while the device
// reads, and a writer when it is behind. Of one that does not read at all nobody
// waits for longer than it takes to see that.
func TestFlushNeverWaitsForADevice(t *testing.T) {
	h := &Hub{log: slog.New(slog.DiscardHandler), start: time.Now(), limits: protocol.Limits{Message: 64 << 10}, devices: map[string]*device{}}
	ours, theirs := sockets(t)
	l := h.newLink("lamp", ours, netip.Addr{})
	next := uint64(0)
	give := func(text string) bool {
		next++
		ok := l.Send(&protocol.Command{ID: next, Records: []protocol.Record{{Name: "text", Value: protocol.Text(text)}}})
		l.Flush()
		return ok
	}
	in := bufio.NewReader(theirs)
	take := func() *protocol.Command {
		t.Helper()
		head, err := in.Peek(4)
		if err != nil {
			return nil
		}
		size, skip := int(head[1]), 2
		if size == 126 {
			size, skip = int(head[2])<<8|int(head[3]), 4
		}
		in.Discard(skip)
		payload := make([]byte, size)
		if _, err := io.ReadFull(in, payload); err != nil {
			return nil // torn by the cut
		}
		f, err := protocol.Decode(payload, h.limits)
		if err != nil {
			t.Fatal(err)
		}
		return f.(*protocol.Command)
	}
	for range 100 {
		if !give("now") {
			t.Fatal("the link ends")
		}
		if c := take(); c == nil || c.ID != next {
			t.Fatalf("%v comes where command %d should", c, next)
		}
	}
	seen := next
	for give(strings.Repeat("x", 500)) { // until its queue is full
	}
	if n := h.Counters.SlowPeers.Load(); n != 1 {
		t.Errorf("cut for another reason than its queue: %d", n)
	}
	for c := take(); c != nil; c = take() { // what it took before that is whole
		if seen++; c.ID != seen {
			t.Fatalf("command %d comes where %d should", c.ID, seen)
		}
	}
}
