package web

import (
	"net/http"

	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

func (a *API) listTokens(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, append([]registry.Token{}, a.Registry.Tokens()...))
}

func (a *API) addToken(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name string
		Role registry.Role
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if in.Role == "" {
		in.Role = registry.Read
	}
	if rank(in.Role) < 0 {
		return problem(http.StatusBadRequest, "role must be read, control or admin, not %q", in.Role)
	}
	token, err := a.Registry.AddToken(in.Name, in.Role)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, map[string]any{"name": in.Name, "role": in.Role, "token": token})
}

func (a *API) removeToken(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := a.Registry.RemoveToken(name); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"name": name, "removed": true})
}

func (a *API) listMQTTUsers(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, append([]string{}, a.Registry.MQTTUsers()...))
}

func (a *API) setMQTTUser(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Password string }
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if len(in.Password) < 8 {
		return problem(http.StatusBadRequest, "password: at least 8 characters")
	}
	name := r.PathValue("name")
	if err := a.Registry.SetMQTTUser(name, in.Password); err != nil {
		return err
	}
	a.AccountChanged(name)
	return writeJSON(w, http.StatusOK, map[string]any{"name": name})
}

func (a *API) removeMQTTUser(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := a.Registry.RemoveMQTTUser(name); err != nil {
		return err
	}
	a.AccountChanged(name)
	return writeJSON(w, http.StatusOK, map[string]any{"name": name, "removed": true})
}

// collect: ?dry_run=true only names what would be emptied.
func (a *API) collect(w http.ResponseWriter, r *http.Request) error {
	if a.Collect == nil {
		return problem(http.StatusServiceUnavailable, "the gateway has no MQTT bridge running, and only that knows which topics are in use")
	}
	topics, err := a.Collect(r.Context(), r.URL.Query().Get("dry_run") == "true")
	if err != nil {
		return problem(http.StatusBadGateway, "%v (%d topics were emptied)", err, len(topics))
	}
	return writeJSON(w, http.StatusOK, map[string]any{"topics": append([]string{}, topics...)})
}

func (a *API) listCursors(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, append([]store.Cursor{}, a.Store.Cursors()...))
}

func (a *API) removeCursor(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := a.Store.RemoveCursor(name); err != nil {
		return problem(http.StatusConflict, "%v", err)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"name": name, "removed": true})
}
