package store_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/storetest"
)

var (
	homeDir     = flag.String("home", "", "where the benchmarks keep their home's store, to be made if it is not there; empty = nowhere")
	homeDevices = flag.Int("devices", 4, "how many devices it has")
	homeDays    = flag.Int("days", 2, "how many days")
	homeYear    = flag.Int("year", 35, "how many days of the first device")
)

// homeNow is when the home of the benchmarks is looked at.
var homeNow = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// benchmarkHome is a store with some days, more of the first device, and ten hours
// of today that are not merged yet.
func benchmarkHome(b *testing.B) *store.Store {
	h := &storetest.Home{Devices: *homeDevices, Every: 10 * time.Second}
	dir, days, year := *homeDir, *homeDays, *homeYear
	if dir == "" {
		dir = b.TempDir()
	}
	o := store.Options{Dir: dir, Commit: 0}
	if _, err := os.Stat(filepath.Join(dir, "gateway.db")); err != nil {
		day, samples := 24*time.Hour, 0
		today := homeNow.Truncate(day)
		live := func(h *storetest.Home, from, to time.Time, atOnce time.Duration) {
			for ; from.Before(to); from = from.Add(atOnce) {
				s, err := store.Open(o)
				if err != nil {
					b.Fatal(err)
				}
				samples += h.Live(b, s, 0, from, minTime(from.Add(atOnce), to))
				if err := s.Close(); err != nil { // which seals: that is slower than appending
					b.Fatal(err)
				}
			}
		}
		begin := today.Add(-time.Duration(days) * day)
		live(&storetest.Home{Devices: 1, Every: h.Every}, today.Add(-time.Duration(year)*day), begin, 20*day)
		live(h, begin, homeNow, 8*time.Hour)
		if err := store.KeepAll(o, homeNow, h.Counter); err != nil {
			b.Fatal(err)
		}
		b.Logf("%d samples", samples)
	}
	s, err := store.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	s.Describe(h.Counter)
	b.Logf("a file of %d bytes", s.Health().FileBytes)
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// BenchmarkReads is what charts ask for. It reports the median and the 99th of
// 100 in ms; best is what a machine that does nothing else would show.
func BenchmarkReads(b *testing.B) {
	s := benchmarkHome(b)
	day := 24 * time.Hour
	chart := func(span time.Duration, width int) func() (int, error) {
		return func() (int, error) {
			c, err := s.Chart(b.Context(), storetest.HomeDevice(0), "temperature", homeNow.Add(-span), homeNow, width)
			return len(c.Samples) + len(c.Rows), err
		}
	}
	rows := func(span time.Duration, level store.Level) func() (int, error) {
		return func() (int, error) {
			all, err := s.Rows(b.Context(), storetest.HomeDevice(0), "temperature", homeNow.Add(-span), homeNow, level)
			return len(all), err
		}
	}
	for _, r := range []struct {
		name string
		read func() (int, error)
	}{
		{"24h-raw", func() (int, error) {
			all, err := s.History(b.Context(), storetest.HomeDevice(0), "temperature", homeNow.Add(-day), homeNow, 0)
			return len(all), err
		}},
		{"24h-800px", chart(day, 800)},
		{"month-5m", rows(30*day, store.FiveMinutes)},
		{"month-800px", chart(30*day, 800)},
		{"year-hours", rows(365*day, store.Hours)},
		{"year-days", rows(365*day, store.Days)},
		{"year-800px", chart(365*day, 800)},
	} {
		b.Run(r.name, func(b *testing.B) {
			points := 0
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				begin := time.Now()
				n, err := r.read()
				if took = append(took, time.Since(begin)); err != nil || n == 0 {
					b.Fatalf("%d points, %v", n, err)
				}
				points = n
			}
			slices.Sort(took)
			at := func(part float64) float64 { return took[int(part*float64(len(took)-1))].Seconds() * 1000 }
			b.ReportMetric(float64(points), "points")
			b.ReportMetric(at(0), "ms-best")
			b.ReportMetric(at(0.5), "ms-p50")
			b.ReportMetric(at(0.99), "ms-p99")
		})
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, _ := os.ReadFile("/proc/self/status") // where there is one
	b.Logf("a heap of %.1f MiB; %s", float64(m.HeapAlloc)/(1<<20), bytes.Join(resident.FindAll(status, -1), []byte(", ")))
}

var resident = regexp.MustCompile(`(VmRSS|RssAnon|RssFile):\s+\d+ kB`)

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
