package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// Real sensor data is replayed at full speed while the broker and the gateway
// are killed twice each. Afterwards every value is in the export as the file has
// it, and the stream carried every frame of every device, in order.
//
// HEARTHGATE_CSV_DIR names a directory with other CSV files (first column
// unix_s) to replay instead of the excerpts in sim/testdata.
func TestReplayThroughKillsOfBrokerAndGateway(t *testing.T) {
	m := proctest.StartMosquitto(t, "max_inflight_messages 0", "max_queued_messages 0")
	cable := newProxy(t, m.Address)
	s := newServed(t, "--mqtt.broker", "mqtt://"+cable.addr(), "--limits.device_rate", "0").start()
	files := csvFiles(t)
	tokens := s.fleet("replay", len(files))
	api := strings.TrimSpace(s.mustRun("token", "add", "verify"))
	seen := watchStream(t, m.Address)

	sims := map[string]*replay{}
	for i, file := range files {
		id := fmt.Sprintf("replay-%03d", i+1)
		sims[id] = s.replay(file, tokens[id], api)
	}
	rows := 0
	for _, sim := range sims {
		sim.columns, sim.rows = readColumns(t, sim.file)
		rows += sim.rows
	}
	for i := range 4 { // broker, gateway, broker, gateway
		proctest.Until(t, fmt.Sprintf("part %d of the stream", i+1), func() bool { return seen.count() > rows*(i+1)/6 })
		if i%2 == 0 {
			cable.pull()
			seen.drain(m)
			m.Kill()
			m.Start()
			seen.resubscribed()
			cable.plug()
		} else {
			s.Kill()
			s.start()
		}
	}
	for id, sim := range sims {
		if err := sim.Wait(); err != nil {
			t.Errorf("the simulator of %s: %v", id, err)
		}
		compareExport(t, s, id, sim)
	}
	proctest.Until(t, "the stream has everything", func() bool { return seen.complete(sims) })
	seen.check(t, sims)
	if t.Failed() {
		t.Log(s.mustRun("cursor", "list"), s.mustRun("status"))
	}
}

func csvFiles(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("HEARTHGATE_CSV_DIR")
	if dir == "" {
		dir = filepath.Join("..", "..", "sim", "testdata")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	must(t, err)
	if len(files) == 0 {
		t.Fatalf("no CSV files in %s", dir)
	}
	return files
}

// replay is one device-sim process that replays a file.
type replay struct {
	*proctest.Process
	file    string
	columns map[string][]float64 // in the order of the rows
	rows    int
}

func (s *served) replay(file, token, api string) *replay {
	s.t.Helper()
	return &replay{file: file, Process: proctest.Start(s.t, exec.Command(program(s.t, "device-sim"),
		"--url", "ws://"+s.http+"/device", "--token", token,
		"--csv", file, "--speed", "max", "--verify", "--api", "http://"+s.http, "--api-token", api))}
}

func readColumns(t *testing.T, file string) (map[string][]float64, int) {
	t.Helper()
	f, err := os.Open(file)
	must(t, err)
	defer func() { _ = f.Close() }()
	all, err := csv.NewReader(f).ReadAll()
	must(t, err)
	columns := map[string][]float64{}
	for _, row := range all[1:] {
		for i, text := range row[1:] {
			if text == "" {
				continue // no value at that time
			}
			v, err := strconv.ParseFloat(text, 64)
			must(t, err)
			columns[all[0][i+1]] = append(columns[all[0][i+1]], v)
		}
	}
	return columns, len(all) - 1
}

// compareExport reads what the gateway kept of a device and compares it with
// the file, column by column.
func compareExport(t *testing.T, s *served, id string, r *replay) {
	t.Helper()
	type at struct{ time, value float64 }
	kept := map[string][]at{}
	for line := range strings.SplitSeq(strings.TrimSpace(s.mustRun("export", id, "--format", "jsonl")), "\n") {
		var e struct {
			N    string
			V, T float64
		}
		must(t, json.Unmarshal([]byte(line), &e))
		kept[e.N] = append(kept[e.N], at{e.T, e.V})
	}
	for name, want := range r.columns {
		got := kept[name]
		sort.SliceStable(got, func(i, j int) bool { return got[i].time < got[j].time })
		if len(got) != len(want) {
			t.Errorf("%s %s: %d values kept of %d", id, name, len(got), len(want))
			continue
		}
		for i := range want {
			if got[i].value != want[i] {
				t.Errorf("%s %s: row %d is %v, the file has %v", id, name, i+1, got[i].value, want[i])
				break
			}
		}
	}
}

// streamWatcher notes each (boot, seq) of the stream in the order of arrival.
type streamWatcher struct {
	*observer
	broker string
	read   int // of what the observer heard
	known  map[string]bool
	got    map[string][]uint64 // seqs of a device, repeats removed
}

func watchStream(t *testing.T, broker string) *streamWatcher {
	t.Helper()
	return &streamWatcher{
		observer: observe(t, broker, "hearthgate/stream/+", "test/marker"), broker: broker,
		known: map[string]bool{}, got: map[string][]uint64{},
	}
}

func (w *streamWatcher) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

// drain waits until the broker has nothing more for us: it sends in order, so a
// marker comes after all that it took before.
func (w *streamWatcher) drain(*proctest.Mosquitto) { w.mark() }

// resubscribed waits until we hear again what is published.
func (w *streamWatcher) resubscribed() { w.mark() }

func (w *streamWatcher) mark() {
	w.t.Helper()
	marker := fmt.Sprint(time.Now().UnixNano())
	// A client of its own: paho races with itself when it connects again while
	// something that it published is not confirmed.
	other := observeWith(w.t, w.broker, func(paho.Client, paho.Message) {})
	defer other.Disconnect(0)
	proctest.Until(w.t, "the marker comes back", func() bool {
		if w.client.IsConnectionOpen() {
			other.Publish("test/marker", 1, false, marker).WaitTimeout(time.Second)
		}
		return w.newest("test/marker") == marker
	})
}

// frames are the seqs of each device, repeats removed, in the order of their
// first arrival.
func (w *streamWatcher) frames() map[string][]uint64 {
	w.mu.Lock()
	news := w.all[w.read:]
	w.mu.Unlock()
	w.read += len(news)
	for _, m := range news {
		device, ok := strings.CutPrefix(m.topic, "hearthgate/stream/")
		if !ok {
			continue
		}
		var f struct {
			Boot string
			Seq  uint64
		}
		if json.Unmarshal([]byte(m.text), &f) != nil || f.Seq == 0 {
			continue
		}
		if key := fmt.Sprint(device, f.Boot, f.Seq); !w.known[key] {
			w.known[key] = true
			w.got[device] = append(w.got[device], f.Seq)
		}
	}
	return w.got
}

func (w *streamWatcher) complete(sims map[string]*replay) bool {
	frames := w.frames()
	for id, r := range sims {
		if len(frames[id]) < r.rows {
			return false
		}
	}
	return true
}

func (w *streamWatcher) check(t *testing.T, sims map[string]*replay) {
	t.Helper()
	frames := w.frames()
	for id, r := range sims {
		if len(frames[id]) != r.rows {
			t.Errorf("%s: the stream carried %d frames of %d", id, len(frames[id]), r.rows)
		}
		for i, seq := range frames[id] {
			if seq != uint64(i+1) {
				t.Errorf("%s: frame %d of the stream has seq %d after %d", id, i+1, seq, frames[id][max(i-1, 0)])
				break
			}
		}
	}
}
