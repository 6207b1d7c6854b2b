package store_test

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/storetest"
)

// Devices of the benchmark of taking in, and how much of what they say is made
// before the clock runs: it comes again and again, under other seqs and times.
const (
	ingestDevices = 50
	ingestFrames  = 360 // of each: an hour, or more of a pack
	ingestWindow  = 2048
	seqAt         = 5 // in a frame whose seq takes four bytes: [6, {1: seq, …
	firstSeq      = 1 << 24
)

// BenchmarkIngest is the way of a measurement from the bytes of its frame to the
// disk: decoded, resolved, appended, committed, and sealed into the history. An op
// is a sample. "samples/s" is until all are synced, "sealed/s" until they are in the
// history as well, which is what can be kept up. 300000x is a burst, of which little
// is sealed meanwhile.
//
//	home  six values at a time, as devices say them every ten seconds
//	pack  ten minutes of that in a frame, as from a device that kept it
func BenchmarkIngest(b *testing.B) {
	b.Run("home", func(b *testing.B) { benchmarkIngest(b, 1) })
	b.Run("pack", func(b *testing.B) { benchmarkIngest(b, 60) })
}

func benchmarkIngest(b *testing.B, readings int) {
	s, err := store.Open(store.Options{Dir: b.TempDir(), Commit: 0})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	frames, n := ingestData(readings), max(1, b.N/readings/6)
	names := make([]string, ingestDevices)
	for d := range names {
		names[d] = storetest.HomeDevice(d)
	}
	every := time.Duration(readings) * 10 * time.Second
	begin := time.Now().Add(-30 * 24 * time.Hour)
	slots := make(chan struct{}, max(64, ingestWindow/readings))
	window := benchWaiter{slots}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := cpuTime()
	b.ResetTimer()
	clock := time.Now()
	var devices sync.WaitGroup
	const hands = 2 // a device is always in the same one
	for hand := range hands {
		devices.Go(func() {
			for i := hand; i < n; i += hands {
				round, d := i/ingestDevices, i%ingestDevices
				frame := frames[d][round%ingestFrames]
				binary.BigEndian.PutUint32(frame[seqAt:], uint32(firstSeq+round))
				at := begin.Add(time.Duration(round)*every + time.Duration(d)*37*time.Millisecond)
				slots <- struct{}{}
				if err := ingest(s, names[d], frame, at.UnixMilli(), window); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	devices.Wait()
	for range cap(slots) {
		slots <- struct{}{}
	}
	synced := time.Since(clock)
	behind := s.Health().LogBytes
	if err := s.Snapshot(b.Context(), func(*store.Copy) error { return nil }); err != nil { // it seals before
		b.Fatal(err)
	}
	sealed := time.Since(clock)
	runtime.ReadMemStats(&after)
	samples := float64(n * readings * 6)
	b.ReportMetric(samples/synced.Seconds(), "samples/s")
	b.ReportMetric(samples/sealed.Seconds(), "sealed/s")
	b.ReportMetric(float64(cpuTime()-cpu)/samples, "cpu-ns/sample")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/samples, "allocs/sample")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/samples, "B/sample")
	b.ReportMetric(float64(behind)/(1<<20), "MiB-behind")
}

// ingest is what a link does with a frame, the device's description aside.
func ingest(s *store.Store, device string, frame []byte, received int64, w store.Waiter) error {
	f, err := protocol.Decode(frame, protocol.Limits{})
	if err != nil {
		return err
	}
	t := f.(*protocol.Telemetry)
	t.Resolve(received, true)
	_, err = s.Append(&store.Entry{Kind: store.Telemetry, Device: device, Boot: protocol.Boot{1}, Seq: t.Seq, Received: received, Records: t.Records}, store.Measured, w)
	return err
}

// ingestData are the frames of all devices.
func ingestData(readings int) (frames [ingestDevices][ingestFrames][]byte) {
	h := &storetest.Home{Devices: ingestDevices, Every: 10 * time.Second}
	for n := range ingestFrames {
		for d := range frames {
			var all []protocol.Record
			for r := range readings {
				for _, rec := range h.Measure(d) {
					rec.Time = -int64(readings-1-r) * int64(h.Every)
					all = append(all, rec)
				}
			}
			frames[d][n] = protocol.Append(nil, &protocol.Telemetry{Seq: firstSeq, Records: all})
		}
	}
	return frames
}
