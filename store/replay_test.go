package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/storetest"
)

// replayMe tells the test binary to be the process that starts after a kill.
const replayMe = "HEARTHGATE_TEST_REPLAY_DIR"

// replayed is what that process found. Memory is in MiB, that of the process, and
// above what it took before the store was opened.
type replayed struct {
	Open, Read, Sealed float64 // ms: until the store is open, its reader has read all, nothing is in the log alone
	OpenPeak, Peak     float64 // memory at most, until it was open and in all
	Heap               float64 // in use at the end
	Entries            int     // that the reader read
}

// BenchmarkReplay is the start after a kill -9 with an hour of log that is nowhere
// else, and a reader that is an hour behind: a home of 50 devices, and 1,000 devices,
// which say six values every ten seconds each, a commit a second.
func BenchmarkReplay(b *testing.B) {
	for _, r := range []struct {
		name    string
		devices int
	}{{"home", 50}, {"thousand", 1000}} {
		b.Run(r.name, func(b *testing.B) {
			killed := filepath.Join(b.TempDir(), "killed")
			samples := hourOfLog(b, killed, r.devices)
			var sum, most replayed
			for n := range b.N {
				b.StopTimer()
				dir := filepath.Join(b.TempDir(), strconv.Itoa(n))
				if err := os.CopyFS(dir, os.DirFS(killed)); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				is := startAgain(b, dir)
				if is.Entries*6 < samples {
					b.Fatalf("%d entries were read of %d samples", is.Entries, samples)
				}
				sum.Open, sum.Read, sum.Sealed = sum.Open+is.Open, sum.Read+is.Read, sum.Sealed+is.Sealed
				most.OpenPeak, most.Peak, most.Heap = max(most.OpenPeak, is.OpenPeak), max(most.Peak, is.Peak), max(most.Heap, is.Heap)
			}
			b.ReportMetric(sum.Open/float64(b.N), "ms-open")
			b.ReportMetric(sum.Read/float64(b.N), "ms-read")
			b.ReportMetric(sum.Sealed/float64(b.N), "ms-sealed")
			b.ReportMetric(most.OpenPeak, "MiB-open")
			b.ReportMetric(most.Peak, "MiB-peak")
			b.ReportMetric(most.Heap, "MiB-heap")
			b.ReportMetric(float64(samples), "samples")
		})
	}
}

// hourOfLog leaves an hour of log in dir, none of it sealed or read.
func hourOfLog(b *testing.B, dir string, devices int) (samples int) {
	s, err := store.OpenUnsealed(store.Options{Dir: dir, Commit: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Tail("mqtt"); err != nil {
		b.Fatal(err)
	}
	h := &storetest.Home{Devices: devices, Every: 10 * time.Second}
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	for second := range 3600 {
		at := begin.Add(time.Duration(second) * time.Second)
		done := make(chan error, 1)
		var last *store.Entry
		for d := second % 10; d < devices; d += 10 {
			if last != nil {
				if _, err := s.Append(last, store.Measured, nil); err != nil {
					b.Fatal(err)
				}
			}
			last = &store.Entry{Kind: store.Telemetry, Device: storetest.HomeDevice(d), Boot: protocol.Boot{byte(d), byte(d >> 8)},
				Seq: uint64(second/10 + 1), Received: at.UnixMilli() + int64(d), Records: h.Measure(d)}
			for i := range last.Records {
				last.Records[i].Time, last.Records[i].Absolute = last.Received*1e6, true
			}
			samples += len(last.Records)
		}
		if _, err := s.Append(last, store.Now, waiter(func(err error) { done <- err })); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return samples
}

// startAgain is a start in a process of its own, so that its memory can be told.
func startAgain(b *testing.B, dir string) (is replayed) {
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), replayMe+"="+dir), os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &is)
	}
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return is
}

// replayAndTell is that process.
func replayAndTell(dir string) error {
	before, err := memoryOf("VmRSS")
	if err != nil {
		return err
	}
	var is replayed
	begin := time.Now()
	since := func() float64 { return float64(time.Since(begin).Microseconds()) / 1000 }
	peak := func() float64 {
		kib, perr := memoryOf("VmHWM")
		if perr != nil {
			err = perr
		}
		return (kib - before) / 1024
	}
	s, oerr := store.Open(store.Options{Dir: dir})
	if oerr != nil {
		return oerr
	}
	is.Open, is.OpenPeak = since(), peak()
	tail, terr := s.Tail("mqtt")
	if terr != nil {
		return terr
	}
	for end := s.Head(); ; {
		entries, skipped, err := tail.Next(context.Background(), 256)
		if err != nil || skipped > 0 {
			return fmt.Errorf("%d entries were skipped: %w", skipped, err)
		}
		last := entries[len(entries)-1].Pos
		is.Entries += len(entries)
		if tail.Advance(last); last == end {
			break
		}
	}
	is.Read = since()
	if err := s.Snapshot(context.Background(), func(*store.Copy) error { return nil }); err != nil {
		return err
	}
	is.Sealed, is.Peak = since(), peak()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	is.Heap = float64(m.HeapAlloc) / (1 << 20)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(is)
}

// memoryOf is a line of /proc/self/status in KiB.
func memoryOf(what string) (kib float64, err error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), what+":")
	_, err = fmt.Sscan(rest, &kib)
	return kib, err
}
