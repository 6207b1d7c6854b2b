package web

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// group is a group as the API shows and takes it. A member is written
// device/component or device/component/attribute.
type group struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	Members []string `json:"members,omitempty"` // that are named
	Area    string   `json:"area,omitempty"`
	Kind    string   `json:"kind,omitempty"`
	Now     []string `json:"now,omitempty"` // all members at this moment; not taken
}

// member splits device/name.
func member(s string) (registry.Member, error) {
	device, name, ok := strings.Cut(s, "/")
	if !ok || name == "" {
		return registry.Member{}, problem(http.StatusBadRequest, "%q: want device/component, such as hall-lamp/light", s)
	}
	return registry.Member{Device: device, Name: name}, nil
}

func texts(members []registry.Member) []string {
	var all []string
	for _, m := range members {
		all = append(all, m.Device+"/"+m.Name)
	}
	return all
}

func (a *API) listGroups(w http.ResponseWriter, _ *http.Request) error {
	out := []group{}
	for _, g := range a.Registry.Groups() {
		now, _ := a.Registry.Members(g.ID)
		out = append(out, group{g.ID, g.Name, texts(g.Members), g.Area, g.Kind, texts(now)})
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) putGroup(w http.ResponseWriter, r *http.Request) error {
	var in group
	if err := readJSON(r, &in); err != nil {
		return err
	}
	g := registry.Group{ID: r.PathValue("group"), Name: in.Name, Area: in.Area, Kind: in.Kind}
	for _, s := range in.Members {
		m, err := member(s)
		if err != nil {
			return err
		}
		g.Members = append(g.Members, m)
	}
	if err := a.Registry.PutGroup(g); err != nil {
		return err
	}
	now, _ := a.Registry.Members(g.ID)
	return writeJSON(w, http.StatusOK, group{g.ID, g.Name, texts(g.Members), g.Area, g.Kind, texts(now)})
}

func (a *API) removeGroup(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("group")
	if err := a.Registry.RemoveGroup(id); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"id": id, "removed": true})
}

// scene is a scene as the API shows and takes it: {"set":{"hall-lamp/light/on":true}}.
type scene struct {
	ID   string                     `json:"id"`
	Name string                     `json:"name,omitempty"`
	Set  map[string]json.RawMessage `json:"set"`
}

func (a *API) listScenes(w http.ResponseWriter, _ *http.Request) error {
	out := []scene{}
	for _, s := range a.Registry.Scenes() {
		shown := scene{ID: s.ID, Name: s.Name, Set: map[string]json.RawMessage{}}
		for _, v := range s.Set {
			shown.Set[v.Device+"/"+v.Name] = rawValue(v.Value)
		}
		out = append(out, shown)
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) putScene(w http.ResponseWriter, r *http.Request) error {
	var in scene
	if err := readJSON(r, &in); err != nil {
		return err
	}
	s := registry.Scene{ID: r.PathValue("scene"), Name: in.Name}
	for _, at := range slices.Sorted(maps.Keys(in.Set)) {
		m, err := member(at)
		if err != nil {
			return err
		}
		v, err := a.sceneValue(m, in.Set[at], r.URL.Query().Get("values") == "text")
		if err != nil {
			return problem(http.StatusBadRequest, "%s: %v", at, err)
		}
		s.Set = append(s.Set, registry.SceneValue{Device: m.Device, Name: m.Name, Value: v})
	}
	if err := a.Registry.PutScene(s); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"id": s.ID, "values": len(s.Set)})
}

// sceneValue is a value of JSON; a text may be what the description makes of it.
func (a *API) sceneValue(m registry.Member, raw json.RawMessage, text bool) (protocol.Value, error) {
	v, err := command.ParseValue(raw)
	if err != nil || !text || !v.IsText() {
		return v, err
	}
	if d := a.Registry.Description(m.Device); d != nil && d.Point(m.Name) != nil {
		return d.Point(m.Name).Parse(v.AsText())
	}
	return v, nil // the registry says what is wrong
}

