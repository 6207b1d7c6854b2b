package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// What a home wears its card by: 50 devices that say 6 values every 10 s, each
// acknowledged within a second, with one reader that keeps up.
func TestWearOfAHome(t *testing.T) {
	const devices, values = 50, 6
	hours := 6
	if underRace {
		hours = 1 // and one more, in which the segments are made
	}
	for name, logIn := range map[string]store.LogIn{"files": store.Files, "bolt": store.InBolt} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := memoryDir(t)
				disk := segmenttest.Reborn(nil)
				s, err := store.OpenOn(store.Options{Dir: dir, Commit: -1, LogIn: logIn}, disk, segment.DefaultSize, 4<<20)
				if err != nil {
					t.Fatal(err)
				}
				var database int64
				s.OnWrite(func(b []byte, _ int64) error { database += int64(len(b)); return nil })
				tail, err := s.Tail("mqtt")
				if err != nil {
					t.Fatal(err)
				}
				const anHour = 3600 * devices / 10
				var before store.Health
				for frame := range (hours + 1) * anHour {
					if frame == anHour+anHour/10 {
						synctest.Wait()
						disk.Bytes, disk.Writes, database, before = 0, 0, 0, s.Health()
					}
					now := time.Now()
					e := &store.Entry{Kind: store.Telemetry, Device: fmt.Sprintf("sensor-%02d", frame%devices), Boot: protocol.Boot{1}, Seq: uint64(frame/devices + 1), Received: now.UnixMilli()}
					for v := range values {
						e.Records = append(e.Records, protocol.Record{Name: [...]string{"temperature", "humidity", "pressure", "battery", "light", "co2"}[v],
							Value: protocol.Float(float64((frame*7+v*13)%400) / 10), Time: now.UnixNano() - 20e6})
					}
					if _, err := s.Append(e, store.Measured, nil); err != nil {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Second / devices)
					tail.Advance(s.Head())
				}
				synctest.Wait()
				h := s.Health()
				commits := float64(h.Commits - before.Commits)
				samples := float64(h.Entries-before.Entries) * values
				log, base := float64(disk.Bytes)/samples, float64(database)/samples
				info, err := os.Stat(filepath.Join(dir, "gateway.db"))
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%.0f commits; a sample: %.1f bytes to the log's files, %.1f to the database, %.1f at rest; a commit: %.0f bytes in %.3f writes",
					commits, log, base, float64(info.Size())/float64(h.Entries*values), float64(disk.Bytes+database)/commits, float64(disk.Writes)/commits)
				// A second of the home, 30 values of five devices, is one sector; a
				// commit in a minute has more to say. An hour costs history little.
				if logIn == store.Files && (float64(disk.Bytes) > 1.1*512*commits || log > 18 || base > 2 || float64(disk.Writes) > 1.01*commits) {
					t.Errorf("more than it was")
				}
				end(t, s)
			})
		})
	}
}
