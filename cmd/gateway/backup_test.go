package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// chatter reports 1, 2, 3 … and knows up to which the gateway has acknowledged.
type chatter struct {
	acked atomic.Int64
	stop  context.CancelFunc
	done  chan struct{}
}

func (s *served) chatter(id, token string) *chatter {
	s.t.Helper()
	d := s.lampDevice(id, token, "ws://"+s.http+"/device")
	ctx, stop := context.WithCancel(context.Background())
	c := &chatter{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for i := int64(1); ; i++ {
			d.Report(protocol.Record{Name: "temperature", Value: protocol.Int(i)})
			if d.Flush(ctx) != nil {
				return
			}
			c.acked.Store(i)
		}
	}()
	s.t.Cleanup(c.end)
	return c
}

func (c *chatter) end() { c.stop(); <-c.done }

// holds fails unless the export has each value from 1 to n once, in order. More
// may follow.
func (s *served) holds(id string, n int64) {
	s.t.Helper()
	next := int64(1)
	for line := range strings.Lines(s.mustRun("export", id, "--format", "jsonl")) {
		var r struct {
			N string
			V int64
		}
		must(s.t, json.Unmarshal([]byte(line), &r))
		if r.N != "temperature" {
			continue
		}
		if r.V != next {
			s.t.Fatalf("%d stands where %d belongs", r.V, next)
		}
		next++
	}
	if next <= n {
		s.t.Errorf("the values end at %d, but those up to %d were acknowledged", next-1, n)
	}
}

// A home is backed up while its devices talk, and moved to another directory:
// everything acknowledged before is there, the devices are let in with their old
// tokens and trust the old CA, and MQTT is told that positions start anew.
func TestBackupWhileDevicesTalkAndRestore(t *testing.T) {
	s := newServed(t, "--store.commit", "0s").start()
	tokens := s.fleet("talk", 2)
	epoch := observe(t, s.mqtt, "hearthgate/bridge/epoch").wait("hearthgate/bridge/epoch", func(text string) bool { return text != "" })
	acked := map[string]int64{}
	talk := map[string]*chatter{}
	for id, token := range tokens {
		talk[id] = s.chatter(id, token)
	}
	file := filepath.Join(t.TempDir(), "home.tar")
	for range 3 { // the later ones find little to seal and replace the file
		for id, c := range talk {
			before := c.acked.Load()
			proctest.Until(t, "the device goes on", func() bool { return c.acked.Load() > before+20 })
			acked[id] = c.acked.Load()
		}
		if out := s.mustRun("backup", file); !strings.Contains(out, "secrets") {
			t.Error(out)
		}
	}
	if out := s.mustRun("backup", "--verify", file); !strings.Contains(out, "is whole") {
		t.Error(out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the backup: %v %v", info.Mode(), err)
	}
	if out := s.mustRun("check"); !strings.Contains(out, "sound") {
		t.Error(out)
	}
	if out, err := s.hearthgate("restore", file); err == nil || !strings.Contains(err.Error(), "a gateway is running") {
		t.Errorf("a restore over a running gateway: %s %v", out, err)
	}
	if out, err := s.hearthgate("compact"); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("compacting a running gateway: %s %v", out, err)
	}
	for _, c := range talk {
		c.end()
	}
	s.Stop()
	if out, err := s.hearthgate("restore", file); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a restore over a home: %s %v", out, err)
	}

	moved := newServed(t)
	if out := moved.mustRun("restore", file); !strings.Contains(out, "hearthgate serve --data "+moved.data) {
		t.Error(out)
	}
	if out := moved.mustRun("compact"); !strings.Contains(out, "gateway.db") {
		t.Error(out)
	}
	moved.start()
	for id, n := range acked {
		moved.holds(id, n)
	}
	if now := observe(t, moved.mqtt, "hearthgate/bridge/epoch").wait("hearthgate/bridge/epoch", func(text string) bool { return text != "" }); now == epoch {
		t.Errorf("the epoch is still %s", now)
	}
	for _, name := range []string{"ca.crt", "ca.key"} {
		was, err := os.ReadFile(filepath.Join(s.data, "ca", name))
		must(t, err)
		is, err := os.ReadFile(filepath.Join(moved.data, "ca", name))
		must(t, err)
		if !bytes.Equal(was, is) {
			t.Errorf("%s is another", name)
		}
	}
	o := observe(t, moved.mqtt, "hearthgate/device/#")
	d := moved.lampDevice("talk-001", tokens["talk-001"], "wss://"+moved.https+"/device")
	d.Report(protocol.Record{Name: "temperature", Value: protocol.Int(-1)})
	o.wait("hearthgate/device/talk-001/temperature/state", is("-1"))
}

