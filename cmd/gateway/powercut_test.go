package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/pki"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// spoken is the data directory of a home in which something was said that MQTT has
// not got yet, and its backup.
func spoken(t *testing.T, frames int) (data, backup string) {
	t.Helper()
	data, backup = newHome(t), filepath.Join(t.TempDir(), "home.tar")
	mustType(t, "device", "add", "kitchen", "--data", data)
	_, err := pki.Open(pki.Options{Dir: filepath.Join(data, "ca"), Built: buildDate})
	must(t, err)
	s, err := store.Open(store.Options{Dir: data})
	must(t, err)
	_, err = s.Tail("mqtt")
	must(t, err)
	for i := range frames {
		at := time.Date(2026, 11, 1, 0, 0, i, 0, time.UTC)
		_, err := s.Append(&store.Entry{Kind: store.Telemetry, Device: "kitchen", Boot: protocol.Boot{1}, Seq: uint64(i + 1), Received: at.UnixMilli(),
			Records: []protocol.Record{{Name: "temperature", Value: protocol.Float(20 + float64(i%10)/2), Time: at.UnixNano()}}}, store.Measured, nil)
		must(t, err)
	}
	must(t, s.Close())
	mustType(t, "backup", backup, "--data", data)
	return data, backup
}

// journal notes on a simulated disk what a restore does to a real directory.
type journal struct {
	t    *testing.T
	dir  string
	disk *segmenttest.Disk
	size map[string]int
}

func (j *journal) did(what, path string) {
	name, err := filepath.Rel(j.dir, path)
	must(j.t, err)
	switch what {
	case "written":
		content, err := os.ReadFile(path)
		must(j.t, err)
		if _, there := j.size[name]; !there {
			_, err = j.disk.Create(name)
			must(j.t, err)
		}
		j.size[name] = len(content)
		for from := 0; from < len(content); from += 16 << 10 {
			j.disk.Write(name, content[from:min(len(content), from+16<<10)], int64(from))
		}
	case "synced":
		j.disk.Sync(name)
	case "moved": // with all that is below
		for old := range j.size {
			if rest, below := strings.CutPrefix(old, filepath.Join(restoring, name)); below {
				must(j.t, j.disk.Rename(old, name+rest))
			}
		}
	case "names synced":
		must(j.t, j.disk.SyncDir())
	default:
		j.t.Fatal(what)
	}
}

// put makes a directory of what a power cut left.
func put(t *testing.T, image segmenttest.Image) (dir string) {
	t.Helper()
	dir = t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	for name, content := range image {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, content, 0o600))
	}
	return dir
}

// Power that is cut at any write of a restore leaves a whole home or none, and
// where there is none the restore can be made again.
func TestPowerCutDuringRestore(t *testing.T) {
	data, backup := spoken(t, 500)
	want := mustType(t, "export", "--data", data)
	keys := map[string][]byte{}
	for _, name := range []string{"ca.crt", "ca.key"} {
		b, err := os.ReadFile(filepath.Join(data, "ca", name))
		must(t, err)
		keys[name] = b
	}
	whole := func(dir string) {
		t.Helper()
		if found, err := checkOffline(dir); err != nil || !found.OK {
			t.Errorf("%v %v", found.Findings, err)
		}
		if got := mustType(t, "export", "--data", dir); got != want {
			t.Errorf("%d bytes are exported, %d were", len(got), len(want))
		}
		unread(t, dir, "kitchen", 500)
		for name, content := range keys {
			if got, err := os.ReadFile(filepath.Join(dir, "ca", name)); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	j := &journal{t, filepath.Join(t.TempDir(), "data"), segmenttest.New(nil), map[string]int{}}
	_, err := restoration{j.dir, j.did, &progress{}}.from(backup)
	must(t, err)
	whole(j.dir)

	fresh, restored, again := 0, 0, 0
	looked := map[string]bool{}
	j.disk.Cuts(3, rand.New(rand.NewPCG(7, 8)), func(at int, image segmenttest.Image) {
		names := sortedKeys(image)
		if _, ok := image[databaseName]; ok {
			restored++
			whole(put(t, image))
			return
		}
		fresh++
		kind := strings.Join(names, " ")
		if looked[kind] || t.Failed() {
			return
		}
		looked[kind] = true
		again++
		dir := put(t, image)
		if len(image) > 0 && halfRestored(dir) == nil {
			t.Errorf("cut before operation %d: a gateway would start with %v", at, names)
		}
		_, err := restore(backup, dir, &progress{})
		must(t, err)
		whole(dir)
	})
	t.Logf("%d operations; %d images with a home, %d without, restored again from %d", j.disk.Len(), restored, fresh, again)
	if fresh == 0 || restored == 0 || again == 0 {
		t.Error("something was never left")
	}
}

// A restore is killed after each of its steps: the next try makes it good.
func TestAKillDuringARestore(t *testing.T) {
	data, backup := spoken(t, 20)
	want := mustType(t, "export", "--data", data)
	type killed struct{}
	for n := 0; ; n++ {
		dir, steps := filepath.Join(t.TempDir(), "data"), 0
		finished := func() (finished bool) {
			defer func() {
				if p := recover(); p != nil && p != (killed{}) {
					panic(p)
				}
			}()
			_, err := restoration{dir, func(string, string) {
				if steps++; steps > n {
					panic(killed{})
				}
			}, &progress{}}.from(backup)
			must(t, err)
			return true
		}()
		if _, err := os.Stat(filepath.Join(dir, databaseName)); err != nil {
			if _, _, err := typed(t, "", "serve", "--data", dir); err == nil || !strings.Contains(err.Error(), "cut off") {
				t.Fatalf("after %d steps a gateway would start: %v", n, err)
			}
			mustType(t, "restore", backup, "--data", dir)
		}
		g, err := open(&Config{Data: dir, MQTTBaseTopic: "hearthgate", StoreLog: "file"}, newLog(&bytes.Buffer{}, &Config{}))
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		must(t, g.run(ctx))
		if got := mustType(t, "export", "--data", dir); !strings.HasPrefix(got, want) {
			t.Errorf("after %d steps: %d bytes of %d", n, len(got), len(want))
		}
		unread(t, dir, "kitchen", 20)
		if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
			t.Errorf("after %d steps %v are left", n, left)
		}
		if finished {
			return
		}
	}
}
