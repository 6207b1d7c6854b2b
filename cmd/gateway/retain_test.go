package main

import (
	"strings"
	"testing"
)

// A user keeps what one component says for a week only, sees it, and changes her
// mind; a restart forgets nothing of it.
func TestKeepingAComponentForAnotherTime(t *testing.T) {
	s := newServed(t).start()
	s.mustRun("device", "add", "kitchen")
	if out := s.mustRun("retain", "set", "kitchen/desk", "--raw", "7d"); !strings.HasPrefix(out, "kitchen/desk is kept: raw 7d, 5m 365d, 1h 1825d, 1d forever.") {
		t.Error(out)
	}
	s.Stop()
	s.start()
	list := s.mustRun("retain", "list")
	for _, want := range []string{"everything 90d 365d 1825d forever", "kitchen/desk 7d 365d 1825d forever"} {
		if !strings.Contains(strings.Join(strings.Fields(list), " "), want) {
			t.Errorf("%s\nhas no %q", list, want)
		}
	}
	s.mustRun("retain", "remove", "kitchen/desk")
	if out := s.mustRun("retain", "list"); strings.Contains(out, "kitchen") {
		t.Error(out)
	}
}
