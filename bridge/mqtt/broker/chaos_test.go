package broker

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// Many clients do everything at once, with few client ids so that they push each
// other out, and hang up in the middle of things. Afterwards nothing is left and
// the broker still works.
func TestEverythingAtOnce(t *testing.T) {
	b, _ := start(t)
	var all sync.WaitGroup
	end := time.Now().Add(time.Second)
	for n := range 12 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			for time.Now().Before(end) {
				rampage(t, b, r)
			}
		})
	}
	all.Go(func() {
		for i := 0; time.Now().Before(end); i++ {
			if err := b.Publish(fmt.Sprintf("home/%d", i%50), i%3 == 0, make([]byte, i%300)); err != nil {
				t.Error(err)
			}
			if i%100 == 0 {
				b.Drop("ann")
				b.Stats()
			}
		}
	})
	all.Wait()

	eventually(t, "all have gone", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.peers) == 0
	})
	for i := range 4 { // whoever kept a session ends it
		k := dialTCP(t, b.Addr().String())(v311)
		k.enter(hello{id: fmt.Sprint("c", i)})
		k.say("\xe0\x00")
		k.ends(success)
	}
	var s Stats
	defer func() { t.Logf("at last %+v, %d bytes queued", s, b.queued.Load()) }()
	eventually(t, "nothing is left", func() bool {
		s = b.Stats()
		return s.Clients == 0 && s.Sessions == 0 && s.Subscriptions == 0 && b.queued.Load() == 0
	})
	if b.exchange.filters.root.children["home"] != nil {
		t.Error("filters stay")
	}
	k := dialTCP(t, b.Addr().String())(v5)
	k.enter(hello{id: "k"})
	k.subscribe("after/#", 1, "")
	k.publish(0, false, 0, "after/all", "", "x")
	k.gets("after/all x q0")
}

// rampage is one connection's life.
func rampage(t *testing.T, b *Broker, r *rand.Rand) {
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	if r.IntN(3) > 0 { // else nobody reads
		go io.Copy(io.Discard, conn)
	}
	version := []byte{v311, v5}[r.IntN(2)]
	h := hello{id: fmt.Sprint("c", r.IntN(4)), resume: r.IntN(2) == 0, will: "home/will", willRetain: r.IntN(2) == 0}
	props := ""
	if version == v5 {
		h.props, h.willProps, props = "\x11"+num32(uint32(r.IntN(2)*600))+"\x21"+num16(uint16(1+r.IntN(5))), "\x18"+num32(uint32(r.IntN(2))), "\x00"
	}
	if r.IntN(4) == 0 { // a guest, who leaves nothing
		h = hello{user: "ann", password: "secret"}
	}
	filters := []string{"home/#", "#", "home/+", "home/7", "$share/g/home/+", "home/will"}
	say := h.packet(version)
	for range r.IntN(40) {
		f := filters[r.IntN(len(filters))]
		switch r.IntN(6) {
		case 0:
			say += packet(0x82, []byte(num16(1)+props+str(f)+string([]byte{byte(r.IntN(3))})))
		case 1:
			say += packet(0xa2, []byte(num16(1)+props+str(f)))
		case 2:
			say += packet([]byte{0x40, 0x50, 0x62, 0x70}[r.IntN(4)], []byte(num16(uint16(1+r.IntN(20)))))
		default:
			qos := byte(r.IntN(3))
			body := str(fmt.Sprint("home/", r.IntN(50)))
			if qos > 0 {
				body += num16(uint16(1 + r.IntN(20)))
			}
			say += packet(0x30|qos<<1|byte(r.IntN(2)), []byte(body+props+"payload"))
		}
		if r.IntN(5) == 0 {
			if _, err := io.WriteString(conn, say); err != nil {
				return
			}
			say = ""
		}
	}
	if r.IntN(2) == 0 {
		say += "\xe0\x00"
	}
	_, _ = io.WriteString(conn, say) // the broker may have hung up
}

// Whatever a program of this machine says after it was let in, the broker does not
// stumble, and ends when it is told to.
func FuzzConversation(f *testing.F) {
	hello5 := hello{id: "c", will: "home/will", resume: true, props: "\x11" + num32(60)}.packet(v5)
	f.Add([]byte(greeting + packet(0x82, []byte(num16(1)+str("home/#")+"\x02")) + publishPacket("home/a", []byte("x")) + "\xc0\x00\xe0\x00"))
	f.Add([]byte(hello5 + packet(0x82, []byte(num16(1)+"\x02\x0b\x01"+str("$share/g/+")+"\x01"+str("#")+"\x2e")) + packet(0x33, []byte(str("a")+num16(1)+"\x00x"))))
	f.Add([]byte(hello5 + packet(0x34, []byte(str("a")+num16(1)+"\x00x")) + "\x62\x02\x00\x01\x50\x02\x00\x01\x70\x02\x00\x01" + packet(0xe0, []byte("\x04\x05\x11"+num32(0)))))
	f.Fuzz(func(t *testing.T, said []byte) {
		log := &proctest.Transcript{}
		b, err := New(Options{Log: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // again, to the session that the first may have left
			ours, theirs := pipe()
			p := newPeer(ours)
			if !b.enter(p) {
				t.Fatal("no room")
			}
			go b.serve(p)
			go func() {
				_, _ = theirs.Write(said) // the broker may hang up before the end
				theirs.(*end).w.finish()
			}()
			io.Copy(io.Discard, theirs)
			theirs.Close()
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "stumble") {
			t.Fatal(log.String())
		}
		if n := b.queued.Load(); n != 0 {
			t.Fatalf("%d bytes are still queued", n)
		}
	})
}
