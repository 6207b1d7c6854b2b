package store_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

func sayNow(t *testing.T, s *store.Store, device string, seq uint64) {
	t.Helper()
	done := make(chan error, 1)
	say(t, s, device, seq, store.Now, waiter(func(err error) { done <- err }))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// The database is lost, the log's files are not: what was not sealed is there.
func TestTheLogOutlivesItsDatabase(t *testing.T) {
	dir := t.TempDir()
	s, err := store.OpenUnsealed(store.Options{Dir: dir, Commit: 0})
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(20) {
		sayNow(t, s, "a", seq+1)
	}
	end(t, s)
	if err := os.WriteFile(filepath.Join(dir, "gateway.db"), make([]byte, 40_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = open(t, store.Options{Dir: dir, Commit: 0})
		if got := s.Hello("a", []protocol.Boot{{1}})[0]; got != 20 || s.Head() != 20 {
			t.Errorf("settled %d, head %d", got, s.Head())
		}
		end(t, s)
	}
}

// A place that is bad is named and counted; the rest is there.
func TestADamagedRecordIsLeftOut(t *testing.T) {
	disk := segmenttest.New(nil)
	dir := t.TempDir()
	s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0}, disk, 1<<20, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(100) {
		sayNow(t, s, "a", seq+1)
	}
	image := disk.Content() // before it is sealed
	database, err := os.ReadFile(filepath.Join(dir, "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	end(t, s)

	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gateway.db"), database, 0o600); err != nil {
		t.Fatal(err)
	}
	image["log-0001.seg"][4096+50*512+60] ^= 1
	var log bytes.Buffer
	s, err = store.OpenOn(store.Options{Dir: dir, Commit: 0, Log: slog.New(slog.NewTextHandler(&log, nil))}, segmenttest.New(image), 1<<20, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.History(context.Background(), "a", "temperature", time.Time{}, time.Now().Add(time.Hour), 0)
	if err != nil || len(got) != 99 || s.Health().Damaged == 0 || s.Head() != 100 {
		t.Errorf("%d samples, %v, %+v", len(got), err, s.Health())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "log-0001.seg from byte 29696") {
		t.Errorf("log:\n%s", log.String())
	}
}

// While the database cannot be written commits go on; they are sealed later.
func TestCommitsDoNotNeedTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, err := store.OpenUnsealed(store.Options{Dir: dir, Commit: 0})
		if err != nil {
			t.Fatal(err)
		}
		w := listen()
		say(t, s, "a", 1, store.Now, w)
		w.expect(t, "a/1 at 0s")
		time.Sleep(2 * time.Hour)
		say(t, s, "a", 2, store.Now, w)
		w.expect(t, "a/1 at 0s", "a/2 at 2h0m0s")
		if h := s.Health(); !h.Healthy || h.SealErr == "" {
			t.Errorf("health %+v", h)
		}
		s.SetFault(nil)
		time.Sleep(2 * time.Second)
		if h := s.Health(); h.SealErr != "" {
			t.Errorf("health afterwards %+v", h)
		}
		end(t, s)
	})
}
