package main

import "testing"

// Memory is given back when great work is over, never while it goes on and never
// for a little.
func TestMemoryIsGivenBackWhenAGreatWorkIsOver(t *testing.T) {
	const mib = 1 << 20
	i := idle{quiet: mib, worth: 8 * mib}
	for _, step := range []struct {
		what              string
		made, live, taken uint64 // MiB
		want              bool
	}{
		{"the start", 60, 20, 50, false},
		{"it is over", 60, 20, 50, true},
		{"it was given back", 60, 20, 21, false},
		{"a crowd comes", 160, 20, 90, false},
		{"and has settled", 161, 20, 90, true},
		{"heartbeats", 162, 40, 43, false},
		{"their garbage gathers", 163, 40, 47, false},
		{"and is worth a collection", 164, 40, 48, true},
	} {
		h := heap{made: step.made * mib, live: step.live * mib, taken: step.taken * mib}
		if got := i.surplus(h); got != step.want {
			t.Errorf("%s: given back: %v", step.what, got)
		}
	}
}

// The last collection of a start was in its midst and found all of it in use.
func TestMemoryOfTheStartIsGivenBackOnce(t *testing.T) {
	const mib = 1 << 20
	i := idle{quiet: mib, worth: 8 * mib}
	for n, want := range []bool{false, true, false} {
		if got := i.surplus(heap{made: 30 * mib, live: 6 * mib, taken: 7 * mib}); got != want {
			t.Errorf("look %d: given back: %v", n, got)
		}
	}
}

// The names of metrics are the runtime's: one that it does not know has no value.
func TestTheHeapIsKnown(t *testing.T) {
	if h := readHeap(); h.made == 0 || h.taken == 0 {
		t.Errorf("%+v", h)
	}
}

func TestASmallHeapIsCollectedLater(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 800}, {1 << 20, 800}, {8 << 20, 400}, {16 << 20, 200}, {headroom, 100}, {1 << 30, 100},
	} {
		if got := collectAt(c.live); got != c.want {
			t.Errorf("%d bytes in use: GOGC %d, want %d", c.live, got, c.want)
		}
	}
}
