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
