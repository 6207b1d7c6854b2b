package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// open opens a store that checks itself when the test ends.
func open(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := store.OpenFaulty(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// end checks and closes the store.
func end(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// told notes when, and in which order, the committer told about entries.
type told struct {
	start time.Time
	mu    sync.Mutex
	at    []string
}

func listen() *told { return &told{start: time.Now()} }

func (w *told) Committed(e *store.Entry, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := fmt.Sprintf("%s/%d at %v", e.Device, e.Seq, time.Since(w.start))
	if err != nil {
		s += ": " + err.Error()
	}
	w.at = append(w.at, s)
}

func (w *told) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.at)
}

// expect compares all that was told so far.
func (w *told) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := strings.Join(w.at, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("told:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// say appends one frame of a device.
func say(t *testing.T, s *store.Store, device string, seq uint64, u store.Urgency, w store.Waiter) (repeat bool) {
	t.Helper()
	now := time.Now()
	repeat, err := s.Append(&store.Entry{Kind: store.Telemetry, Device: device, Boot: protocol.Boot{1}, Seq: seq, Received: now.UnixMilli(),
		Records: []protocol.Record{{Name: "temperature", Value: protocol.Float(float64(seq) / 2), Time: now.UnixNano()}}}, u, w)
	if err != nil {
		t.Fatal(err)
	}
	return repeat
}

func TestMeasurementWaitsForOthersASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{Commit: -1})
		defer end(t, s)
		w := listen()
		say(t, s, "a", 1, store.Measured, w)
		time.Sleep(400 * time.Millisecond)
		say(t, s, "b", 1, store.Measured, w)
		time.Sleep(599 * time.Millisecond)
		w.expect(t)
		time.Sleep(time.Millisecond)
		w.expect(t, "a/1 at 1s", "b/1 at 1s")
		say(t, s, "a", 2, store.Measured, w)
		time.Sleep(time.Second)
		w.expect(t, "a/1 at 1s", "b/1 at 1s", "a/2 at 2s")
		if n := s.Health().Commits; n != 2 {
			t.Errorf("%d commits, want 2", n)
		}
	})
}

func TestUrgentTakesTheOthersAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{Commit: -1})
		defer end(t, s)
		w := listen()
		say(t, s, "a", 1, store.Rides, w)
		say(t, s, "b", 1, store.Measured, w)
		time.Sleep(300 * time.Millisecond)
		say(t, s, "c", 1, store.Urgent, w)
		w.expect(t, "a/1 at 300ms", "b/1 at 300ms", "c/1 at 300ms")
		say(t, s, "a", 2, store.Now, w)
		w.expect(t, "a/1 at 300ms", "b/1 at 300ms", "c/1 at 300ms", "a/2 at 300ms")
	})
}

func TestRidesAloneAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, commit := range []time.Duration{-1, 0} {
			s := open(t, store.Options{Commit: commit})
			w := listen()
			say(t, s, "a", 1, store.Rides, w)
			time.Sleep(30 * time.Second)
			say(t, s, "b", 1, store.Rides, w)
			time.Sleep(30*time.Second - time.Nanosecond)
			w.expect(t)
			time.Sleep(time.Nanosecond)
			w.expect(t, "a/1 at 1m0s", "b/1 at 1m0s")
			end(t, s)
		}
	})
}

func TestCommitZeroIsAsFastAsTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{Commit: 0})
		defer end(t, s)
		w := listen()
		say(t, s, "a", 1, store.Measured, w)
		w.expect(t, "a/1 at 0s")
	})
}

func TestAFullBatchStartsAtOnce(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, s *store.Store, w store.Waiter){
		"256 entries": func(t *testing.T, s *store.Store, w store.Waiter) {
			for i := range 256 {
				say(t, s, "a", uint64(i+1), store.Measured, w)
			}
		},
		"64 KiB": func(t *testing.T, s *store.Store, w store.Waiter) {
			for i := range 65 {
				_, err := s.Append(&store.Entry{Kind: store.Telemetry, Device: "a", Seq: uint64(i + 1),
					Records: []protocol.Record{{Name: "t", Value: protocol.Text(strings.Repeat("x", 1024))}}}, store.Measured, w)
				if err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, store.Options{Commit: -1})
				defer end(t, s)
				w := listen()
				fill(t, s, w)
				synctest.Wait()
				if w.count() == 0 {
					t.Error("nothing was committed at once")
				}
			})
		})
	}
}

