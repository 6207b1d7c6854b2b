package store_test

import (
	"testing"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/storetest"
)

func TestStore(t *testing.T) { storetest.Run(t, store.Open) }

// The log in the database, as it was before there were files.
func TestStoreInBolt(t *testing.T) {
	storetest.Run(t, func(o store.Options) (*store.Store, error) {
		o.LogIn = store.InBolt
		return store.Open(o)
	})
}

// Every start replays everything.
func TestStoreThatIsNeverSealed(t *testing.T) { storetest.Run(t, store.OpenUnsealed) }

// A start with the log in files follows one with the log in the database.
func TestStoreThatChangesItsMind(t *testing.T) {
	starts := 0
	storetest.Run(t, func(o store.Options) (*store.Store, error) {
		if starts++; starts%2 == 0 {
			o.LogIn = store.InBolt
			return store.Open(o)
		}
		return store.OpenUnsealed(o)
	})
}
