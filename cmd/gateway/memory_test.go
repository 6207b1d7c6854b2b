package main

import "testing"

// Memory is given back after the start and after each crowd that has settled,
// never while one comes and never for a few devices.
func TestMemoryIsGivenBackWhenACrowdHasSettled(t *testing.T) {
	a := arrivals{starting: true}
	var sessions uint64
	for _, step := range []struct {
		what  string
		begin uint64
		want  bool
	}{
		{"the start", 0, true},
		{"nobody came", 0, false},
		{"a crowd comes", 500, false},
		{"and is still coming", 500, false},
		{"and has settled", 0, true},
		{"nobody came since", 0, false},
		{"a few come", crowded - 1, false},
		{"and have settled", 0, false},
		{"one more", 1, false},
		{"they are a crowd by now", 0, true},
	} {
		sessions += step.begin
		if got := a.settled(sessions); got != step.want {
			t.Errorf("%s: given back: %v", step.what, got)
		}
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
