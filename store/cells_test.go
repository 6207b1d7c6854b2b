package store_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// A device that gives its values new names all the time keeps its newest ones
// and takes no room from others, also after a restart.
func TestNamesOfOneDeviceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, store.Options{Dir: dir})
		say(t, s, "quiet", 1, store.Now, nil)
		seq := uint64(0)
		for range 10 {
			seq++
			e := &store.Entry{Kind: store.Telemetry, Device: "loud", Boot: protocol.Boot{1}, Seq: seq, Received: time.Now().UnixMilli()}
			for i := range 1000 {
				e.Records = append(e.Records, protocol.Record{Name: fmt.Sprintf("n%d-%d", seq, i), Value: protocol.Bool(true), Time: time.Now().UnixNano()})
			}
			if _, err := s.Append(e, store.Now, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		bounded := func(s *store.Store) {
			t.Helper()
			if n := len(s.Newest("loud")); n < 1000 || n > 2048 {
				t.Errorf("%d newest values of one device", n)
			}
			if _, ok := s.NewestOf("loud", "n10-999"); !ok {
				t.Error("the newest value was forgotten")
			}
			if len(s.Newest("quiet")) != 1 {
				t.Error("another device lost its value")
			}
		}
		bounded(s)
		end(t, s)
		s = open(t, store.Options{Dir: dir})
		bounded(s)
		end(t, s)
	})
}
