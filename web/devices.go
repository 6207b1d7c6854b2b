package web

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// device is a device as the API shows it. Times are ms since 1970.
type device struct {
	ID           string              `json:"id"`
	Name         string              `json:"name"`
	Area         string              `json:"area,omitempty"`
	State        store.PresenceState `json:"state"`
	Since        int64               `json:"since,omitempty"`
	Cause        string              `json:"cause,omitempty"`
	NextWake     int64               `json:"next_wake,omitempty"`
	Manufacturer string              `json:"manufacturer,omitempty"`
	Model        string              `json:"model,omitempty"`
	Firmware     string              `json:"firmware,omitempty"`
	Created      int64               `json:"created"`
	Revoked      bool                `json:"revoked,omitempty"`
	Restarts     uint64              `json:"restarts,omitempty"`
	Gaps         uint64              `json:"gaps,omitempty"` // how often it had to drop data
	Rotating     bool                `json:"rotating,omitempty"`
	Waiting      int                 `json:"waiting,omitempty"` // commands
	Points       []point             `json:"points,omitempty"`
	Warnings     []string            `json:"warnings,omitempty"` // what of its description is not shown elsewhere as described
}

// point is one thing of a device with its newest value.
type point struct {
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Unit     string          `json:"unit,omitempty"`
	Settable bool            `json:"settable,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
	Time     int64           `json:"time,omitempty"`
}

func (a *API) card(d registry.Device) device {
	c := device{
		ID: d.ID, Name: d.Name, Area: d.Area, State: store.Unknown,
		Manufacturer: d.Description.Manufacturer, Model: d.Description.Model, Firmware: d.Firmware,
		Created: d.Created, Revoked: d.Revoked, Rotating: d.Rotating, Restarts: d.Restarts, Gaps: d.Gaps,
	}
	if p, ok := a.Store.PresenceOf(d.ID); ok {
		c.State, c.Since, c.Cause, c.NextWake = p.State, p.Since, p.Cause, p.NextWake
	}
	if a.Offline && c.State == store.Online {
		c.State, c.Cause = store.Unknown, "the gateway is not running"
	}
	if d.Revoked {
		c.State = store.Disabled
	}
	if a.Commands != nil {
		c.Waiting = a.Commands.CountWaiting(d.ID)
	}
	return c
}

func (a *API) points(d registry.Device) []point {
	newest := map[string]store.Newest{}
	for _, n := range d.Fitting(a.Store.Newest(d.ID)) {
		newest[n.Name] = n
	}
	var ps []point
	for _, p := range d.Description.Points() {
		q := point{Name: p.Name, Kind: p.Component.Kind, Unit: p.Component.Unit, Settable: p.Settable}
		if n, ok := newest[p.Name]; ok {
			q.Value, q.Time = n.Value.AppendJSON(nil), n.Time/1e6
		}
		ps = append(ps, q)
	}
	return ps
}

func (a *API) listDevices(w http.ResponseWriter, _ *http.Request) error {
	list := []device{}
	for _, d := range a.Registry.List() {
		list = append(list, a.card(d))
	}
	return writeJSON(w, http.StatusOK, list)
}

func (a *API) device(r *http.Request) (registry.Device, error) {
	return a.named(r.PathValue("device"))
}

func (a *API) named(id string) (registry.Device, error) {
	d, ok := a.Registry.Get(id)
	if !ok {
		return d, problem(http.StatusNotFound, "device %q is not known", id)
	}
	return d, nil
}

func (a *API) showDevice(w http.ResponseWriter, r *http.Request) error {
	d, err := a.device(r)
	if err != nil {
		return err
	}
	c := a.card(d)
	c.Points = a.points(d)
	for _, w := range hass.Warnings(d) {
		c.Warnings = append(c.Warnings, w.String())
	}
	return writeJSON(w, http.StatusOK, c)
}

// note is one thing that happened to a device. Time is ms since 1970.
type note struct {
	Time  int64  `json:"time"`
	About string `json:"about"`
	Text  string `json:"text"`
	Times int    `json:"times"`
}

// deviceLog is what happened to a device since the gateway's start, the oldest
// first.
func (a *API) deviceLog(w http.ResponseWriter, r *http.Request) error {
	d, err := a.device(r)
	if err != nil {
		return err
	}
	if a.Offline {
		return problem(http.StatusServiceUnavailable, "the gateway is not running, and what happened to its devices is in its memory alone")
	}
	notes := []note{}
	for _, n := range a.Registry.Notes(d.ID) {
		notes = append(notes, note{n.Time.UnixMilli(), n.About, n.Text, n.Times})
	}
	return writeJSON(w, http.StatusOK, notes)
}

// given is an id with the token that is shown this once.
type given struct {
	ID    string `json:"id"`
	Token string `json:"token"`
}

// addDevices makes one device ({"id","name"}) or a fleet ({"prefix","count"}).
// The answer is a list either way.
func (a *API) addDevices(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		ID, Name, Prefix string
		Count            int
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	var out []given
	switch {
	case in.Prefix == "" && in.Count == 0:
		if !protocol.ValidDeviceID(in.ID) {
			return problem(http.StatusBadRequest, "%q is %v", in.ID, registry.ErrBadID)
		}
		token, err := a.Registry.Add(in.ID, in.Name)
		if errors.Is(err, registry.ErrExists) {
			return problem(http.StatusConflict, "%v (hearthgate device rotate %s gives it a new token)", err, in.ID)
		}
		if err != nil {
			return err
		}
		out = []given{{in.ID, token}}
	case in.ID != "" || in.Name != "":
		return problem(http.StatusBadRequest, "either id and name, or prefix and count")
	case in.Count < 1 || in.Count > 10_000:
		return problem(http.StatusBadRequest, "count must be 1 to 10000, not %d", in.Count)
	default:
		ids, tokens, err := a.Registry.AddMany(in.Prefix, in.Count)
		if err != nil {
			return err
		}
		for i := range ids {
			out = append(out, given{ids[i], tokens[i]})
		}
	}
	a.Log.Info("devices added", "count", len(out), "first", out[0].ID)
	return writeJSON(w, http.StatusCreated, out)
}

func (a *API) changeDevice(w http.ResponseWriter, r *http.Request) error {
	d, err := a.device(r)
	if err != nil {
		return err
	}
	var in struct{ Name, Area *string }
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if in.Name == nil && in.Area == nil {
		return problem(http.StatusBadRequest, "nothing to change: give name or area")
	}
	if in.Name != nil {
		if err := a.Registry.Rename(d.ID, *in.Name); err != nil {
			return err
		}
	}
	if in.Area != nil {
		if err := a.Registry.SetArea(d.ID, *in.Area); err != nil {
			return err
		}
	}
	return a.showDevice(w, r)
}

func (a *API) rotateDevice(w http.ResponseWriter, r *http.Request) error {
	d, err := a.device(r)
	if err != nil {
		return err
	}
	token, err := a.Registry.Rotate(d.ID)
	if err != nil {
		return err
	}
	sent := a.Granter != nil && a.Granter.Grant(d.ID, token)
	return writeJSON(w, http.StatusOK, map[string]any{"id": d.ID, "token": token, "sent": sent})
}

func (a *API) revokeDevice(w http.ResponseWriter, r *http.Request) error {
	d, err := a.device(r)
	if err != nil {
		return err
	}
	if err := a.Registry.Revoke(d.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"id": d.ID, "revoked": true})
}

func (a *API) removeDevice(w http.ResponseWriter, r *http.Request) error {
	d, err := a.device(r)
	if err != nil {
		return err
	}
	if err := a.Registry.Remove(d.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"id": d.ID, "removed": true})
}
