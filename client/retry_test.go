package client

import (
	"errors"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

func TestTheWaitThatEachEndAsksFor(t *testing.T) {
	closed := func(code protocol.CloseCode, hold time.Duration) error { return &Closed{Code: code, Hold: hold} }
	for _, c := range []struct {
		name     string
		err      error
		from, to time.Duration
	}{
		{"no connection", errors.New("connection refused"), 0, time.Second},
		{"broken", closed(0, 0), 0, time.Second},
		{"planned", closed(protocol.CloseNormal, 0), 0, time.Second},
		{"silence", closed(protocol.CloseSilence, 0), 0, time.Second},
		{"revoked", closed(protocol.CloseRevoked, 0), 10 * time.Minute, 10 * time.Minute},
		{"replaced", closed(protocol.CloseReplaced, 0), time.Minute, time.Minute},
		{"identity clash", closed(protocol.CloseIdentityClash, 0), 10 * time.Minute, 10 * time.Minute},
		{"restart", closed(protocol.CloseRestart, 0), 0, 8 * time.Second},
		{"restart with a hold-off", closed(protocol.CloseRestart, 5*time.Second), 5 * time.Second, 5 * time.Second},
		{"overloaded", closed(protocol.CloseOverloaded, 0), 0, 8 * time.Second},
		{"bye, and a reset before the code", closed(0, 3*time.Second), 3 * time.Second, 3 * time.Second},
		{"token refused", &Refused{Status: 401}, 10 * time.Minute, 10 * time.Minute},
		{"revoked before the upgrade", &Refused{Status: 403, Text: "revoked"}, 10 * time.Minute, 10 * time.Minute},
		{"full", &Refused{Status: 503, RetryAfter: 5 * time.Second}, 5 * time.Second, 6 * time.Second},
		{"full, without a time", &Refused{Status: 503}, 0, time.Second},
	} {
		for range 100 {
			var r retry
			if got := r.after(c.err); got < c.from || got > c.to {
				t.Errorf("%s: %s, want %s to %s", c.name, got, c.from, c.to)
				break
			}
		}
	}
}

func TestTheCeilingDoublesToAMinuteAndFallsBack(t *testing.T) {
	var r retry
	most := func() (most time.Duration) {
		failures := r.failures
		for range 2000 {
			r.failures = failures
			most = max(most, r.after(&Closed{}))
		}
		return most
	}
	for i, ceiling := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		ceiling *= time.Second
		if got := most(); got > ceiling || got < ceiling*9/10 {
			t.Errorf("after %d failures at most %s, want nearly %s", i, got, ceiling)
		}
	}
	r.settled()
	if got := most(); got > time.Second {
		t.Errorf("after a session that was of use: %s", got)
	}
}
