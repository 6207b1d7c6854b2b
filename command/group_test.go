package command_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// inRoom is a home with a second lamp, "reading", that is online; of "lamp" the
// story decides.
func inRoom(t *testing.T, story func(h *home, reading *link)) {
	inHome(t, func(h *home) {
		h.addDevice("reading")
		l := &link{}
		h.Presence("reading", store.Online, false, 0)
		h.Connected("reading", boot1, l)
		story(h, l)
	})
}

func (h *home) group(g registry.Group) {
	h.t.Helper()
	if err := h.registry.PutGroup(g); err != nil {
		h.t.Fatal(err)
	}
}

// wants is what a command asks for, in the form of its JSON.
func wants(c *protocol.Command) string {
	var b []byte
	for _, r := range c.Records {
		b = append(append(append(b, r.Name...), '='), r.Value.AppendJSON(nil)...)
		b = append(b, ' ')
	}
	return strings.TrimSpace(string(b))
}

func TestAGroupIsSentToAllAtOnceAndEachMemberHasItsOutcome(t *testing.T) {
	inRoom(t, func(h *home, reading *link) {
		lamp := h.connect(boot1)
		h.group(registry.Group{ID: "room", Members: []registry.Member{{Device: "lamp", Name: "desk"}, {Device: "reading", Name: "desk"}}})
		n := &notes{}
		if many := h.SubmitGroup(GroupRequest{ID: "g", Group: "room", Text: "ON"}, n); many != 2 {
			t.Fatalf("%d outcomes are to come, want 2", many)
		}
		one, two := lamp.last(t, 1), reading.last(t, 1)
		if wants(one) != "desk/on=true" || wants(two) != "desk/on=true" {
			t.Fatalf("the members were asked for %q and %q", wants(one), wants(two))
		}
		h.answer(one, protocol.ResultOK)
		h.Answered("reading", &protocol.Result{ID: two.ID, Code: protocol.ResultDenied})
		settle()
		_, results := n.told()
		if len(results) != 2 || results[0].Outcome != OK || results[1].Outcome != Denied {
			t.Fatalf("outcomes: %+v", results)
		}
		const want = `{"id":"g","device":"reading","set":{"desk/on":true},"outcome":"denied","ms":0}`
		if got := string(results[1].AppendJSON(nil)); got != want {
			t.Errorf("result\n%s, want\n%s", got, want)
		}
	})
}

func TestAGroupsValueGoesToTheFirstAttributeThatTakesIt(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  GroupRequest
		want string // of "lamp"; or its outcome
	}{
		{"a word", GroupRequest{Text: "OFF"}, "desk/on=false"},
		{"a number", GroupRequest{Text: "40"}, "desk/brightness=40"},
		{"a bool", GroupRequest{Value: protocol.Bool(true)}, "desk/on=true"},
		{"attributes", GroupRequest{Set: []Setting{{Name: "on", Value: protocol.Bool(true)}, {Name: "brightness", Value: protocol.Int(7)}}}, "desk/on=true desk/brightness=7"},
		{"out of range", GroupRequest{Text: "140"}, "invalid"},
		{"nonsense", GroupRequest{Text: "purple"}, "invalid"},
		{"an attribute that it lacks", GroupRequest{Set: []Setting{{Name: "warp", Value: protocol.Int(9)}}}, "unsupported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHome(t, func(h *home) {
				l := h.connect(boot1)
				h.group(registry.Group{ID: "lights", Kind: "light"})
				n := &notes{}
				c.ask.Group = "lights"
				h.SubmitGroup(c.ask, n)
				if strings.Contains(c.want, "=") {
					if got := wants(l.last(t, 1)); got != c.want {
						t.Errorf("asked for %q, want %q", got, c.want)
					}
					return
				}
				if r := n.one(t); string(r.Outcome) != c.want || r.Message == "" || len(l.received()) > 0 {
					t.Errorf("outcome %+v, sent %d", r, len(l.received()))
				}
			})
		})
	}
}

