package registry

import (
	"testing"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// What a kill leaves between the rows of one change is ended by the next start.
func TestStartEndsWhatAKillCutShort(t *testing.T) {
	s, err := store.Open(store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := Open(s, protocol.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := r.Add("kept", "")
	if err != nil {
		t.Fatal(err)
	}
	// A fleet of three of which two were written, and a removal of which only
	// the tombstone was.
	for _, err := range []error{
		r.tables.fleets.PutSync("sim", fleetRow{Count: 3}),
		r.tables.devices.PutSync("sim-001", deviceRow{}),
		r.tables.devices.PutSync("sim-002", deviceRow{}),
		r.tables.devices.PutSync("gone", deviceRow{}),
		r.tables.removed.PutSync("gone", tombstone{}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	again, err := Open(s, protocol.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if all := again.List(); len(all) != 1 || all[0].ID != "kept" {
		t.Fatalf("after the start: %+v", all)
	}
	if _, err := again.Authenticate(kept); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Add("gone", ""); err == nil {
		t.Fatal("a removed id was given again")
	}
	if _, _, err := again.AddMany("sim", 3); err != nil {
		t.Fatalf("the fleet again: %v", err)
	}
}
