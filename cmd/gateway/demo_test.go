package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/sim"
)

// The transcript in the README is what the demo prints.
func TestTheReadmeNamesTheDemosDevices(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	var ids []string
	for _, d := range sim.Home(sim.Options{Seed: 1, Start: time.Now()}) {
		ids = append(ids, d.ID)
	}
	if list := "devices:\n  " + wrap(ids, 72) + "\n"; !strings.Contains(string(readme), list) {
		t.Errorf("the README does not have\n%s", list)
	}
}
