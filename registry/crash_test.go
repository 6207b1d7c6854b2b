package registry

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
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

// A fleet that could not be added, since the disk takes nothing, is forgotten whole:
// no later start takes devices for a part of it that have its names.
func TestAFleetThatFailedLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := segmenttest.New(nil)
		var broken atomic.Bool
		disk.Fault = func(string, string) error {
			if broken.Load() {
				return syscall.EIO
			}
			return nil
		}
		o := store.Options{Dir: t.TempDir(), FS: disk}
		s, err := store.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(s, protocol.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		_ = r.tables.seen.Put("nobody", seenRow{}, store.Now, nil) // something to fail with
		time.Sleep(20 * time.Second)
		if _, _, err := r.AddMany("lamp", 3); !errors.Is(err, store.ErrInMemory) {
			t.Fatalf("a fleet in memory only: %v", err)
		}
		broken.Store(false)
		time.Sleep(20 * time.Second)
		token, err := r.Add("lamp-002", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = store.Open(o); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if r, err = Open(s, protocol.Limits{}); err != nil {
			t.Fatal(err)
		}
		if all := r.List(); len(all) != 1 || all[0].ID != "lamp-002" {
			t.Errorf("after the start: %+v", all)
		}
		if _, err := r.Authenticate(token); err != nil {
			t.Error(err)
		}
	})
}
