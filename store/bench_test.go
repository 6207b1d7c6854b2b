package store_test

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// BenchmarkAppend is the way from a decoded frame to its acknowledgement, 200
// devices with 8 frames in flight each, on whatever disk the temporary directory
// is.
func BenchmarkAppend(b *testing.B) {
	for name, logIn := range map[string]store.LogIn{"files": store.Files, "bolt": store.InBolt} {
		b.Run(name, func(b *testing.B) { benchmarkAppend(b, logIn) })
	}
}

func benchmarkAppend(b *testing.B, logIn store.LogIn) {
	s, err := store.Open(store.Options{Dir: b.TempDir(), Commit: 0, LogIn: logIn})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var longest time.Duration // between two commits
	var before time.Time
	s.AfterCommitted(func() {
		now := time.Now()
		if !before.IsZero() {
			longest = max(longest, now.Sub(before))
		}
		before = now
	})
	cpu := cpuTime()
	const devices, window = 200, 8
	slots := make(chan struct{}, devices*window)
	w := benchWaiter{slots}
	names := make([]string, devices)
	for i := range names {
		names[i] = fmt.Sprint("device-", i)
	}
	now := time.Now().UnixMilli()
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for part := range 2 {
		wg.Go(func() {
			for i := part; i < b.N; i += 2 {
				slots <- struct{}{}
				e := &store.Entry{Kind: store.Telemetry, Device: names[i%devices/2*2+part], Boot: protocol.Boot{1}, Seq: uint64(i/devices + 1), Received: now,
					Records: []protocol.Record{
						{Name: "temperature", Value: protocol.Float(21.5), Time: now*1e6 + int64(i)},
						{Name: "humidity", Value: protocol.Int(40), Time: now*1e6 + int64(i)},
					}}
				if _, err := s.Append(e, store.Measured, w); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for range cap(slots) {
		slots <- struct{}{}
	}
	b.ReportMetric(float64(s.Health().Commits), "commits")
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest")
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type benchWaiter struct{ slots chan struct{} }

func (w benchWaiter) Committed(*store.Entry, error) { <-w.slots }