func TestUrgencyOfOneDeviceIsRationed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{Commit: -1})
		defer end(t, s)
		w := listen()
		for i := range 13 { // all within 130 ms
			say(t, s, "chatty", uint64(i+1), store.Urgent, w)
			synctest.Wait()
			if i == 11 { // another device is not made to wait
				say(t, s, "door", 1, store.Urgent, w)
				synctest.Wait()
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		w.expect(t, "chatty/1 at 0s", "chatty/2 at 10ms", "chatty/3 at 20ms", "chatty/4 at 30ms", "chatty/5 at 40ms",
			"chatty/6 at 50ms", "chatty/7 at 60ms", "chatty/8 at 70ms", "chatty/9 at 80ms", "chatty/10 at 90ms",
			"chatty/11 at 100ms", "chatty/12 at 110ms", "door/1 at 110ms", // the door's commit took them along
			"chatty/13 at 170ms")
		time.Sleep(2 * time.Second) // quiet again: at once again
		say(t, s, "chatty", 14, store.Urgent, w)
		synctest.Wait()
		if last := w.at[w.count()-1]; last != "chatty/14 at 3.13s" {
			t.Errorf("after a pause: %s", last)
		}
	})
}

func TestUrgencyOfAllTogetherIsRationed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{Commit: -1})
		defer end(t, s)
		w := listen()
		for second := range 5 {
			for i := range 100 {
				say(t, s, fmt.Sprint("d", i), uint64(second+1), store.Urgent, w)
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		if n := w.count(); n != 500 {
			t.Errorf("%d were told, want 500", n)
		}
		if n := s.Health().Commits; n < 80 || n > 125 { // 20 at once, then each 50 ms
			t.Errorf("%d commits in 5 s", n)
		}
	})
}

func TestRepeatsAreToldButNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{Commit: -1})
		defer end(t, s)
		w, again := listen(), listen()
		say(t, s, "a", 5, store.Measured, w)
		for _, seq := range []uint64{5, 3} {
			if !say(t, s, "a", seq, store.Measured, again) {
				t.Errorf("seq %d is no repeat", seq)
			}
		}
		again.expect(t) // what they repeat is not durable yet
		time.Sleep(time.Second)
		w.expect(t, "a/5 at 1s")
		again.expect(t, "a/5 at 1s", "a/3 at 1s")

		commits := s.Health().Commits
		if !say(t, s, "a", 4, store.Now, again) {
			t.Error("seq 4 is no repeat")
		}
		again.expect(t, "a/5 at 1s", "a/3 at 1s", "a/4 at 1s") // durable: told without a sync
		if h := s.Health(); h.Commits != commits || h.Repeats != 3 || h.Entries != 1 {
			t.Errorf("health %+v", h)
		}
		if repeat := say(t, s, "b", 5, store.Now, w); repeat {
			t.Error("another device's seq is a repeat")
		}
	})
}

func TestImpatientRepeatHurriesItsOriginal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{Commit: -1})
		defer end(t, s)
		w := listen()
		say(t, s, "a", 1, store.Measured, w)
		say(t, s, "a", 1, store.Now, w)
		w.expect(t, "a/1 at 0s", "a/1 at 0s")
	})
}

