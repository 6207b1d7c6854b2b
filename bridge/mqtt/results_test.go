package mqtt

import (
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
