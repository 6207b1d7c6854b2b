package store_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// Devices go on while the log is sealed. What they say meanwhile is behind what was
// sealed and is gone from the log, and history has both.
func TestHistoryOfWhatWasSaidWhileTheLogWasSealed(t *testing.T) {
	for place, in := range map[string]store.LogIn{"files": store.Files, "bolt": store.InBolt} {
		t.Run(place, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := func() {}
				if in == store.Files {
					slow = func() { time.Sleep(20 * time.Millisecond) }
				}
				o := store.Options{Dir: memoryDir(t), Commit: 0, LogIn: in}
				s, err := store.OpenWatched(o, segmenttest.New(nil), 16<<10, 20<<10, 0, func([]byte, int64) error { return nil }, slow)
				if err != nil {
					t.Fatal(err)
				}
				const frames = 400
				for seq := range uint64(frames) {
					e := step{device: "a", seq: seq + 1}.entry()
					e.Records = []protocol.Record{{Name: "much", Value: protocol.Text(strings.Repeat("x", 600) + fmt.Sprint(seq)), Time: time.Now().UnixNano() + int64(seq), Absolute: true}}
					if _, err := s.Append(e, store.Now, nil); err != nil {
						t.Fatal(err)
					}
					if in == store.Files || seq%10 == 9 {
						time.Sleep(time.Millisecond)
					}
				}
				time.Sleep(time.Second)
				all, err := s.History(t.Context(), "a", "much", time.Unix(0, 0), time.Unix(0, math.MaxInt64), 0)
				if err != nil || len(all) != frames {
					t.Errorf("%d of %d values, %v", len(all), frames, err)
				}
				end(t, s)
			})
		})
	}
}
