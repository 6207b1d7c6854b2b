package client

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Closed is how a connection ended.
type Closed struct {
	Code   protocol.CloseCode // 0 = the link just broke
	Reason string
	Hold   time.Duration // how long the gateway's bye asked to stay away, 0 = it did not
	Err    error         // what the transport said
}

func (c *Closed) Error() string {
	if c.Code == 0 {
		return fmt.Sprintf("link broke: %v", c.Err)
	}
	if c.Reason == "" {
		return "closed with " + strconv.Itoa(int(c.Code))
	}
	return fmt.Sprintf("closed with %d: %s", c.Code, c.Reason)
}

// Unwrap is what the transport said.
func (c *Closed) Unwrap() error { return c.Err }

// Refused is an upgrade that was answered with an HTTP status. A device never
// erases its token because of one.
type Refused struct {
	Status     int
	Text       string        // what the gateway said, such as "revoked"
	RetryAfter time.Duration // 0 = not said
}

func (r *Refused) Error() string {
	s := fmt.Sprintf("refused with %d %s", r.Status, http.StatusText(r.Status))
	if r.Text != "" {
		s += ": " + r.Text
	}
	switch r.Status {
	case http.StatusUnauthorized:
		s += " (is the token right? `hearthgate device rotate` makes a new one)"
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		if r.RetryAfter > 0 {
			s += fmt.Sprintf(" (again in %s)", r.RetryAfter)
		}
	}
	return s
}

func refusedBy(answer *http.Response) *Refused {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 256)) // as much as came with the header
	seconds, _ := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 16)
	return &Refused{
		Status:     answer.StatusCode,
		Text:       strings.TrimSpace(string(text)),
		RetryAfter: time.Duration(seconds) * time.Second,
	}
}

// Full jitter: a wait is random between 0 and a ceiling that doubles.
const (
	firstCeiling = time.Second
	lastCeiling  = time.Minute
)

// retry decides how long to wait before the next try (PROTOCOL.md, close
// codes). The zero value is ready; calls come from one goroutine.
type retry struct{ failures int }

// settled says that the last session was of use: the ceiling falls back.
func (r *retry) settled() { r.failures = 0 }

// after is the wait after a session that ended with err.
func (r *retry) after(err error) time.Duration {
	switch e := err.(type) {
	case *Refused:
		switch {
		case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
			return 10 * time.Minute
		case e.RetryAfter > 0:
			// Those who were refused together do not come back together.
			return e.RetryAfter + jitter(time.Second)
		}
	case *Closed:
		switch e.Code {
		case protocol.CloseRevoked, protocol.CloseIdentityClash:
			return 10 * time.Minute
		case protocol.CloseReplaced:
			return time.Minute // do not fight
		}
		// A reset may overtake the close code, so the bye counts by itself.
		if e.Hold > 0 {
			return e.Hold
		}
		if e.Code == protocol.CloseRestart || e.Code == protocol.CloseOverloaded {
			return jitter(8 * time.Second)
		}
	}
	ceiling := min(firstCeiling<<min(r.failures, 6), lastCeiling)
	r.failures++
	return jitter(ceiling)
}

func jitter(ceiling time.Duration) time.Duration { return rand.N(ceiling) }
