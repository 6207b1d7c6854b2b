package mqtt

import (
	"slices"
	"testing"
)

// Outcomes wait for a broker that is away, bounded in number and in bytes; what
// does not fit is counted.
func TestResultsAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ size, fit int }{
		"many small": {10, maxResults},
		"few large":  {1 << 20, maxResultBytes >> 20},
	} {
		t.Run(name, func(t *testing.T) {
			r := newResults(topics{})
			for range c.fit + 3 {
				r.push(message{topic: "x", payload: make([]byte, c.size)}, nil)
			}
			if n := len(r.take()); n != c.fit || r.dropped != 3 {
				t.Errorf("%d kept, %d dropped", n, r.dropped)
			}
			r.push(message{topic: "x"}, nil)
			if n := len(r.take()); n != 1 {
				t.Errorf("after taking all there is room for %d", n)
			}
		})
	}
}

// An outcome goes out at once only when none is before it: neither one that waits
// nor one that a link has in hand.
func TestResultsDoNotOvertake(t *testing.T) {
	r := newResults(topics{})
	var out []string
	free := true
	r.serve(func(m message) bool {
		if free {
			out = append(out, m.topic)
		}
		return free
	})
	push := func(topic string) { r.push(message{topic: topic}, func() { out = append(out, topic+" is confirmed") }) }
	push("1")
	free = false
	push("2")
	free = true
	push("3")
	taken := r.take()
	push("4") // 2 and 3 are under way
	if len(taken) != 2 || len(r.take()) != 1 || len(r.take()) != 0 {
		t.Errorf("taken first: %d", len(taken))
	}
	push("5")
	r.serve(nil)
	push("6")
	want := []string{"1", "1 is confirmed", "5", "5 is confirmed"}
	if !slices.Equal(out, want) || len(r.take()) != 1 {
		t.Errorf("went out at once: %q", out)
	}
}
