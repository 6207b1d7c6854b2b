package store_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/storetest"
)

// A database that takes in slowly what has filled the log makes devices wait,
// however long that takes: it is no disk that is gone.
func TestASlowDatabaseIsNoReasonToForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &storetest.Home{Devices: 20, Every: 10 * time.Second}
		var slow atomic.Bool
		slow.Store(true)
		s, err := store.OpenSlow(store.Options{Dir: memoryDir(t), Commit: 0}, func() {
			if slow.Load() {
				time.Sleep(4 * time.Second)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		h.Live(t, s, 0, june, june.Add(8*time.Hour)) // fails at the first frame that is not on disk
		took := time.Since(begin)
		t.Log(took)
		if took < 15*time.Second {
			t.Errorf("nobody waited: %v", took)
		}
		slow.Store(false)
		time.Sleep(time.Minute) // until all is sealed
		if health := s.Health(); health.InMemory || health.InMemoryOnly > 0 {
			t.Errorf("%+v", health)
		}
		end(t, s)
	})
}
