package registry_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/hearthgate/hearthgate/registry"
)

func TestADiaryKeepsTheLastThings(t *testing.T) {
	h := newHome(t)
	h.Note("lamp", AboutCommand, "of nobody")
	if n := h.Notes("lamp"); n != nil {
		t.Errorf("of a device that there is not: %v", n)
	}
	h.add("lamp")
	for i := range 100 {
		h.Note("lamp", AboutFrame, fmt.Sprintf("refused %d", i))
	}
	for range 3 {
		h.Note("lamp", AboutPresence, "lost")
	}
	for i := range 100 {
		h.Note("lamp", AboutLog, fmt.Sprintf("INFO line %d", i))
	}
	h.Note("lamp", AboutLog, "a\x1b[31m\nb\xff"+strings.Repeat("é", 1000))
	notes := h.Notes("lamp")
	var own []Note
	var others []string
	for _, n := range notes {
		if n.About == AboutLog {
			own = append(own, n)
		} else {
			others = append(others, fmt.Sprint(n.About, " ", n.Text, " ", n.Times))
		}
	}
	if len(own) != 32 || len(others) != 32 || others[0] != "frame refused 69 1" || others[31] != "presence lost 3" {
		t.Errorf("%d lines of its own, others %q", len(own), others)
	}
	last := own[31].Text
	if !strings.HasPrefix(last, "a [31m b?é") || !strings.HasSuffix(last, "é…") || len(last) > 250 {
		t.Errorf("%q", last)
	}
	if err := h.Remove("lamp"); err != nil {
		t.Fatal(err)
	}
	if n := h.Notes("lamp"); n != nil {
		t.Errorf("of a removed device: %v", n)
	}
}