func TestACommitThatFailsIsTriedAgainAndNobodyIsLiedTo(t *testing.T) {
	full := func(s *store.Store, broken *atomic.Bool) {
		s.SetFault(func() error {
			if broken.Load() {
				return syscall.ENOSPC
			}
			return nil
		})
	}
	io := func(s *store.Store, broken *atomic.Bool) {
		s.SetFault(func() error {
			if broken.Load() {
				return syscall.EIO
			}
			return nil
		})
	}
	type way struct {
		logIn store.LogIn
		fail  func(s *store.Store, broken *atomic.Bool)
	}
	for name, w := range map[string]way{
		"files, disk full":   {store.Files, full},
		"files, write error": {store.Files, io},
		"disk full":          {store.InBolt, full},
		"unknown trouble": {store.InBolt, func(s *store.Store, broken *atomic.Bool) {
			s.SetFault(func() error {
				if broken.Load() {
					return errors.New("the cat sat on it")
				}
				return nil
			})
		}},
		"write error": {store.InBolt, func(s *store.Store, broken *atomic.Bool) { // until the file is opened anew
			s.OnWrite(func([]byte, int64) error {
				if broken.Load() {
					return syscall.EIO
				}
				return nil
			})
		}},
		"meta page cannot be written": {store.InBolt, func(s *store.Store, broken *atomic.Bool) {
			s.OnWrite(func(_ []byte, off int64) error {
				if broken.Load() && off < 8192 {
					return syscall.EIO
				}
				return nil
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				dir := t.TempDir()
				s := open(t, store.Options{Dir: dir, Commit: 0, LogIn: w.logIn, Log: slog.New(slog.NewTextHandler(&log, nil))})
				table, err := store.OpenTable[string](s, "words")
				if err != nil {
					t.Fatal(err)
				}
				fail := w.fail
				w := listen()
				say(t, s, "a", 1, store.Measured, w)
				synctest.Wait()
				var broken atomic.Bool
				broken.Store(true)
				fail(s, &broken)
				say(t, s, "a", 2, store.Measured, w)
				time.Sleep(500 * time.Millisecond)
				w.expect(t, "a/1 at 0s")
				if h := s.Health(); h.Healthy || h.Err == "" || h.Pending != 1 {
					t.Errorf("health while failing: %+v", h)
				}
				if got := s.Hello("a", []protocol.Boot{{1}}); got[0] != 1 {
					t.Errorf("settled %d while 2 is not on disk", got[0])
				}
				if v, _ := s.NewestOf("a", "temperature"); v.Value != protocol.Float(0.5) {
					t.Errorf("newest %v is not on disk", v)
				}
				say(t, s, "a", 3, store.Measured, w)
				if err := table.Put("k", "v", store.Now, nil); err != nil {
					t.Fatal(err)
				}
				broken.Store(false)
				time.Sleep(time.Second)
				w.expect(t, "a/1 at 0s", "a/2 at 1s", "a/3 at 1s")
				if h := s.Health(); !h.Healthy || h.Pending != 0 {
					t.Errorf("health afterwards: %+v", h)
				}
				if n := strings.Count(log.String(), "cannot write"); n != 1 {
					t.Errorf("said %d times that it cannot write:\n%s", n, log.String())
				}
				if !strings.Contains(log.String(), "writes again") {
					t.Errorf("did not say that it writes again:\n%s", log.String())
				}
				end(t, s)

				s = open(t, store.Options{Dir: dir})
				defer end(t, s)
				if got := s.Hello("a", []protocol.Boot{{1}}); got[0] != 3 {
					t.Errorf("settled %d after a restart, want 3", got[0])
				}
				if s.Head() != 3 {
					t.Errorf("%d entries in the log, want 3", s.Head())
				}
			})
		})
	}
}

func TestCloseTellsWhatItCouldNotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, store.Options{Dir: dir, Commit: 0})
		s.SetFault(func() error { return syscall.ENOSPC })
		w := listen()
		say(t, s, "a", 1, store.Measured, w)
		time.Sleep(100 * time.Millisecond)
		say(t, s, "a", 2, store.Measured, w)
		say(t, s, "a", 1, store.Measured, w)
		if err := s.Close(); err == nil {
			t.Error("Close said nothing")
		}
		lost := " at 100ms: " + store.ErrClosed.Error()
		w.expect(t, "a/1"+lost, "a/2"+lost, "a/1"+lost)
		if _, err := s.Append(&store.Entry{}, store.Now, nil); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Append after Close: %v", err)
		}
		end(t, open(t, store.Options{Dir: dir}))
	})
}

func TestCloseCommitsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{Commit: -1})
		w := listen()
		say(t, s, "a", 1, store.Rides, w)
		say(t, s, "b", 1, store.Measured, w)
		end(t, s)
		w.expect(t, "a/1 at 0s", "b/1 at 0s")
	})
}

func TestTooMuchThatWaitsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Options{Commit: 0})
		s.SetFault(func() error { return syscall.ENOSPC })
		text := protocol.Text(strings.Repeat("x", 1<<20))
		refused := false
		for i := range 40 {
			_, err := s.Append(&store.Entry{Kind: store.Telemetry, Device: "a", Seq: uint64(i + 1), Records: []protocol.Record{{Value: text}}}, store.Now, nil)
			if errors.Is(err, store.ErrOverloaded) {
				refused = true
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if h := s.Health(); !refused || h.Bytes > 33<<20 {
			t.Errorf("refused: %v with %d bytes waiting", refused, h.Bytes)
		}
		synctest.Wait()
		s.SetFault(func() error { return nil })
		time.Sleep(2 * time.Second)
		say(t, s, "a", 1000, store.Now, nil)
		end(t, s)
	})
}
