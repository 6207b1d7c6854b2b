package mqtt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
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

// barred is an embedded broker that takes nothing.
type barred struct{ Embedded }

func (barred) Publish(string, bool, []byte) error  { return errors.New("not today") }
func (barred) PublishNow(string, []byte) (ok bool) { return false }

// What is still to be sent when a link ends waits for the next: sending ends with
// the link, or there would never be another.
func TestSendingEndsWithItsLink(t *testing.T) {
	for name, c := range map[string]struct {
		direct Embedded
		over   bool // before the sender looks
	}{
		"the connection was lost just before": {nil, true},
		"a broker of ours takes nothing":      {barred{}, false},
		"and the connection was lost as well": {barred{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := &link{refusals: &refusals{}, direct: c.direct, window: make(chan struct{}, windowSize), flights: make(chan flight, windowSize)}
			l.ctx, l.end = context.WithCancelCause(t.Context())
			defer l.end(nil)
			if c.over {
				l.end(errLost)
			}
			r := newResults(topics{})
			r.push(message{topic: "first"}, nil)
			r.push(message{topic: "second"}, nil)
			ended := make(chan struct{})
			go func() { r.send(l); close(ended) }()
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatal("it goes on for ever")
			}
			if l.ctx.Err() == nil {
				t.Error("the link lives")
			}
			var topics []string
			for _, a := range r.take() {
				topics = append(topics, a.m.topic)
			}
			if want := []string{"first", "second"}; !slices.Equal(topics, want) {
				t.Errorf("%q wait for the next link, want %q", topics, want)
			}
		})
	}
}

// A broker that hangs up again and again leaves no more suspects behind than one
// would have messages for; the newest are among them.
func TestSuspectsAreBounded(t *testing.T) {
	r := &refusals{}
	m := func(n, i int) message { return message{topic: fmt.Sprint(n, "/", i)} }
	for n := range 1000 {
		var flight []message
		for i := range windowSize {
			flight = append(flight, m(n, i))
		}
		r.hungUp(flight)
		r.back(true)
		for i := range flight {
			if suspect, _ := r.verdict(&flight[i]); !suspect {
				t.Fatalf("message %d of flight %d is not suspect", i, n)
			}
		}
	}
	if n := len(r.times); n > 2000 {
		t.Errorf("%d suspects", n)
	}
}
