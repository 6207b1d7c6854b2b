package main

import (
	"net"
	"strings"
	"testing"
)

// Doctor tells of a broker that is not the gateway's own: before the start that
// nobody answers there, afterwards what the gateway knows.
func TestDoctorLooksAtTheBroker(t *testing.T) {
	addr := freeAddr(t)
	s := newServed(t, "--mqtt.broker", "mqtt://"+addr)
	doctor := func() string {
		out, _ := s.hearthgate("doctor", "--mqtt.broker", "mqtt://"+addr, "--listen.http", s.http, "--listen.https", s.https)
		return out
	}
	if out := doctor(); !strings.Contains(out, "BAD  mqtt.broker") || !strings.Contains(out, "start the broker") {
		t.Error(out)
	}
	s.start()
	until(t, "the bridge has tried", func() bool { return strings.Contains(doctor(), "connection refused: look at mqtt.broker") })
	s.kill(9)

	l, err := net.Listen("tcp", addr)
	must(t, err)
	defer func() { _ = l.Close() }()
	if out := doctor(); !strings.Contains(out, "ok   mqtt.broker  mqtt://"+addr+" answers") {
		t.Error(out)
	}
}
