package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/registry"
)

// Readers of history who are slow hold their turns, so their number is bounded
// and the next are told to come back; the administrator is let through.
func TestFewReadHistoryAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		reading := 0
		h := inTurn(make(chan struct{}, readers), func(http.ResponseWriter, *http.Request) error {
			reading++ // the test waits for each before it starts the next
			<-leave
			return nil
		})
		ask := func(role registry.Role) <-chan error {
			done := make(chan error, 1)
			go func() {
				done <- h(httptest.NewRecorder(), withRole(httptest.NewRequest("GET", "/", nil), role))
			}()
			synctest.Wait()
			return done
		}
		for range readers {
			ask(registry.Read)
		}
		begin := time.Now()
		if err := <-ask(registry.Read); asFailure(err).status != http.StatusServiceUnavailable || time.Since(begin) != readerWait {
			t.Errorf("one too many got %v after %v", err, time.Since(begin))
		}
		ask(registry.Admin)
		if reading != readers+1 {
			t.Errorf("%d read at the same time, want %d and the administrator", reading, readers)
		}
		close(leave)
		synctest.Wait()
		ask(registry.Read)
		if reading != readers+2 {
			t.Error("a turn was not given back")
		}
	})
}
