package web

import (
	"net/http"
	"time"

	"github.com/hearthgate/hearthgate/registry"
)

// Reading history holds a page of the log for each reader, some megabytes, so
// few read at a time. The others wait a moment for their turn.
const (
	readers    = 8
	readerWait = 10 * time.Second
)

// inTurn lets few requests through at a time. The administrator need not wait.
func inTurn(turns chan struct{}, do handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Context().Value(roleKey{}) == registry.Admin {
			return do(w, r)
		}
		patience := time.NewTimer(readerWait)
		defer patience.Stop()
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
			return do(w, r)
		case <-r.Context().Done():
			return nil
		case <-patience.C:
			w.Header().Set("Retry-After", "10")
			return problem(http.StatusServiceUnavailable, "%d others are reading history; try again", readers)
		}
	}
}