func TestAGroupThatIsNotThereOrEmptyHasOneOutcome(t *testing.T) {
	inHome(t, func(h *home) {
		h.group(registry.Group{ID: "attic", Kind: "light", Area: "Attic"})
		for _, id := range []string{"attic", "cellar"} {
			n := &notes{}
			h.SubmitGroup(GroupRequest{ID: "1", Group: id, Text: "ON"}, n)
			if r := n.one(t); r.Outcome != Unsupported || r.Via != "group/"+id || !strings.Contains(r.Message, id) {
				t.Errorf("%s: %+v", id, r)
			}
		}
		n := &notes{}
		h.SubmitScene(SceneRequest{Scene: "dinner"}, n)
		if r := n.one(t); r.Outcome != Unsupported || r.Via != "scene/dinner" {
			t.Errorf("scene: %+v", r)
		}
	})
}

func TestAGroupWaitsForItsSleepersOverARestart(t *testing.T) {
	inRoom(t, func(h *home, reading *link) {
		h.sleep(3600)
		h.group(registry.Group{ID: "room", Kind: "light"})
		n := &notes{unsure: true}
		h.SubmitGroup(GroupRequest{ID: "g", Group: "room", Text: "ON", TTL: 2 * time.Hour}, n)
		synctest.Wait()
		h.Answered("reading", &protocol.Result{ID: reading.last(t, 1).ID})
		settle()
		if waiting, results := n.told(); len(waiting) != 1 || len(results) != 1 {
			t.Fatalf("waiting %v, outcomes %+v", waiting, results)
		}
		h.kill()
		after := &notes{}
		h.Register("", after)
		l := h.connect(boot2)
		h.answer(l.last(t, 1), protocol.ResultOK)
		settle()
		if r, ok := h.Outcome("lamp", "g"); !ok || r.Outcome != OK || r.Via != "group/room" {
			t.Errorf("the sleeper's outcome after the restart: %+v", r)
		}
	})
}

func TestASceneIsOneCommandForEachDevice(t *testing.T) {
	inRoom(t, func(h *home, reading *link) {
		lamp := h.connect(boot1)
		scene := registry.Scene{ID: "film", Set: []registry.SceneValue{
			{Device: "lamp", Name: "desk/on", Value: protocol.Bool(true)},
			{Device: "reading", Name: "desk/on", Value: protocol.Bool(false)},
			{Device: "lamp", Name: "desk/brightness", Value: protocol.Int(12)},
		}}
		if err := h.registry.PutScene(scene); err != nil {
			t.Fatal(err)
		}
		n := &notes{}
		if many := h.SubmitScene(SceneRequest{ID: "s", Scene: "film"}, n); many != 2 {
			t.Fatalf("%d outcomes are to come, want 2", many)
		}
		if got := wants(lamp.last(t, 1)); got != "desk/on=true desk/brightness=12" {
			t.Errorf("lamp was asked for %q", got)
		}
		if got := wants(reading.last(t, 1)); got != "desk/on=false" {
			t.Errorf("reading was asked for %q", got)
		}
	})
}

func TestTheJSONOfGroupsAndScenes(t *testing.T) {
	for _, c := range []struct{ in, problem string }{
		{`{"id":"1","set":true}`, ""},
		{`{"set":"open","ttl":"30s"}`, ""},
		{`{"set":{"on":true}}`, ""},
		{`{"set":{}}`, "nothing to set"},
		{`{"id":"1"}`, "set: want a number"},
		{`{"set":[1]}`, "set: want a number"},
		{`{"set":null}`, "set: want a number"},
		{`{"set":true,"ttl":30}`, "ttl"},
		{"{\"set\":\"\xff\"}", "UTF-8"},
		{`ON`, "not a command"},
	} {
		_, err := ParseGroupJSON([]byte(c.in))
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: %v, want %q", c.in, err, c.problem)
		}
	}
	if r, err := ParseSceneJSON([]byte(`{"id":"x","ttl":"1m"}`)); err != nil || r.ID != "x" || r.TTL != time.Minute {
		t.Errorf("scene: %+v, %v", r, err)
	}
}
