package store_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/storetest"
	bolt "go.etcd.io/bbolt"
)

// A file with pages of 16 KiB, as a kernel of a Pi 5 would have had them made, is
// opened, read and written as it is, and gets ours when it is compacted.
func TestAFileWithLargePages(t *testing.T) {
	dir := t.TempDir()
	h := &storetest.Home{Devices: 3, Every: time.Minute}
	s := open(t, store.Options{Dir: dir})
	h.Live(t, s, 0, june, june.Add(30*time.Hour))
	read := func() (all []any) {
		for device := range h.Devices {
			samples, err := s.History(t.Context(), storetest.HomeDevice(device), "energy", june, june.Add(40*time.Hour), 0)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := s.Rows(t.Context(), storetest.HomeDevice(device), "energy", june, june.Add(40*time.Hour), store.Hours)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, samples, rows)
		}
		return all
	}
	want := read()
	end(t, s)

	path := filepath.Join(dir, "gateway.db")
	repage(t, path, 16<<10)
	s = open(t, store.Options{Dir: dir})
	if !reflect.DeepEqual(read(), want) {
		t.Error("it reads otherwise")
	}
	h.Live(t, s, 0, june.Add(30*time.Hour), june.Add(31*time.Hour))
	want = read()
	end(t, s)

	if _, _, err := store.Compact(dir); err != nil {
		t.Fatal(err)
	}
	if n := pageSize(t, path); n != 4096 {
		t.Errorf("pages of %d bytes after compacting", n)
	}
	s = open(t, store.Options{Dir: dir})
	defer end(t, s)
	if !reflect.DeepEqual(read(), want) {
		t.Error("it reads otherwise after compacting")
	}
}

// repage copies a database into one with other pages.
func repage(t *testing.T, path string, size int) {
	t.Helper()
	from, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	to, err := bolt.Open(path+".large", 0o600, &bolt.Options{PageSize: size})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{bolt.Compact(to, from, 0), to.Close(), from.Close(), os.Rename(path+".large", path)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := pageSize(t, path); n != size {
		t.Fatalf("pages of %d bytes", n)
	}
}

func pageSize(t *testing.T, path string) int {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.Info().PageSize
}