// What happened to a backup on its stick is noticed before anything is made of it.
func TestADamagedBackupIsRefused(t *testing.T) {
	s := newServed(t).start()
	s.fleet("lamp", 3)
	dir := t.TempDir()
	file := filepath.Join(dir, "home.tar")
	s.mustRun("backup", file)
	whole, err := os.ReadFile(file)
	must(t, err)
	ends := []int{0, 1, 511, 512, 1024, len(whole) / 2, len(whole) - 1024, len(whole) - 512, len(whole) - 1}
	for _, n := range ends {
		refused(t, s, fmt.Sprintf("cut to %d bytes", n), whole[:n], dir)
	}
	for _, text := range []string{`"epoch":"`, "manifest.json", "-----BEGIN", "  gateway.db\n", "devices", "ca/ca.key"} {
		at := bytes.Index(whole, []byte(text))
		if at < 0 {
			continue
		}
		bad := bytes.Clone(whole)
		bad[at+len(text)-1] ^= 1
		refused(t, s, fmt.Sprintf("a bit of %q flipped", text), bad, dir)
	}
	refused(t, s, "something else", []byte(strings.Repeat("not a backup ", 1000)), dir)
	must(t, os.WriteFile(file, whole, 0o600))
	s.mustRun("backup", "--verify", file)
}

func refused(t *testing.T, s *served, what string, content []byte, dir string) {
	t.Helper()
	file, data := filepath.Join(dir, "bad.tar"), filepath.Join(dir, "data")
	must(t, os.WriteFile(file, content, 0o600))
	if _, err := readArchive(file, "", watching{}); err == nil || !strings.Contains(err.Error(), "backup "+file) {
		t.Errorf("%s: %v", what, err)
		return
	}
	if _, err := restore(file, data, &progress{}); err == nil {
		t.Errorf("%s: it was restored", what)
	}
	if _, err := os.Stat(data); err == nil {
		t.Errorf("%s: something was left in the data directory", what)
	}
}

// The gateway is killed while it makes a backup: no file under the backup's name,
// everything acknowledged is there, and the next start leaves nothing of it.
func TestAKillDuringABackup(t *testing.T) {
	s := newServed(t, "--store.commit", "0s").start()
	for id, token := range s.fleet("kill", 4) {
		talk := s.chatter(id, token)
		proctest.Until(t, "the device talks", func() bool { return talk.acked.Load() > 20 })
		file := filepath.Join(t.TempDir(), "home.tar")
		ended := make(chan error, 1)
		go func() { _, err := s.hearthgate("backup", file); ended <- err }()
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // anywhere before, within, behind
		s.Kill()
		talk.end()
		if err := <-ended; err == nil {
			s.mustRun("backup", "--verify", file)
		}
		if out := s.mustRun("check"); !strings.Contains(out, "sound") {
			t.Error(out)
		}
		must(t, os.WriteFile(filepath.Join(s.data, "backup-1.tmp"), nil, 0o600)) // as in the moment before it loses its name
		s.start()
		if left, _ := filepath.Glob(filepath.Join(s.data, "backup-*")); len(left) > 0 {
			t.Errorf("%v were left", left)
		}
		s.holds(id, talk.acked.Load())
	}
}

