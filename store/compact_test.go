package store_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// killed is what a gateway that was killed leaves: the database, and in the log's
// files what was not sealed yet.
func killed(t *testing.T, steps int) (segmenttest.Image, *script) {
	var image segmenttest.Image
	sc := &script{}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		disk := segmenttest.Reborn(nil)
		s, err := store.OpenOn(store.Options{Dir: dir, Commit: 0}, disk, cutSegment, cutSeal)
		if err != nil {
			t.Fatal(err)
		}
		table, err := store.OpenTable[string](s, "words")
		if err != nil {
			t.Fatal(err)
		}
		for n := range steps {
			sc.steps = append(sc.steps, course{}.next(n))
			if err := sc.ask(s, table, sc.steps[n], func(error) {}); err != nil {
				t.Fatal(err)
			}
			if n%3 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		sc.acked = []int{steps}
		image = disk.Content()
		if image["gateway.db"], err = os.ReadFile(filepath.Join(dir, "gateway.db")); err != nil {
			t.Fatal(err)
		}
		end(t, s)
	})
	return image, sc
}

// Power that is cut at any write of compact leaves the old database or the new
// one, and in either everything that was acknowledged.
func TestPowerCutDuringCompact(t *testing.T) {
	image, sc := killed(t, 300)
	dir := t.TempDir()
	path := filepath.Join(dir, "gateway.db")
	if err := os.WriteFile(path, image["gateway.db"], 0o600); err != nil {
		t.Fatal(err)
	}
	const tmp = "gateway.db.compact"
	disk := segmenttest.New(nil)
	disk.Put("gateway.db", image["gateway.db"])
	var size int64
	before, after, err := store.CompactWatched(dir, func(what string) {
		var err error
		switch what {
		case "create": // and what the library writes and syncs at once
			var content []byte
			if content, err = os.ReadFile(filepath.Join(dir, tmp)); err == nil {
				_, err = disk.Create(tmp)
			}
			size = int64(len(content))
			disk.Write(tmp, content, 0)
			disk.Sync(tmp)
		case "sync":
			disk.Sync(tmp)
		case "rename":
			err = disk.Rename(tmp, "gateway.db")
		case "syncdir":
			err = disk.SyncDir()
		default:
			err = fmt.Errorf("it did %s", what)
		}
		if err != nil {
			t.Fatal(err)
		}
	}, func(b []byte, off int64) error {
		if info, err := os.Stat(filepath.Join(dir, tmp)); err == nil && info.Size() > size {
			size = info.Size()
			disk.Resize(tmp, size)
		}
		disk.Write(tmp, b, off)
		return nil
	})
	if err != nil || after >= before {
		t.Fatalf("%d bytes before, %d after: %v", before, after, err)
	}
	compacted, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	each := 30
	if underRace {
		each = 4
	}
	left := map[bool]int{}
	checked := memoryDir(t)
	disk.Cuts(each, rand.New(rand.NewPCG(5, 6)), func(at int, now segmenttest.Image) {
		isNew := bytes.Equal(now["gateway.db"], compacted)
		if !isNew && !bytes.Equal(now["gateway.db"], image["gateway.db"]) {
			t.Errorf("cut before operation %d: it is neither the old database nor the new one", at)
			return
		}
		left[isNew]++
		if n := left[isNew]; n > 20 && n%10 != 0 {
			return // the bytes are those of one that was opened
		}
		files := maps.Clone(image)
		maps.Copy(files, now)
		if err := sc.verify(store.Options{Dir: checked, Commit: 0}, files, 0, true); err != nil {
			t.Errorf("cut before operation %d of %d: %v", at, disk.Len(), err)
		}
	})
	t.Logf("%d operations; the old one was left %d times, the new one %d times", disk.Len(), left[false], left[true])
	if left[false] == 0 || left[true] == 0 {
		t.Error("one of them was never left")
	}
}
