package main

import (
	"strings"
	"testing"
)

func TestADeviceIsShownWithItsTroubles(t *testing.T) {
	var out strings.Builder
	printDevice(&out, shownDevice{ID: "oven", Name: "Oven", State: "online", Restarts: 3, Gaps: 2, Warnings: []string{"heat: left out"}})
	for _, want := range []string{"restarts   3", "data gaps  2: it had to drop", "  warning: heat: left out"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// A command that is refused, and why, is in the device's log over the command line
// and over HTTP.
func TestTheLogOfADevice(t *testing.T) {
	s := newServed(t).start()
	s.mustRun("device", "add", "lamp")
	if out := s.mustRun("device", "show", "lamp", "--log"); !strings.Contains(out, "Nothing has happened") {
		t.Errorf("%s", out)
	}
	for range 2 {
		if out, err := s.hearthgate("send", "lamp", "on=1"); err == nil {
			t.Errorf("sent: %s", out)
		}
	}
	if out, _ := s.hearthgate("send", "lamp", "on=1", "--json"); !strings.Contains(out, `"ms":0`) {
		t.Errorf("an outcome without its time: %s", out)
	}
	out := s.mustRun("device", "show", "lamp", "--log")
	if !strings.Contains(out, "command") || !strings.Contains(out, "ended as unsupported") || !strings.Contains(out, "(3 times)") {
		t.Errorf("%s", out)
	}
	if out := s.mustRun("device", "show", "lamp", "--log", "--json"); !strings.Contains(out, `"about":"command"`) && !strings.Contains(out, `"about": "command"`) {
		t.Errorf("%s", out)
	}
	if out, err := s.hearthgate("device", "show", "nobody", "--log"); err == nil {
		t.Errorf("of nobody: %s", out)
	}
}