// A spot of the card goes bad: check says where, and exits with 1.
func TestCheckFindsADamagedBlock(t *testing.T) {
	s := newServed(t).start()
	token := s.fleet("spot", 1)["spot-001"]
	d := s.lampDevice("spot-001", token, "ws://"+s.http+"/device")
	d.Report(protocol.Record{Name: "temperature", Value: protocol.Float(21.5)})
	must(t, d.Flush(t.Context()))
	d.Leave()
	s.Stop()
	s.mustRun("check")

	path := filepath.Join(s.data, "gateway.db")
	db, err := os.ReadFile(path)
	must(t, err)
	bad := bytes.ReplaceAll(db, []byte("temperature"), []byte("temperaturf"))
	must(t, os.WriteFile(path, bad, 0o600))
	out, err := s.hearthgate("check")
	if err == nil || !strings.Contains(out, "damaged: ") || !strings.Contains(out, "history: pieces/") {
		t.Errorf("%s %v", out, err)
	}
	out, err = s.hearthgate("check", "--json")
	var found checked
	must(t, json.Unmarshal([]byte(out), &found))
	if err == nil || found.OK || len(found.Findings) == 0 {
		t.Errorf("%s %v", out, err)
	}
	s.start()
	if out, err = s.hearthgate("check"); err == nil || !strings.Contains(out, "history: pieces/") {
		t.Errorf("while it runs: %s %v", out, err)
	}
	s.Stop()

	for i := 8192; i < len(bad); i += 4096 { // the head of each page
		bad[i+8] ^= 0xff
	}
	must(t, os.WriteFile(path, bad, 0o600))
	if out, err = s.hearthgate("check"); err == nil || !strings.Contains(out, "damaged: ") {
		t.Errorf("a database without structure: %s %v", out, err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, bad) {
		t.Errorf("check changed what it looked at: %v", err)
	}
}

// A backup needs room for a copy, and commits come first.
func TestABackupDoesNotFillTheDisk(t *testing.T) {
	err := roomForCopy(t.TempDir(), store.Health{FileBytes: 1 << 60})
	if err == nil || !strings.Contains(err.Error(), "make room") {
		t.Error(err)
	}
	if err := roomForCopy(t.TempDir(), store.Health{FileBytes: 1 << 20}); err != nil {
		t.Error(err)
	}
}

// A restore that was cut off before its end is no empty home, and one that was cut
// off at its very end is whole.
func TestServeAfterARestoreThatWasCutOff(t *testing.T) {
	s := newServed(t)
	must(t, os.MkdirAll(filepath.Join(s.data, restoring), 0o700))
	must(t, os.MkdirAll(filepath.Join(s.data, "ca"), 0o700))
	out, err := s.hearthgate("serve", "--listen.https", s.https, "--listen.http", s.http, "--mqtt.listen", s.mqtt)
	if err == nil || !strings.Contains(err.Error(), "hearthgate restore FILE") || !strings.Contains(err.Error(), restoring) {
		t.Errorf("%s %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(s.data, databaseName)); err == nil {
		t.Error("a gateway was made all the same")
	}
	if out, err := s.hearthgate("doctor"); err == nil || !strings.Contains(out, "was cut off") {
		t.Errorf("%s %v", out, err)
	}

	home := newHome(t)
	file := filepath.Join(t.TempDir(), "home.tar")
	mustType(t, "backup", file, "--data", home)
	s.mustRun("restore", file)
	if err := os.Mkdir(filepath.Join(s.data, restoring), 0o700); err != nil {
		t.Fatal(err)
	}
	s.start()
	if _, err := os.Stat(filepath.Join(s.data, restoring)); err == nil {
		t.Error("the rest of the restore is still there")
	}
}

// unread wants that a gateway that is not running still has to tell MQTT all that a
// device said, up to a frame.
func unread(t *testing.T, data, device string, last int64) {
	t.Helper()
	must(t, offlineStore(data, func(s *store.Store) error {
		mqtt, err := s.Tail("mqtt")
		if err != nil {
			return err
		}
		defer mqtt.Close()
		for seq := int64(0); seq < last; {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			entries, skipped, err := mqtt.Next(ctx, 100)
			cancel()
			if err != nil || skipped > 0 {
				return fmt.Errorf("behind %d of %d: %d are skipped, %w", seq, last, skipped, err)
			}
			for _, e := range entries {
				if e.Kind != store.Telemetry || e.Device != device {
					continue
				}
				if seq++; e.Seq != uint64(seq) {
					return fmt.Errorf("frame %d comes where %d should", e.Seq, seq)
				}
			}
		}
		return nil
	}))
}

// The broker is away, so that MQTT has yet to get all that is in the log. Where the
// backup is restored it gets that, in order, and the newest of it first.
func TestBackupWhileTheBrokerIsAway(t *testing.T) {
	s := newServed(t, "--store.commit", "0s", "--mqtt.broker", "mqtt://"+proctest.FreeAddress(t)).start()
	for id, token := range s.fleet("far", 1) {
		c := s.chatter(id, token)
		proctest.Until(t, "the device talks", func() bool { return c.acked.Load() > 300 })
		file := filepath.Join(t.TempDir(), "home.tar")
		before := c.acked.Load()
		s.mustRun("backup", file)
		c.end()

		moved := newServed(t)
		moved.mustRun("restore", file)
		unread(t, moved.data, id, before)
		moved.start()
		moved.holds(id, before)
		o := observe(t, moved.mqtt, "hearthgate/device/"+id+"/#")
		newest := o.wait("hearthgate/device/"+id+"/temperature/state", func(text string) bool { return text != "" })
		if n, err := strconv.ParseInt(newest, 10, 64); err != nil || n < before {
			t.Errorf("MQTT is told %s, %d was acknowledged", newest, before)
		}
		if out := moved.mustRun("check"); !strings.Contains(out, "sound") {
			t.Error(out)
		}
		proctest.Until(t, "the reader is where the log ends", func() bool {
			var cursors []struct {
				Name string
				Lag  uint64
			}
			must(t, json.Unmarshal([]byte(moved.mustRun("cursor", "list", "--json")), &cursors))
			return len(cursors) == 1 && cursors[0].Lag == 0
		})
	}
}
