package command_test

import (
	"fmt"
	"slices"
	"testing"

	. "github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// nobody wants no outcome.
type nobody struct{ Asker }

func (nobody) Done(Result, func()) {}

// A command that did nothing stands in the device's diary, and one that worked
// does not.
func TestWhatWasNotCarriedOutIsNoted(t *testing.T) {
	inHome(t, func(h *home) {
		ask := func(name string, v protocol.Value) {
			h.Submit(Request{Device: "lamp", Set: []Setting{{Name: name, Value: v}}}, nobody{})
		}
		ask("nothing", protocol.Int(1))
		ask("nothing", protocol.Int(1))
		h.Submit(Request{Device: "nobody", Set: []Setting{{Name: "on", Text: "ON"}}}, nobody{})
		notes := h.registry.Notes("lamp")
		i := slices.IndexFunc(notes, func(n registry.Note) bool { return n.About == registry.AboutCommand })
		if i < 0 || notes[i].Times != 2 || notes[i].Text[:len("nothing=1 ended as unsupported: ")] != "nothing=1 ended as unsupported: " {
			t.Errorf("%s", fmt.Sprint(notes))
		}
		if len(notes) != 1 {
			t.Errorf("%v", notes)
		}
	})
}
