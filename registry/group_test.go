package registry_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/protocol"
	. "github.com/hearthgate/hearthgate/registry"
)

// lamp adds a device with a light, "light", and a sensor that cannot be set.
func (h *home) lamp(id, area string) {
	h.t.Helper()
	h.add(id)
	d := protocol.Describe{Area: area, Components: []protocol.Component{
		{ID: "light", Kind: "light", Attributes: map[string]protocol.Attribute{"on": {}, "brightness": {}}},
		{ID: "temperature", Kind: "sensor", Unit: "Cel"},
	}}
	f, err := protocol.Decode(protocol.Append(nil, &d), protocol.Limits{})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.Describe(id, f.(*protocol.Describe)); err != nil {
		h.t.Fatal(err)
	}
}

func TestARoomHasTheLampsThatAreInIt(t *testing.T) {
	h := newHome(t)
	h.lamp("desk", "Study")
	h.lamp("hall", "Hall")
	if err := h.PutGroup(Group{ID: "study", Kind: "light", Area: "Study"}); err != nil {
		t.Fatal(err)
	}
	if err := h.PutGroup(Group{ID: "all", Name: "All lights", Kind: "light"}); err != nil {
		t.Fatal(err)
	}
	h.members("study", "desk/light")
	h.members("all", "desk/light", "hall/light")

	if err := h.SetArea("hall", "Study"); err != nil { // moved there by a person
		t.Fatal(err)
	}
	h.members("study", "desk/light", "hall/light")
	if err := h.Revoke("desk"); err != nil {
		t.Fatal(err)
	}
	h.members("study", "hall/light")
	h.restart()
	h.members("study", "hall/light")
	if g, ok := h.Group("all"); !ok || g.Name != "All lights" {
		t.Errorf("after a restart: %+v", g)
	}
}

func TestNamedMembersGoWithTheirDevice(t *testing.T) {
	h := newHome(t)
	h.lamp("a", "")
	h.lamp("b", "")
	told := 0
	h.WatchGroups(func() { told++ })
	g := Group{ID: "pair", Members: []Member{{"b", "light"}, {"a", "light/brightness"}, {"b", "light"}}}
	if err := h.PutGroup(g); err != nil {
		t.Fatal(err)
	}
	h.members("pair", "b/light", "a/light/brightness")
	if err := h.Remove("b"); err != nil {
		t.Fatal(err)
	}
	h.members("pair", "a/light/brightness")
	if err := h.RemoveGroup("pair"); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.Members("pair"); ok || told != 2 {
		t.Errorf("the group is still there, or watchers heard %d times, want 2", told)
	}
	if err := h.RemoveGroup("pair"); !errors.Is(err, ErrUnknown) {
		t.Errorf("removed twice: %v", err)
	}
}

func (h *home) members(group string, want ...string) {
	h.t.Helper()
	members, _ := h.Members(group)
	var got []string
	for _, m := range members {
		got = append(got, m.Device+"/"+m.Name)
	}
	if d := cmp.Diff(want, got); d != "" {
		h.t.Errorf("members of %s: %s", group, d)
	}
}

func TestWhatCannotBeAGroupIsRefusedWithAReason(t *testing.T) {
	h := newHome(t)
	h.lamp("desk", "")
	many := make([]Member, MaxMembers+1)
	for i := range many {
		many[i] = Member{"desk", "light"}
	}
	for name, c := range map[string]struct {
		g    Group
		want error
	}{
		"id":             {Group{ID: "Living Room", Kind: "light"}, ErrBadID},
		"nothing in it":  {Group{ID: "g"}, ErrBadName},
		"area alone":     {Group{ID: "g", Area: "Study"}, ErrBadName},
		"unknown device": {Group{ID: "g", Members: []Member{{"attic", "light"}}}, ErrUnknown},
		"unknown name":   {Group{ID: "g", Members: []Member{{"desk", "lihgt"}}}, ErrUnknown},
		"read only":      {Group{ID: "g", Members: []Member{{"desk", "temperature"}}}, ErrBadName},
		"unknown kind":   {Group{ID: "g", Kind: "lihgt"}, ErrBadName},
		"kind to read":   {Group{ID: "g", Kind: "sensor"}, ErrBadName},
		"too many":       {Group{ID: "g", Members: many}, ErrBadName},
		"control chars":  {Group{ID: "g", Name: "a\nb", Kind: "light"}, ErrBadName},
	} {
		if err := h.PutGroup(c.g); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if all := h.Groups(); len(all) != 0 {
		t.Errorf("there are groups: %+v", all)
	}
}

func TestAScenesValuesAreKeptAndChecked(t *testing.T) {
	h := newHome(t)
	h.lamp("desk", "")
	film := Scene{ID: "film", Name: "Film night", Set: []SceneValue{
		{"desk", "light/on", protocol.Bool(true)},
		{"desk", "light/brightness", protocol.Float(12.5)},
	}}
	if err := h.PutScene(film); err != nil {
		t.Fatal(err)
	}
	h.restart()
	if got, ok := h.Scene("film"); !ok || !cmp.Equal(film, got, cmp.Comparer(func(a, b protocol.Value) bool { return a == b })) {
		t.Errorf("after a restart: %+v", got)
	}
	for name, v := range map[string]SceneValue{
		"out of range":  {"desk", "light/brightness", protocol.Int(101)},
		"wrong type":    {"desk", "light/on", protocol.Text("on")},
		"not one value": {"desk", "light", protocol.Bool(true)},
	} {
		if err := h.PutScene(Scene{ID: "bad", Set: []SceneValue{v}}); !errors.Is(err, ErrBadName) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := h.RemoveScene("film"); err != nil {
		t.Fatal(err)
	}
	if all := h.Scenes(); len(all) != 0 {
		t.Errorf("there are scenes: %+v", all)
	}
}
