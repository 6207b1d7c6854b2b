package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// handler answers a request; an error becomes a JSON body with a status.
type handler func(w http.ResponseWriter, r *http.Request) error

// failure is an error with the status that tells it.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

func problem(status int, format string, args ...any) *failure {
	return &failure{status, fmt.Sprintf(format, args...)}
}

// handle asks for the role before anything else, and answers errors.
func (a *API) handle(need registry.Role, do handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		have, _ := r.Context().Value(roleKey{}).(registry.Role)
		if rank(have) < rank(need) {
			writeProblem(w, problem(http.StatusForbidden, "role: this needs a token with the role %s, this one has %s", need, have))
			return
		}
		if err := do(w, r); err != nil {
			writeProblem(w, asFailure(err))
		}
	}
}

// asFailure gives the errors of the packages below their status.
func asFailure(err error) *failure {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, registry.ErrUnknown):
		return problem(http.StatusNotFound, "%v", err)
	case errors.Is(err, registry.ErrExists), errors.Is(err, registry.ErrUsed):
		return problem(http.StatusConflict, "%v", err)
	case errors.Is(err, store.ErrInMemory):
		return problem(http.StatusServiceUnavailable, "%v", err)
	case errors.Is(err, registry.ErrBadID), errors.Is(err, registry.ErrBadName):
		return problem(http.StatusBadRequest, "%v", err)
	}
	return problem(http.StatusInternalServerError, "%v", err)
}

func writeProblem(w http.ResponseWriter, f *failure) {
	_ = writeJSON(w, f.status, map[string]string{"error": f.text})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // who went away needs no answer
	return nil
}

// readJSON reads a small body strictly: one value, no unknown keys.
func readJSON(r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return problem(http.StatusBadRequest, "body: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return problem(http.StatusBadRequest, "body: more than one JSON value")
	}
	return nil
}
