package mqtt

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// While the disk takes nothing, a device's first states are published all the same;
// the list of topics gets on disk when that works again.
func TestTopicsAreOwnedThoughTheDiskTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := segmenttest.New(nil)
		var broken atomic.Bool
		disk.Fault = func(string, string) error {
			if broken.Load() {
				return syscall.EIO
			}
			return nil
		}
		dir := t.TempDir()
		s, err := store.Open(store.Options{Dir: dir, FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		own := func(topic string) {
			t.Helper()
			o, err := openOwned(s, "mqtt_topics")
			if err != nil {
				t.Fatal(err)
			}
			o.own("lamp", topic, 0)
			if err := o.flush(); err != nil {
				t.Errorf("%s: %v", topic, err)
			}
		}
		own("before")
		broken.Store(true)
		own("broken a moment ago")
		time.Sleep(20 * time.Second)
		if !s.Era().InMemory() {
			t.Error("the store does not work in memory only: the test shows nothing")
		}
		own("in memory only")
		broken.Store(false)
		time.Sleep(20 * time.Second)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = store.Open(store.Options{Dir: dir, FS: disk}); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		o, err := openOwned(s, "mqtt_topics")
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Sorted(maps.Keys(o.of("lamp").Topics))
		if want := []string{"before", "broken a moment ago", "in memory only"}; !slices.Equal(got, want) {
			t.Errorf("the list has %q, want %q", got, want)
		}
	})
}

// fill appends until the store takes nothing more, however small.
func fill(t *testing.T, s *store.Store) {
	t.Helper()
	for size := 1 << 20; size > 0; size /= 32 {
		large := protocol.Record{Name: "text", Value: protocol.Text(strings.Repeat("x", size)), Time: time.Now().UnixNano()}
		var err error
		for err == nil {
			e := &store.Entry{Kind: store.Imported, Device: "lamp", Received: time.Now().UnixMilli(), Records: []protocol.Record{large}}
			_, err = s.Append(e, store.Now, nil)
		}
		if !errors.Is(err, store.ErrOverloaded) {
			t.Fatal(err)
		}
	}
}

// A list that the store does not take now, since too much waits for the disk, is
// written down with the next: else a removal would leave what it names behind.
func TestAListThatWasNotTakenIsWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := segmenttest.New(nil)
		var broken atomic.Bool
		disk.Fault = func(string, string) error {
			if broken.Load() {
				return syscall.EIO
			}
			return nil
		}
		dir := t.TempDir()
		s, err := store.Open(store.Options{Dir: dir, FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		o, err := openOwned(s, "mqtt_topics")
		if err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		fill(t, s)
		topics := []string{strings.Repeat("long/", 400_000), "short"}
		for i, owner := range []string{"lamp", "plug"} {
			o.own(owner, topics[i], 0)
		}
		if err := o.flush(); !errors.Is(err, store.ErrOverloaded) {
			t.Fatalf("with a full queue: %v: the test shows nothing", err)
		}
		broken.Store(false)
		time.Sleep(20 * time.Second)
		for i, owner := range []string{"lamp", "plug"} {
			o.own(owner, topics[i], 0) // as for the next message on it
		}
		if err := o.flush(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = store.Open(store.Options{Dir: dir, FS: disk}); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if o, err = openOwned(s, "mqtt_topics"); err != nil {
			t.Fatal(err)
		}
		for i, owner := range []string{"lamp", "plug"} {
			if !o.knows(owner, topics[i]) {
				t.Errorf("the list has nothing of %s", owner)
			}
		}
	})
}
