package store_test

import (
	"testing"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/storetest"
)

func TestStore(t *testing.T) { storetest.Run(t, store.Open) }
