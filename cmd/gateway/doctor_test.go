package main

import (
	"net"
	"strings"
	"testing"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// Doctor tells of a broker that is not the gateway's own: before the start that
// nobody answers there, afterwards what the gateway knows.
// Doctor looks at the gateway that runs, wherever its settings have put it; without
// one at what a start would find.
func TestDoctorLooksAtWhatRuns(t *testing.T) {
	s := newServed(t, "--mqtt.user", "panel")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = taken.Close() }()
	settings := []string{"doctor", "--listen.https", taken.Addr().String(), "--listen.http", proctest.FreeAddress(t), "--mqtt.listen", ""}

	out, err := s.hearthgate(settings...)
	if err == nil || !strings.Contains(out, "gateway      is not running") || !strings.Contains(out, "BAD  listen.https "+taken.Addr().String()) ||
		!strings.Contains(out, "if that is a gateway, give doctor its --data") || !strings.Contains(out, "is free") {
		t.Error(out)
	}
	s.start()
	out, _ = s.hearthgate(settings...)
	if !strings.Contains(out, "gateway      is running") || !strings.Contains(out, s.https+" answers") ||
		!strings.Contains(out, s.http+" answers") || !strings.Contains(out, "ok   mqtt.listen  127.0.0.1:") || strings.Contains(out, taken.Addr().String()) {
		t.Error(out)
	}
	if out, _ := s.hearthgate("doctor", "--mqtt.user", "panel"); !strings.Contains(out, "BAD  mqtt.broker  is not set, so nothing looks at mqtt.user") {
		t.Error(out)
	}
	if said := s.Said.String(); !strings.Contains(said, "mqtt.broker is not set") || !strings.Contains(said, "settings=mqtt.user") {
		t.Error(said)
	}
}

func TestDoctorLooksAtTheBroker(t *testing.T) {
	addr := proctest.FreeAddress(t)
	s := newServed(t, "--mqtt.broker", "mqtt://"+addr)
	doctor := func() string {
		out, _ := s.hearthgate("doctor", "--mqtt.broker", "mqtt://"+addr, "--listen.http", s.http, "--listen.https", s.https)
		return out
	}
	if out := doctor(); !strings.Contains(out, "BAD  mqtt.broker") || !strings.Contains(out, "start the broker") {
		t.Error(out)
	}
	s.start()
	proctest.Until(t, "the bridge has tried", func() bool { return strings.Contains(doctor(), "connection refused: look at mqtt.broker") })
	s.Kill()

	l, err := net.Listen("tcp", addr)
	must(t, err)
	defer func() { _ = l.Close() }()
	if out := doctor(); !strings.Contains(out, "ok   mqtt.broker  mqtt://"+addr+" answers") {
		t.Error(out)
	}
}
