// Package web is the gateway over HTTP: the API under /api/v1, the live feed
// and health. The command line talks to the same handlers over the admin
// socket, where being able to open the socket is the right to everything.
package web

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// Granter gives a new token to a device that is connected. It reports whether
// there was a link to send it on.
type Granter interface {
	Grant(device, token string) bool
}

// Options of the API.
type Options struct {
	Store    *store.Store
	Registry *registry.Registry
	Commands *command.Service // nil: answers 503 to commands (the gateway is not running)
	Granter  Granter          // may be nil
	// Names are the host names that a request may be for besides IP literals
	// (a page elsewhere must not reach us through a name of its own).
	Names func() []string
	// Origins are pages that may call besides our own.
	Origins []string
	// Status is what GET /api/v1/status and /metrics show: numbers and words by
	// part and name. The composition fills it; nil = nothing to show.
	Status func() map[string]any
	// Collect empties (unless dry) the MQTT broker's topics that are left of an
	// earlier life of the gateway, and names them. nil = there is no bridge.
	Collect func(ctx context.Context, dry bool) ([]string, error)
	// Offline: no gateway runs, so nobody knows of a device whether it is online.
	Offline bool
	// AccountChanged is told of an MQTT account that is gone or has another
	// password, so that its connections end. May be nil.
	AccountChanged func(name string)
	Log            *slog.Logger
}

// API serves HTTP. Its two handlers differ only in who may ask.
type API struct {
	Options
	mux *http.ServeMux
}

// New makes the API.
func New(o Options) *API {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.AccountChanged == nil {
		o.AccountChanged = func(string) {}
	}
	a := &API{Options: o, mux: http.NewServeMux()}
	a.routes()
	return a
}

// Handler is for the network: every request needs a bearer token.
func (a *API) Handler() http.Handler {
	return a.sameSite(a.authenticated(a.mux))
}

// Admin is for the admin socket: whoever can open it is the administrator.
func (a *API) Admin() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mux.ServeHTTP(w, withRole(r, registry.Admin))
	})
}

// routes is the whole table: method, path, who may, what happens.
func (a *API) routes() {
	read, control, admin := registry.Read, registry.Control, registry.Admin
	turns := make(chan struct{}, readers)
	for _, r := range []struct {
		pattern string
		role    registry.Role
		do      handler
	}{
		{"GET /api/v1/status", read, a.status},
		{"GET /metrics", read, a.metrics},
		{"GET /api/v1/devices", read, a.listDevices},
		{"POST /api/v1/devices", admin, a.addDevices},
		{"GET /api/v1/devices/{device}", read, a.showDevice},
		{"PATCH /api/v1/devices/{device}", admin, a.changeDevice},
		{"DELETE /api/v1/devices/{device}", admin, a.removeDevice},
		{"POST /api/v1/devices/{device}/rotate", admin, a.rotateDevice},
		{"POST /api/v1/devices/{device}/revoke", admin, a.revokeDevice},
		{"POST /api/v1/devices/{device}/command", control, a.sendCommand},
		{"GET /api/v1/devices/{device}/commands", read, a.listCommands},
		{"DELETE /api/v1/devices/{device}/commands/{id}", control, a.cancelCommand},
		{"GET /api/v1/devices/{device}/log", read, a.deviceLog},
		{"GET /api/v1/devices/{device}/history", read, inTurn(turns, a.history)},
		{"GET /api/v1/devices/{device}/export", read, inTurn(turns, a.export)},
		{"GET /api/v1/export", read, inTurn(turns, a.export)},
		{"GET /api/v1/live", read, a.live},
		{"GET /api/v1/groups", read, a.listGroups},
		{"PUT /api/v1/groups/{group}", admin, a.putGroup},
		{"DELETE /api/v1/groups/{group}", admin, a.removeGroup},
		{"POST /api/v1/groups/{group}/command", control, a.commandGroup},
		{"GET /api/v1/scenes", read, a.listScenes},
		{"PUT /api/v1/scenes/{scene}", admin, a.putScene},
		{"DELETE /api/v1/scenes/{scene}", admin, a.removeScene},
		{"POST /api/v1/scenes/{scene}/command", control, a.commandScene},
		{"GET /api/v1/tokens", admin, a.listTokens},
		{"POST /api/v1/tokens", admin, a.addToken},
		{"DELETE /api/v1/tokens/{name}", admin, a.removeToken},
		{"GET /api/v1/mqtt/users", admin, a.listMQTTUsers},
		{"PUT /api/v1/mqtt/users/{name}", admin, a.setMQTTUser},
		{"DELETE /api/v1/mqtt/users/{name}", admin, a.removeMQTTUser},
		{"POST /api/v1/mqtt/gc", admin, a.collect},
		{"GET /api/v1/cursors", read, a.listCursors},
		{"DELETE /api/v1/cursors/{name}", admin, a.removeCursor},
		{"GET /api/v1/retain", read, a.listRetain},
		{"PUT /api/v1/retain/{name...}", admin, a.setRetain},
		{"DELETE /api/v1/retain/{name...}", admin, a.removeRetain},
	} {
		a.mux.HandleFunc(r.pattern, a.handle(r.role, r.do))
	}
	a.mux.HandleFunc("GET /health", a.health)
	a.mux.HandleFunc("GET /{$}", index)
	a.mux.HandleFunc("/", a.nothing)
}

// methods are those of the table.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// nothing answers what is not in the table: 405 where another method would do.
func (a *API) nothing(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range methods {
		other := &http.Request{Method: m, Host: r.Host, URL: r.URL}
		if _, pattern := a.mux.Handler(other); pattern != "/" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		writeProblem(w, problem(http.StatusNotFound, "there is nothing at %s", r.URL.Path))
		return
	}
	all := strings.Join(allowed, ", ")
	w.Header().Set("Allow", all)
	writeProblem(w, problem(http.StatusMethodNotAllowed, "%s is not for %s; it takes %s", r.Method, r.URL.Path, all))
}

// health is for watchdogs and needs no token: it tells nothing but its colour.
func (a *API) health(w http.ResponseWriter, _ *http.Request) {
	if h := a.Store.Health(); !h.Healthy {
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"healthy": false})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"healthy": true})
}

func (a *API) status(w http.ResponseWriter, _ *http.Request) error {
	s := map[string]any{}
	if a.Status != nil {
		s = a.Status()
	}
	return writeJSON(w, http.StatusOK, s)
}

func index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("Hearthgate. Devices connect to /device, programs to /api/v1 with a token (hearthgate token add).\n"))
}
