package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// home is an API on a real store, as the network and as the admin socket see it.
type home struct {
	t        *testing.T
	store    *store.Store
	registry *registry.Registry
	commands *command.Service
	network  *httptest.Server
	admin    http.Handler
}

func newHome(t *testing.T) *home {
	t.Helper()
	s, err := store.Open(store.Options{Dir: t.TempDir() + "/data"})
	check(t, err)
	r, err := registry.Open(s, protocol.Limits{})
	check(t, err)
	c, err := command.New(command.Options{Store: s, Registry: r})
	check(t, err)
	a := New(Options{
		Store: s, Registry: r, Commands: c,
		Names:   func() []string { return []string{"pi.local"} },
		Origins: []string{"https://panel.example"},
		Collect: func(_ context.Context, dry bool) ([]string, error) {
			if dry {
				return []string{"old/topic"}, nil
			}
			return nil, errors.New("the broker went away")
		},
		Status: func() map[string]any {
			return map[string]any{"part": map[string]any{"answer": 42, "well": true, "word": "x"}}
		},
	})
	h := &home{t: t, store: s, registry: r, commands: c, network: httptest.NewServer(a.Handler()), admin: a.Admin()}
	t.Cleanup(func() {
		h.network.Close()
		c.Close()
		check(t, s.Close())
	})
	return h
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask asks as the administrator.
func (h *home) ask(method, path, body string) (int, string) {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.admin.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// want asks and compares the status; it returns the body.
func (h *home) want(status int, method, path, body string) string {
	h.t.Helper()
	got, answer := h.ask(method, path, body)
	if got != status {
		h.t.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, status)
	}
	return answer
}

func (h *home) token(name string, role registry.Role) string {
	h.t.Helper()
	token, err := h.registry.AddToken(name, role)
	check(h.t, err)
	return token
}

func TestWhoMayAsk(t *testing.T) {
	h := newHome(t)
	read, control, admin := h.token("r", registry.Read), h.token("c", registry.Control), h.token("a", registry.Admin)
	h.want(http.StatusCreated, "POST", "/api/v1/devices", `{"id":"lamp"}`)
	for name, c := range map[string]struct {
		method, path, token string
		header              [2]string
		status              int
		says                string
	}{
		"no token":             {"GET", "/api/v1/devices", "", [2]string{}, 401, "bearer token"},
		"unknown token":        {"GET", "/api/v1/devices", "hga1.x.y", [2]string{}, 401, "not known"},
		"not even loopback":    {"GET", "/api/v1/status", "", [2]string{"Host", "127.0.0.1"}, 401, "bearer token"},
		"read reads":           {"GET", "/api/v1/devices", read, [2]string{}, 200, "lamp"},
		"read sends nothing":   {"POST", "/api/v1/devices/lamp/command", read, [2]string{}, 403, "role control"},
		"control adds none":    {"POST", "/api/v1/devices", control, [2]string{}, 403, "role admin"},
		"admin may":            {"GET", "/api/v1/tokens", admin, [2]string{}, 200, `"name":"r"`},
		"a foreign name":       {"GET", "/api/v1/devices", read, [2]string{"Host", "evil.example"}, 403, "host"},
		"our name":             {"GET", "/api/v1/devices", read, [2]string{"Host", "pi.local:8443"}, 200, "lamp"},
		"a foreign page":       {"GET", "/api/v1/devices", read, [2]string{"Origin", "https://evil.example"}, 403, "origin"},
		"a page we allow":      {"GET", "/api/v1/devices", read, [2]string{"Origin", "https://panel.example"}, 200, "lamp"},
		"a page of the void":   {"GET", "/api/v1/devices", read, [2]string{"Origin", "null"}, 403, "origin"},
		"a page of an address": {"GET", "/api/v1/devices", read, [2]string{"Origin", "http://203.0.113.9"}, 403, "origin"},
		"our own page":         {"GET", "/api/v1/devices", read, [2]string{"Origin", "http://127.0.0.1:9"}, 200, "lamp"},
		"our page by name":     {"GET", "/api/v1/devices", read, [2]string{"Origin", "https://pi.local"}, 200, "lamp"},
		"another method":       {"PUT", "/api/v1/devices/lamp", read, [2]string{}, 405, "it takes GET, PATCH, DELETE"},
		"health needs none":    {"GET", "/health", "", [2]string{}, 200, "true"},
		"nothing there":        {"GET", "/api/v2/x", read, [2]string{}, 404, "nothing"},
		"an unknown device":    {"GET", "/api/v1/devices/none", read, [2]string{}, 404, "not known"},
		"a status of its own":  {"GET", "/api/v1/status", read, [2]string{}, 200, "42"},
		"numbers for a graph":  {"GET", "/metrics", read, [2]string{}, 200, "hearthgate_part_answer 42\n# TYPE hearthgate_part_well gauge\nhearthgate_part_well 1\n"},
		"they need a token":    {"GET", "/metrics", "", [2]string{}, 401, "bearer token"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(c.method, h.network.URL+c.path, strings.NewReader("{}"))
			check(t, err)
			if c.token != "" {
				req.Header.Set("Authorization", "Bearer "+c.token)
			}
			if c.header[0] == "Host" {
				req.Host = c.header[1]
			} else if c.header[0] != "" {
				req.Header.Set(c.header[0], c.header[1])
			}
			resp, err := http.DefaultClient.Do(req)
			check(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			check(t, err)
			if resp.StatusCode != c.status || !strings.Contains(string(body), c.says) {
				t.Errorf("%d %s, want %d with %q", resp.StatusCode, body, c.status, c.says)
			}
		})
	}
}

// A page that the operator listed uses the API from a browser, which asks first
// whether it may send its token, and shows an answer only to a page that is named.
func TestAListedPageUsesTheAPI(t *testing.T) {
	h := newHome(t)
	ask := func(method, origin, token string) *http.Response {
		req, err := http.NewRequest(method, h.network.URL+"/api/v1/devices", nil)
		check(t, err)
		req.Header.Set("Origin", origin)
		if method == http.MethodOptions {
			req.Header.Set("Access-Control-Request-Method", "GET")
			req.Header.Set("Access-Control-Request-Headers", "authorization")
		} else {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		check(t, err)
		resp.Body.Close()
		return resp
	}
	page, token := "https://panel.example", h.token("panel", registry.Read)
	first := ask(http.MethodOptions, page, "")
	if first.StatusCode != http.StatusNoContent || !strings.Contains(first.Header.Get("Access-Control-Allow-Headers"), "Authorization") ||
		!strings.Contains(first.Header.Get("Access-Control-Allow-Methods"), "GET") {
		t.Errorf("asked first: %d %v", first.StatusCode, first.Header)
	}
	for _, resp := range []*http.Response{first, ask(http.MethodGet, page, token), ask(http.MethodGet, page, "")} {
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != page || resp.Header.Get("Vary") != "Origin" {
			t.Errorf("%d: for %q, %q", resp.StatusCode, got, resp.Header.Get("Vary"))
		}
	}
	if evil := ask(http.MethodOptions, "https://evil.example", ""); evil.StatusCode != http.StatusForbidden || evil.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a page from elsewhere: %d %v", evil.StatusCode, evil.Header)
	}
}

func TestLifeOfADevice(t *testing.T) {
	h := newHome(t)
	var added []given
	check(t, json.Unmarshal([]byte(h.want(201, "POST", "/api/v1/devices", `{"id":"kitchen","name":"Kitchen"}`)), &added))
	if id, err := h.registry.Authenticate(added[0].Token); err != nil || id != "kitchen" {
		t.Fatalf("the token of kitchen is for %q, %v", id, err)
	}
	h.want(409, "POST", "/api/v1/devices", `{"id":"kitchen"}`)
	h.want(400, "POST", "/api/v1/devices", `{"id":"Kitchen!"}`)
	h.want(400, "POST", "/api/v1/devices", `{"id":"a","prefix":"b","count":2}`)
	h.want(400, "POST", "/api/v1/devices", `{"prefix":"b","count":100000}`)
	h.want(400, "POST", "/api/v1/devices", `{"id":"a","colour":"red"}`)
	check(t, json.Unmarshal([]byte(h.want(201, "POST", "/api/v1/devices", `{"prefix":"sim","count":3}`)), &added))
	if len(added) != 3 || added[2].ID != "sim-003" {
		t.Fatalf("a fleet of %+v", added)
	}

	h.want(200, "PATCH", "/api/v1/devices/kitchen", `{"name":"Big kitchen","area":"Downstairs"}`)
	h.want(400, "PATCH", "/api/v1/devices/kitchen", `{}`)
	if s := h.want(200, "GET", "/api/v1/devices/kitchen", ""); !strings.Contains(s, `"name":"Big kitchen"`) || !strings.Contains(s, `"area":"Downstairs"`) {
		t.Error(s)
	}
	if s := h.want(200, "POST", "/api/v1/devices/kitchen/rotate", ""); !strings.Contains(s, `"token":"hg1.kitchen.`) {
		t.Error(s)
	}
	h.want(200, "POST", "/api/v1/devices/kitchen/revoke", "")
	if s := h.want(200, "GET", "/api/v1/devices/kitchen", ""); !strings.Contains(s, `"state":"disabled"`) {
		t.Error(s)
	}
	h.want(200, "DELETE", "/api/v1/devices/kitchen", "")
	h.want(404, "GET", "/api/v1/devices/kitchen", "")
	if s := h.want(409, "POST", "/api/v1/devices", `{"id":"kitchen"}`); !strings.Contains(s, "never given again") {
		t.Error(s)
	}
}

// say appends one frame and waits until it is on disk.
func (h *home) say(device string, seq uint64, records ...protocol.Record) {
	h.t.Helper()
	done := make(chan error, 1)
	e := &store.Entry{
		Kind: store.Telemetry, Device: device, Boot: protocol.Boot{1, 2}, Seq: seq,
		Received: time.Now().UnixMilli(), Records: records,
	}
	h.store.Hello(device, []protocol.Boot{e.Boot})
	_, err := h.store.Append(e, store.Now, committed(done))
	check(h.t, err)
	check(h.t, <-done)
}

type committed chan error

func (c committed) Committed(_ *store.Entry, err error) { c <- err }

func TestHistoryAndExport(t *testing.T) {
	h := newHome(t)
	h.want(201, "POST", "/api/v1/devices", `{"id":"kitchen"}`)
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	h.say("kitchen", 1, protocol.Record{Name: "temperature", Value: protocol.Float(21.5), Time: at.UnixNano()})
	h.say("kitchen", 2,
		protocol.Record{Name: "door", Value: protocol.Bool(true), Time: at.UnixNano()},
		protocol.Record{Name: "note", Value: protocol.Text("say \"hi\",\nbye"), Time: at.UnixNano()})

	want := `{"device":"kitchen","name":"temperature","samples":[{"t":` + seconds(at.UnixNano()) + `,"v":21.5}]}` + "\n"
	if s := h.want(200, "GET", "/api/v1/devices/kitchen/history?name=temperature&from=2h", ""); s != want {
		t.Errorf("got %s want %s", s, want)
	}
	if s := h.want(200, "GET", "/api/v1/devices/kitchen/history?name=temperature&from=1m", ""); !strings.Contains(s, `"samples":[]`) {
		t.Error(s)
	}
	for _, form := range []string{time.DateOnly, time.DateTime} {
		q := url.Values{"from": {at.Local().Format(form)}}
		if s := h.want(200, "GET", "/api/v1/devices/kitchen/history?name=temperature&"+q.Encode(), ""); s != want {
			t.Errorf("%v: got %s want %s", q, s, want)
		}
	}
	h.want(400, "GET", "/api/v1/devices/kitchen/history", "")
	h.want(400, "GET", "/api/v1/devices/kitchen/history?name=x&from=yesterday", "")
	h.want(400, "GET", "/api/v1/devices/kitchen/export?format=xls", "")

	lines := strings.Split(strings.TrimSpace(h.want(200, "GET", "/api/v1/devices/kitchen/export?format=jsonl", "")), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	var first struct {
		Device, Boot, N string
		Seq             uint64
		V, T            float64
	}
	check(t, json.Unmarshal([]byte(lines[0]), &first))
	if first.Device != "kitchen" || first.Boot != "0102000000000000" || first.Seq != 1 || first.N != "temperature" || first.V != 21.5 || first.T != float64(at.Unix()) {
		t.Errorf("%+v", first)
	}
	if !strings.Contains(lines[1], `"vb":true`) || !strings.Contains(lines[2], `"vs":"say \"hi\",\nbye"`) {
		t.Errorf("%q", lines[1:])
	}
	csv := h.want(200, "GET", "/api/v1/export?format=csv", "")
	if !strings.Contains(csv, "kitchen,temperature,"+seconds(at.UnixNano())+",21.5,") || !strings.Contains(csv, `"say ""hi"",`+"\n"+`bye"`) {
		t.Error(csv)
	}
}

// What a device said as a switch is not the state of the sensor that it is now.
func TestAValueOfWhatItWasIsNotShown(t *testing.T) {
	h := newHome(t)
	_, err := h.registry.Add("oven", "")
	check(t, err)
	h.say("oven", 1, protocol.Record{Name: "heat", Value: protocol.Bool(true), Time: time.Now().UnixNano()})
	check(t, h.registry.Describe("oven", &protocol.Describe{Components: []protocol.Component{{ID: "heat", Kind: "sensor", Unit: "W"}}}))
	if got := h.want(200, "GET", "/api/v1/devices/oven", ""); !strings.Contains(got, `"name":"heat"`) || strings.Contains(got, `"value"`) {
		t.Error(got)
	}
	h.say("oven", 2, protocol.Record{Name: "heat", Value: protocol.Int(7), Time: time.Now().UnixNano()})
	if got := h.want(200, "GET", "/api/v1/devices/oven", ""); !strings.Contains(got, `"value":7`) {
		t.Error(got)
	}
}

// Nobody waits for the values of a name that is spelled wrong.
func TestADeviceShowsWhatIsWrongWithIt(t *testing.T) {
	h := newHome(t)
	_, err := h.registry.Add("oven", "")
	check(t, err)
	check(t, h.registry.Describe("oven", &protocol.Describe{Components: []protocol.Component{{ID: "heat", Kind: "sensor", Unit: "W", Class: "temperature"}}}))
	h.registry.Gap("oven")
	got := h.want(200, "GET", "/api/v1/devices/oven", "")
	for _, want := range []string{`"gaps":1`, `"warnings":["heat: the class \"temperature\" does not go with the unit \"W\"; left out"]`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestHistoryOfAnUnknownNameNamesTheOthers(t *testing.T) {
	h := newHome(t)
	h.addLamp()
	if s := h.want(200, "GET", "/api/v1/devices/lamp/history?name=power", ""); !strings.Contains(s, `"samples":[]`) {
		t.Error(s)
	}
	if s := h.want(404, "GET", "/api/v1/devices/lamp/history?name=powr", ""); !strings.Contains(s, "it has power") {
		t.Error(s)
	}
}

func TestLiveFeed(t *testing.T) {
	h := newHome(t)
	h.want(201, "POST", "/api/v1/devices", `{"id":"kitchen"}`)
	req, err := http.NewRequest("GET", h.network.URL+"/api/v1/live?device=kitchen", nil)
	check(t, err)
	req.Header.Set("Authorization", "Bearer "+h.token("r", registry.Read))
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	h.say("other", 1, protocol.Record{Name: "x", Value: protocol.Int(1), Time: time.Now().UnixNano()})
	h.say("kitchen", 1, protocol.Record{Name: "temperature", Value: protocol.Float(21.5), Time: time.Now().UnixNano()})
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	check(t, err)
	if !strings.Contains(line, `"device":"kitchen"`) || !strings.Contains(line, `"n":"temperature","v":21.5`) {
		t.Error(line)
	}
	h.want(404, "GET", "/api/v1/live?device=kitchne", "")
}

// lamp is a device that answers every command at once.
type lamp struct{ h *home }

func (lamp) Flush() {}

func (l lamp) Send(c *protocol.Command) bool {
	go l.h.commands.Answered("lamp", &protocol.Result{ID: c.ID, Records: c.Records})
	return true
}

func (h *home) addLamp() {
	h.t.Helper()
	h.want(201, "POST", "/api/v1/devices", `{"id":"lamp"}`)
	check(h.t, h.registry.Describe("lamp", &protocol.Describe{Components: []protocol.Component{
		{ID: "power", Kind: "switch"},
		{ID: "level", Kind: "number"},
	}}))
}

func TestCommandsOverHTTP(t *testing.T) {
	h := newHome(t)
	h.addLamp()
	path := "/api/v1/devices/lamp/command"
	if s := h.want(200, "POST", path, `{"id":"1","set":{"power":true}}`); !strings.Contains(s, `"outcome":"offline"`) {
		t.Error(s)
	}
	h.commands.Presence("lamp", store.Online, false, 0)
	h.commands.Connected("lamp", protocol.Boot{1}, lamp{h})
	if s := h.want(200, "POST", path+"?wait=5s", `{"id":"2","set":{"power":true}}`); !strings.Contains(s, `"id":"2","outcome":"ok"`) || !strings.Contains(s, `"state":{"power":true}`) {
		t.Error(s)
	}
	if s := h.want(200, "POST", path+"?values=text", `{"set":{"power":"ON","level":"7"}}`); !strings.Contains(s, `"outcome":"ok"`) || !strings.Contains(s, `"level":7`) {
		t.Error(s)
	}
	if s := h.want(200, "POST", path, `{"set":{"power":"ON"}}`); !strings.Contains(s, `"outcome":"invalid"`) {
		t.Error(s)
	}
	if s := h.want(200, "POST", "/api/v1/devices/none/command", `{"set":{"power":true}}`); !strings.Contains(s, `"outcome":"unsupported"`) {
		t.Error(s)
	}
	for _, bad := range []string{``, `[]`, `{"set":[]}`, `{"set":{"power":null}}`, `{"set":{"power":true},"ttl":5}`, `{"set":{"power":true},"ttl":"-1s"}`, "{\"set\":{\"\xff\":1}}"} {
		if s := h.want(400, "POST", path, bad); !strings.Contains(s, `"outcome":"invalid"`) {
			t.Errorf("%q: %s", bad, s)
		}
	}
	h.want(400, "POST", path+"?wait=soon", `{"set":{"power":true}}`)
}

func TestACommandThatWaitsCanBeSeenAndTakenBack(t *testing.T) {
	h := newHome(t)
	h.addLamp()
	s := h.want(202, "POST", "/api/v1/devices/lamp/command", `{"id":"later","set":{"power":true},"ttl":"1h"}`)
	if !strings.Contains(s, `"id":"later","status":"waiting","until":`) {
		t.Error(s)
	}
	if s := h.want(200, "GET", "/api/v1/devices/lamp/commands", ""); !strings.Contains(s, `"id":"later","set":{"power":true},"stored":true,"sent":false`) {
		t.Error(s)
	}
	h.want(200, "DELETE", "/api/v1/devices/lamp/commands/later", "")
	h.want(404, "DELETE", "/api/v1/devices/lamp/commands/later", "")
	if s := h.want(200, "GET", "/api/v1/devices/lamp/commands", ""); s != "[]\n" {
		t.Error(s)
	}
}

func TestAccounts(t *testing.T) {
	h := newHome(t)
	h.want(201, "POST", "/api/v1/tokens", `{"name":"panel","role":"control"}`)
	h.want(400, "POST", "/api/v1/tokens", `{"name":"panel2","role":"god"}`)
	h.want(409, "POST", "/api/v1/tokens", `{"name":"panel"}`)
	h.want(200, "DELETE", "/api/v1/tokens/panel", "")
	h.want(404, "DELETE", "/api/v1/tokens/panel", "")
	h.want(400, "PUT", "/api/v1/mqtt/users/ha", `{"password":"short"}`)
	h.want(200, "PUT", "/api/v1/mqtt/users/ha", `{"password":"long enough"}`)
	if !h.registry.CheckMQTTUser("ha", "long enough") || h.registry.CheckMQTTUser("ha", "wrong enough") {
		t.Error("the account does not hold")
	}
	if s := h.want(200, "GET", "/api/v1/mqtt/users", ""); s != "[\"ha\"]\n" {
		t.Error(s)
	}
	h.want(200, "DELETE", "/api/v1/mqtt/users/ha", "")
	h.want(404, "DELETE", "/api/v1/mqtt/users/ha", "")
	if s := h.want(200, "GET", "/api/v1/cursors", ""); s != "[]\n" {
		t.Error(s)
	}
	h.want(409, "DELETE", "/api/v1/cursors/nobody", "")
}

func TestCollectingTopicsOverHTTP(t *testing.T) {
	h := newHome(t)
	if got := h.want(http.StatusOK, "POST", "/api/v1/mqtt/gc?dry_run=true", ""); got != `{"topics":["old/topic"]}`+"\n" {
		t.Errorf("dry: %s", got)
	}
	if got := h.want(http.StatusBadGateway, "POST", "/api/v1/mqtt/gc", ""); !strings.Contains(got, "the broker went away (0 topics were emptied)") {
		t.Errorf("an error: %s", got)
	}
}
