//go:build unix

package devices

import (
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// linked is a link with an ack due, over a real socket, and its device's end.
func linked(t *testing.T) (*link, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	peer, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close(); ours.Close() })
	h := &Hub{start: time.Now(), devices: map[string]*device{}}
	l := h.newLink("d", ours, netip.Addr{})
	l.boots = []counter{{seq: 7, due: true}}
	l.acksDue = true
	return l, peer
}

// ackOf7 is the frame that tells the peer of seq 7.
func ackOf7() []byte {
	ack := protocol.Append(nil, protocol.Ack{Seq: 7})
	return append([]byte{0x80 | opBinary, byte(len(ack))}, ack...)
}

func TestAnAckThatFitsGoesAtOnce(t *testing.T) {
	l, peer := linked(t)
	l.ack(new(direct))
	if l.writing || l.acksDue || len(l.out) > 0 {
		t.Errorf("left to a writer: %v; due: %v; queued: %d bytes", l.writing, l.acksDue, len(l.out))
	}
	want := ackOf7()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != string(want) {
		t.Errorf("got % x, %v; want % x", got, err, want)
	}
}

// Commits may follow each other faster than their acks go out.
func TestTheAcksOfEveryCommitGoOut(t *testing.T) {
	const commits = 300
	var links []*link
	var heard sync.WaitGroup
	for range 5 {
		l, peer := linked(t)
		l.boots[0], l.acksDue = counter{}, false
		links = append(links, l)
		heard.Go(func() {
			for last := uint64(0); last < commits; {
				seq := readAck(t, peer)
				if seq <= last {
					t.Errorf("ack of %d after that of %d", seq, last)
					return
				}
				last = seq
			}
		})
	}
	var a acker
	for seq := uint64(1); seq <= commits; seq++ {
		var due []*link
		for _, l := range links {
			l.mu.Lock()
			l.boots[0].seq, l.boots[0].due = seq, true
			if !l.acksDue {
				l.acksDue = true
				due = append(due, l)
			}
			l.mu.Unlock()
		}
		a.add(due)
	}
	heard.Wait()
}

// A device that reads nothing holds nobody up, and what it was not told at once
// it is told in order once it reads.
func TestAFullSocketIsLeftToTheWriter(t *testing.T) {
	l, peer := linked(t)
	var call direct
	full := fullSocket(t)
	l.conn.raw = full
	if n := call.write(full, []byte{1}); n != 0 {
		t.Fatalf("a full socket took %d bytes", n)
	}
	l.ack(&call) // returns, though nobody reads there; the writer has another way
	if got := readAck(t, peer); got != 7 {
		t.Errorf("ack of %d, want 7", got)
	}
}

// fullSocket is one that takes no byte more.
func fullSocket(t *testing.T) syscall.RawConn {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var d direct
	for size := 1 << 16; size > 0; { // nothing moves in it while nobody reads
		if d.write(raw, make([]byte, size)) == 0 {
			size /= 2
		}
	}
	return raw
}

// readAck reads an ack frame of a link's first boot; 0 = there is none.
func readAck(t *testing.T, peer io.Reader) uint64 {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(peer, head); err != nil {
		t.Error(err)
		return 0
	}
	body := make([]byte, head[1])
	if _, err := io.ReadFull(peer, body); err != nil {
		t.Error(err)
		return 0
	}
	f, err := protocol.Decode(body, protocol.Limits{})
	ack, ok := f.(protocol.Ack)
	if err != nil || !ok || head[0] != 0x80|opBinary {
		t.Errorf("% x% x is no ack: %v", head, body, err)
	}
	return ack.Seq
}