func (a *API) removeScene(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("scene")
	if err := a.Registry.RemoveScene(id); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"id": id, "removed": true})
}

// commandGroup takes the JSON of <b>/group/<g>/command.
func (a *API) commandGroup(w http.ResponseWriter, r *http.Request) error {
	return a.commandMany(w, r, func(body []byte, to command.Asker) (int, string, error) {
		req, err := command.ParseGroupJSON(body)
		if err != nil {
			return 0, "", err
		}
		if r.URL.Query().Get("values") == "text" {
			plain(req.Set)
			if req.Value.IsText() {
				req.Text, req.Value = req.Value.AsText(), protocol.Value{}
			}
		}
		req.Group = r.PathValue("group")
		req.ID = named(req.ID)
		return a.Commands.SubmitGroup(req, to), req.ID, nil
	})
}

// commandScene takes the JSON of <b>/scene/<s>/command, or nothing.
func (a *API) commandScene(w http.ResponseWriter, r *http.Request) error {
	return a.commandMany(w, r, func(body []byte, to command.Asker) (int, string, error) {
		var req command.SceneRequest
		if len(body) > 0 {
			var err error
			if req, err = command.ParseSceneJSON(body); err != nil {
				return 0, "", err
			}
		}
		req.Scene = r.PathValue("scene")
		req.ID = named(req.ID)
		return a.Commands.SubmitScene(req, to), req.ID, nil
	})
}

// named gives a command without an id one, so that it can be cancelled.
func named(id string) string {
	if id == "" {
		return rand.Text()[:16]
	}
	return id
}

// commandMany submits, and answers with the outcomes of all members; 202 if
// some have none yet.
func (a *API) commandMany(w http.ResponseWriter, r *http.Request, submit func(body []byte, to command.Asker) (int, string, error)) error {
	body, wait, given, err := a.asked(w, r)
	if err != nil {
		return err
	}
	to := newCrowd()
	outcomes, id, err := submit(body, to)
	if err != nil {
		return problem(http.StatusBadRequest, "%v", err)
	}
	results, waiting := to.collect(r, outcomes, wait, given)
	status := http.StatusOK
	if len(results) < outcomes {
		status = http.StatusAccepted
	}
	return writeJSON(w, status, map[string]any{"id": id, "results": results, "waiting": waiting})
}

// crowd is the asker of a request to many: what is said of its members, in order.
// It has room for all.
type crowd chan said

// said is that a member waits for its device, or its outcome.
type said struct {
	who  string
	over bool
	text json.RawMessage
}

func newCrowd() crowd { return make(crowd, 2*registry.MaxMembers) }

// memberOf names a member: a device may be there with several of its components.
func memberOf(device string, set []command.Setting) string {
	return string(command.AppendSet([]byte(device), set))
}

func (c crowd) Waiting(r command.Request, until time.Time) {
	c <- said{memberOf(r.Device, r.Set), false, command.AppendWaiting(nil, r, until)}
}

func (c crowd) Done(r command.Result, confirm func()) {
	c <- said{memberOf(r.Device, r.Set), true, r.AppendJSON(nil)}
	confirm()
}

// collect waits until every member has an outcome or, if no wait was given,
// waits for its device; at most so long.
func (c crowd) collect(r *http.Request, outcomes int, wait time.Duration, given bool) (results, waiting []json.RawMessage) {
	results, waiting = []json.RawMessage{}, []json.RawMessage{}
	var who []string // of those in waiting
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for len(results) < outcomes && (given || len(results)+len(waiting) < outcomes) {
		select {
		case s := <-c:
			if !s.over {
				who, waiting = append(who, s.who), append(waiting, s.text)
				continue
			}
			results = append(results, s.text)
			if i := slices.Index(who, s.who); i >= 0 {
				who, waiting = slices.Delete(who, i, i+1), slices.Delete(waiting, i, i+1)
			}
		case <-timer.C:
			return results, waiting
		case <-r.Context().Done():
			return results, waiting
		}
	}
	return results, waiting
}
