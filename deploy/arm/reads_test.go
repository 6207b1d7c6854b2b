package arm_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/storetest"
)

// A board reads what this machine wrote: samples and rows, bit for bit.
func TestABoardReadsAHomeOfThisMachine(t *testing.T) {
	t.Parallel()
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		t.Fatalf("%v: run scripts/setup-tests.sh", err)
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	h := &storetest.Home{Devices: 1, Every: time.Minute}
	o := store.Options{Dir: filepath.Join(t.TempDir(), "data")}
	s := open(t, o)
	h.Live(t, s, 0, today.AddDate(0, 0, -2), today.Add(10*time.Minute))
	shut(t, s)
	merge(t, o.Dir)
	s = open(t, o)
	from := today.AddDate(0, 0, -1)
	samples, err := s.History(t.Context(), storetest.HomeDevice(0), "power", from, today.Add(time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.Rows(t.Context(), storetest.HomeDevice(0), "power", from, today.Add(time.Hour), store.FiveMinutes)
	if err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	var raw, chart []string
	for _, v := range samples {
		raw = append(raw, v.Value.String())
	}
	for _, r := range rows {
		chart = append(chart, fmt.Sprintf("%d,%v,%v,%v,%v", r.Count, r.Min, mean(r.Mean()), r.Max, r.Last))
	}

	b := startIn(t, o.Dir, func(args ...string) *exec.Cmd {
		return exec.Command(qemu, append([]string{filepath.Join(dist, "linux-arm64", "hearthgate")}, args...)...)
	})
	b.command(t, "device", "add", storetest.HomeDevice(0), "--data", b.data)
	read := func(args ...string) []string {
		args = append([]string{"history", storetest.HomeDevice(0), "power", "--csv", "--from", from.Format(time.RFC3339), "--to", today.Add(time.Hour).Format(time.RFC3339), "--data", b.data}, args...)
		return strings.Split(strings.TrimSpace(b.command(t, args...)), "\n")[1:]
	}
	for i, line := range read("--limit", "10000") {
		_, value, _ := strings.Cut(line, ",")
		if i >= len(raw) || value != raw[i] {
			t.Fatalf("sample %d is %q, this machine's %d are %q", i, line, len(raw), raw[min(i, len(raw)-1)])
		}
	}
	got := read("--width", "140")
	if len(got) != len(chart) || len(chart) < 288 {
		t.Fatalf("%d rows, this machine reads %d", len(got), len(chart))
	}
	for i, line := range got {
		cells := strings.Split(line, ",")
		if row := strings.Join(cells[2:7], ","); row != chart[i] {
			t.Fatalf("row %d is %q, this machine's %q", i, row, chart[i])
		}
	}
}

// mean is as the CSV writes it.
func mean(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func open(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shut(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// merge does what the next night would.
func merge(t *testing.T, dir string) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "gateway.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	k := history.Keeper{Policy: history.Policy{Keep: history.DefaultKeep()}}
	if err := db.Update(func(tx *bolt.Tx) error {
		_, err := k.Merge(tx, time.Now(), 100)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
