package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// link answers each command at once.
type link struct {
	h      *home
	device string
	code   protocol.ResultCode
}

func (link) Flush() {}

func (l link) Send(c *protocol.Command) bool {
	go l.h.commands.Answered(l.device, &protocol.Result{ID: c.ID, Code: l.code, Records: c.Records})
	return true
}

// lamp adds a device with a light, in an area.
func (h *home) lamp(id, area string) {
	h.t.Helper()
	h.want(http.StatusCreated, "POST", "/api/v1/devices", `{"id":"`+id+`"}`)
	d := protocol.Describe{Area: area, Components: []protocol.Component{
		{ID: "light", Kind: "light", Attributes: map[string]protocol.Attribute{"on": {}, "brightness": {}}},
	}}
	f, err := protocol.Decode(protocol.Append(nil, &d), protocol.Limits{})
	check(h.t, err)
	check(h.t, h.registry.Describe(id, f.(*protocol.Describe)))
}

// online connects a device that answers with code.
func (h *home) online(id string, code protocol.ResultCode) {
	h.commands.Presence(id, store.Online, false, 0)
	h.commands.Connected(id, protocol.Boot{1}, link{h, id, code})
}

func TestAGroupOverHTTP(t *testing.T) {
	h := newHome(t)
	h.lamp("hall", "Hall")
	h.lamp("desk", "Study")
	h.online("hall", protocol.ResultOK)
	h.commands.Presence("desk", store.Sleeping, false, 600)

	got := h.want(http.StatusOK, "PUT", "/api/v1/groups/all", `{"name":"All lights","kind":"light"}`)
	if want := `"now":["desk/light","hall/light"]`; !strings.Contains(got, want) {
		t.Errorf("made: %s, want %s", got, want)
	}
	if got := h.want(http.StatusOK, "GET", "/api/v1/groups", ""); !strings.Contains(got, `"name":"All lights"`) {
		t.Errorf("listed: %s", got)
	}
	got = h.want(http.StatusAccepted, "POST", "/api/v1/groups/all/command", `{"id":"x","set":{"on":true}}`)
	for _, want := range []string{
		`{"id":"x","device":"hall","set":{"light/on":true},"outcome":"ok"`,
		`{"id":"x","device":"desk","set":{"light/on":true},"status":"waiting"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("answer %s lacks %s", got, want)
		}
	}
	h.want(http.StatusOK, "DELETE", "/api/v1/devices/desk/commands/x", "")
	h.want(http.StatusOK, "DELETE", "/api/v1/groups/all", "")
	h.want(http.StatusNotFound, "DELETE", "/api/v1/groups/all", "")
	if got := h.want(http.StatusOK, "POST", "/api/v1/groups/all/command", `{"set":true}`); !strings.Contains(got, `"outcome":"unsupported"`) {
		t.Errorf("no such group: %s", got)
	}
}

func TestASceneOverHTTP(t *testing.T) {
	h := newHome(t)
	h.lamp("hall", "")
	h.online("hall", protocol.ResultDenied)
	h.want(http.StatusOK, "PUT", "/api/v1/scenes/film?values=text", `{"set":{"hall/light/on":"ON","hall/light/brightness":"12.5"}}`)
	if got := h.want(http.StatusOK, "GET", "/api/v1/scenes", ""); !strings.Contains(got, `"set":{"hall/light/brightness":12.5,"hall/light/on":true}`) {
		t.Errorf("listed: %s", got)
	}
	if got := h.want(http.StatusOK, "POST", "/api/v1/scenes/film/command", ""); !strings.Contains(got, `"outcome":"denied"`) {
		t.Errorf("started: %s", got)
	}
	h.want(http.StatusOK, "DELETE", "/api/v1/scenes/film", "")
}

func TestWhatIsWrongWithAGroupOrSceneIsSaid(t *testing.T) {
	h := newHome(t)
	h.lamp("hall", "")
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "/api/v1/groups/Bad_Id", `{"kind":"light"}`, 400, "not an id: want up to 63 small letters"},
		{"PUT", "/api/v1/scenes/Bad_Id", `{"set":{"hall/light/on":true}}`, 400, `scene \"Bad_Id\": not an id`},
		{"PUT", "/api/v1/groups/g", `{"kind":"lihgt"}`, 400, `\"lihgt\"; want one of button, climate, cover`},
		{"PUT", "/api/v1/groups/g", `{"members":["hall"]}`, 400, "want device/component"},
		{"PUT", "/api/v1/groups/g", `{"members":["attic/light"]}`, 404, "attic"},
		{"PUT", "/api/v1/groups/g", `{"membres":["hall/light"]}`, 400, "unknown field"},
		{"POST", "/api/v1/groups/g/command", `{"set":[1]}`, 400, "set: want"},
		{"PUT", "/api/v1/scenes/s", `{"set":{"hall/light/on":"ON"}}`, 400, "must be a bool"},
		{"PUT", "/api/v1/scenes/s", `{"set":{"hall/light/on":null}}`, 400, "want a number"},
		{"PUT", "/api/v1/scenes/s", `{"set":{}}`, 400, "name some"},
		{"POST", "/api/v1/scenes/s/command", `{"ttl":5}`, 400, "ttl"},
	} {
		if got := h.want(c.status, c.method, c.path, c.body); !strings.Contains(got, c.says) {
			t.Errorf("%s %s: %s, want %q", c.path, c.body, got, c.says)
		}
	}
}

// A member that waited and then has its outcome counts once: the answer does not
// come while another one has neither.
func TestAMemberThatWaitedDoesNotStandForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		r := httptest.NewRequest("POST", "/", nil)
		hall, desk := command.Request{Device: "hall", Via: "group/all"}, command.Request{Device: "desk", Via: "group/all"}
		done := func(q command.Request) {
			c.Done(command.Result{Device: q.Device, Via: q.Via, Outcome: command.OK}, func() {})
		}
		go func() {
			c.Waiting(hall, time.Now().Add(time.Hour))
			time.Sleep(time.Second)
			done(hall) // it came
			time.Sleep(time.Second)
			c.Waiting(desk, time.Now().Add(time.Hour))
			time.Sleep(time.Second)
			done(desk)
		}()
		began := time.Now()
		results, waiting := c.collect(r, 2, time.Minute, false)
		if took := time.Since(began); len(results) != 1 || len(waiting) != 1 || took != 2*time.Second {
			t.Errorf("after %v: results %s, waiting %s", took, results, waiting)
		}
		if len(waiting) == 1 && !strings.Contains(string(waiting[0]), "desk") {
			t.Errorf("%s has its outcome", waiting)
		}
		time.Sleep(time.Minute) // the rest of the story
	})
}
