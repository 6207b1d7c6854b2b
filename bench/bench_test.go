package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pipeLink is a WebSocket link and the server's end of it.
func pipeLink(t *testing.T) (*link, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return newLink(ours, maxMessage, true), theirs
}

func TestLinkReadsServerFrames(t *testing.T) {
	l, server := pipeLink(t)
	long := strings.Repeat("x", 300)
	go server.Write([]byte("\x82\x02hi" + "\x82\x7e\x01\x2c" + long + "\x88\x05\x0f\xa7bye"))
	for _, want := range []string{"hi", long} {
		got, err := l.Next()
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	if _, err := l.Next(); err == nil || !strings.Contains(err.Error(), "4007 bye") {
		t.Fatalf("the close frame gave %v", err)
	}
}

func TestLinkAnswersPings(t *testing.T) {
	l, server := pipeLink(t)
	var beats atomic.Int64
	l.pings = &beats
	go l.Next()
	server.Write([]byte("\x89\x02ok"))
	pong := make([]byte, 8)
	if _, err := io.ReadFull(server, pong); err != nil || string(pong) != "\x8a\x82\x00\x00\x00\x00ok" {
		t.Fatalf("the pong was % x, %v", pong, err)
	}
	if beats.Load() != 1 {
		t.Fatalf("%d pings were counted", beats.Load())
	}
}

// MQTT packets and WebSocket frames need not begin or end together.
func TestPacketsAcrossFrames(t *testing.T) {
	l, server := pipeLink(t)
	c := newMQTTClient(l, mqttBuffer)
	go func() {
		server.Write([]byte("\x82\x05\x40\x02\x00\x01\x40"))
		server.Write([]byte("\x82\x03\x02\x00\x02"))
	}()
	for _, want := range []string{"\x00\x01", "\x00\x02"} {
		head, body, err := c.next()
		if err != nil || head>>4 != packetPuback || string(body) != want {
			t.Fatalf("got %x % x, %v; want a PUBACK of % x", head, body, err, want)
		}
	}
}

func TestPublishReadsBack(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	sender, taker := newMQTTClient(newLink(ours, maxMessage, false), mqttBuffer), newMQTTClient(newLink(theirs, maxMessage, false), mqttBuffer)
	payload := bytes.Repeat([]byte{7}, 200) // a remaining length of two bytes
	go func() {
		sender.publish("a/b", payload)
		sender.Flush()
	}()
	_, body, err := taker.next()
	if err != nil {
		t.Fatal(err)
	}
	topic, id, got := published(body)
	if string(topic) != "a/b" || !bytes.Equal(id, []byte{0, 1}) || !bytes.Equal(got, payload) {
		t.Fatalf("got %q, id % x, % x", topic, id, got)
	}
}

// An echo is a sender whose server acknowledges everything at once.
type echo struct{ queued, open, most, total int }

func (e *echo) offer(n int) { e.queued += n }
func (e *echo) Close()      {}
func (e *echo) Flush() error {
	e.open, e.total, e.queued = e.open+e.queued, e.total+e.queued, 0
	e.most = max(e.most, e.open)
	return nil
}

func (e *echo) settled() (int, error) {
	n := e.open
	e.open = 0
	return n, nil
}

func TestDriveKeepsItsFramesInFlight(t *testing.T) {
	var l load
	e := &echo{}
	l.senders.Add(1)
	go l.drive(e, 8)
	for l.acked.Load() < 1000 {
	}
	l.stopping.Store(true)
	l.senders.Wait()
	if e.most != 8 || e.open != 0 || int64(e.total) != l.sent.Load() || l.sent.Load() != l.acked.Load() {
		t.Fatalf("%+v, sent %d, acked %d", e, l.sent.Load(), l.acked.Load())
	}
}

type nothing struct{}

func (nothing) Close() {}

func TestConnectAllIsAllOrNothing(t *testing.T) {
	all, err := connectAll(500, func(int) (nothing, error) { return nothing{}, nil })
	if err != nil || len(all) != 500 {
		t.Fatalf("%d connections, %v", len(all), err)
	}
	full := errors.New("full")
	all, err = connectAll(500, func(i int) (nothing, error) {
		if i >= 300 {
			return nothing{}, full
		}
		return nothing{}, nil
	})
	if !errors.Is(err, full) || all != nil {
		t.Fatalf("%d connections, %v", len(all), err)
	}
}

func TestOutcomeIsTimed(t *testing.T) {
	c := &controller{took: make([]time.Duration, 3)}
	at := time.Unix(1000, 0)
	c.outcome([]byte(`{"id":"1-1000000000000","outcome":"ok","ms":1}`), at.Add(time.Millisecond))
	c.outcome([]byte(`{"id":"2-1000000000000","outcome":"busy"}`), at.Add(time.Millisecond))
	c.outcome([]byte(`{"id":"2-1000000000000","outcome":"busy"}`), at.Add(time.Second)) // a second time
	c.outcome([]byte(`{"id":null,"outcome":"ok"}`), at)                                 // somebody else's
	if c.took[1] != time.Millisecond || c.took[2] != time.Millisecond || c.answered.Load() != 2 || c.refused.Load() != 1 {
		t.Fatalf("%v, %d answered, %d refused", c.took, c.answered.Load(), c.refused.Load())
	}
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		name string
		line line
		want string
	}{
		{"more is better, both", line{Ours: 200, Peer: 100, Ship: atLeast(1), Goal: atLeast(2)}, "goal"},
		{"more is better, one", line{Ours: 150, Peer: 100, Ship: atLeast(1), Goal: atLeast(2)}, "ship"},
		{"more is better, none", line{Ours: 99, Peer: 100, Ship: atLeast(1), Goal: atLeast(2)}, "missed"},
		{"less is better", line{Ours: 11, Peer: 10, Ship: atMost(1.1), Goal: atMost(1)}, "ship"},
		{"no peer", line{Ours: 9, Ship: atMost(14), Goal: atMost(10)}, "goal"},
		{"nothing asked", line{Ours: 9, Peer: 3}, ""},
		{"lost messages", line{Ours: 200, Peer: 100, Ship: atLeast(1), Goal: atLeast(2), Failed: true}, "FAILED"},
	} {
		if got := test.line.verdict(); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
