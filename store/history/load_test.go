package history_test

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/history"
)

const (
	interval = 10 * time.Second
	values   = 6 // of each device
)

// rooms is real data of package chunk: its columns and its rows.
func rooms(t testing.TB) (names []string, rows [][]protocol.Value) {
	t.Helper()
	f, err := os.Open("../chunk/testdata/room_occupancy_30s.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range table[1:] {
		row := make([]protocol.Value, len(line)-1)
		for i, text := range line[1:] {
			row[i] = number(t, text)
		}
		rows = append(rows, row)
	}
	return table[0][1:], rows
}

// number is what a device would send for the text: an integer, else a float64.
func number(t testing.TB, text string) protocol.Value {
	t.Helper()
	if text == "" {
		return protocol.Value{} // a gap of the source
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, ".") {
		return protocol.Int(int64(x))
	}
	return protocol.Float(x)
}

// load is devices that say 6 values of a room every 10 s, each another six or at
// another hour, received with the jitter of a network. What has no time of its own
// has that of its receipt.
type load struct {
	names []string
	rows  [][]protocol.Value
	late  *rand.Rand
}

func newLoad(t testing.TB) *load {
	names, rows := rooms(t)
	return &load{names: names, rows: rows, late: rand.New(rand.NewPCG(1, 2))}
}

func deviceName(device int) string { return fmt.Sprintf("home-%02d", device) }

// frame is what a device says at a time.
func (l *load) frame(device int, at time.Time) chunk.Frame {
	tick := at.Unix() / int64(interval/time.Second)
	received := at.UnixMilli() + int64(device)*137%10000 + int64(l.late.ExpFloat64()*2)
	f := chunk.Frame{Received: received, Boot: protocol.Boot{byte(device)}, Seq: uint64(tick)}
	row := l.rows[(int(tick)+device*331)%len(l.rows)]
	for i := range values {
		column := (device*5 + i) % len(row)
		if row[column] == (protocol.Value{}) {
			continue
		}
		f.Records = append(f.Records, protocol.Record{Name: l.names[column], Value: row[column], Time: received * 1e6, Absolute: true})
	}
	return f
}

// span adds what some devices say from one time to another.
func (l *load) span(b *history.Batch, first, devices int, from, to time.Time) (samples int) {
	for at := from; at.Before(to); at = at.Add(interval) {
		for d := first; d < first+devices; d++ {
			f := l.frame(d, at)
			b.Add(deviceName(d), f)
			samples += len(f.Records)
		}
	}
	return samples
}

// What a home's history takes, sealed every 73 minutes and merged each night.
func TestAHomeFitsItsBudget(t *testing.T) {
	devices, days := 12, 2
	if underRace {
		devices, days = 1, 1
	}
	h := open(t)
	l := newLoad(t)
	samples, sealed := 0, int64(0)
	end := midnight.Add(time.Duration(days) * day)
	for at := midnight; at.Before(end); {
		next := at.Add(73 * time.Minute)
		var b history.Batch
		samples += l.span(&b, 0, devices, at, minTime(next, end))
		before := h.written()
		h.update(b.Put)
		sealed += h.written() - before
		if next.Day() != at.Day() {
			h.merge(next)
		}
		at = next
	}
	h.merge(end.Add(day))
	all := float64(h.written()) / float64(samples)
	var n history.Numbers
	h.view(func(r *history.Reader) { n = history.Measure(r.Tx) })
	rest := 0.0
	for l := history.Raw; l <= history.Days; l++ {
		share := float64(n.Levels[l].Bytes) / float64(samples)
		t.Logf("%s: %d in %d bytes, %.3f a sample", l, n.Levels[l].Count, n.Levels[l].Bytes, share)
		rest += share
	}
	t.Logf("%d samples: %.3f bytes each at rest; written %.2f, of these %.2f by sealing", samples, rest, all, float64(sealed)/float64(samples))
	if n.Levels[history.Raw].Count != uint64(samples) || n.Pieces.Count != 0 {
		t.Errorf("%d samples, %d more are not merged; want %d", n.Levels[history.Raw].Count, n.Pieces.Count, samples)
	}
	if underRace {
		return
	}
	if rest > 0.33 || all > 4 {
		t.Errorf("%.3f bytes a sample at rest, %.2f written; want at most 0.33 and 4", rest, all)
	}
}

// BenchmarkAYear reckons what a year of a home takes at the defaults, 50 devices of
// 6 values each 10 s, from a month of four of them: bytes of keys and values, and
// of the pages that these lie in.
func BenchmarkAYear(b *testing.B) {
	const devices, home = 4, 50
	h := open(b)
	l := newLoad(b)
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	end := begin.AddDate(0, 1, 0)
	for at := begin; at.Before(end); at = at.Add(day) {
		var batch history.Batch
		l.span(&batch, 0, devices, at, at.Add(day))
		h.update(batch.Put)
		h.merge(at.Add(day))
	}
	var n history.Numbers
	var pages [history.Days + 1]int
	h.view(func(r *history.Reader) {
		n = history.Measure(r.Tx)
		for level := history.Raw; level <= history.Days; level++ {
			all := r.Tx.Bucket(history.Bucket(level))
			_ = all.ForEachBucket(func(name []byte) error {
				s := all.Bucket(name).Stats()
				pages[level] += s.LeafAlloc + s.BranchAlloc
				return nil
			})
		}
	})
	total, file := 0.0, 0.0
	for level, days := range [...]float64{90, 365 + 15, 365, 365} { // a month of rows goes when its last day is old
		whole := days / 30 * home / devices / 1e6
		mb, inPages := float64(n.Levels[level].Bytes)*whole, float64(pages[level])*whole
		b.Logf("%s: %.3f bytes each; %.0f days are %.1f MB, in pages %.1f", history.Level(level), float64(n.Levels[level].Bytes)/float64(n.Levels[level].Count), days, mb, inPages)
		total, file = total+mb, file+inPages
	}
	b.Logf("a year: %.0f MB, in pages %.0f", total, file)
	for b.Loop() { // it is for what it says
	}
}

// written is how many bytes of pages were written so far.
func (h *home) written() int64 {
	stats := h.db.Stats()
	return stats.TxStats.GetPageAlloc()
}

func (h *home) size() (n int64) {
	h.view(func(r *history.Reader) { n = r.Tx.Size() })
	return n
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// BenchmarkAHome reads from 40 days of 50 devices, one of which has a whole year.
func BenchmarkAHome(b *testing.B) {
	const devices, days, year = 50, 40, 366
	h := open(b)
	l := newLoad(b)
	begin := midnight.Add(-year * day)
	samples := 0
	for at := begin; at.Before(midnight); at = at.Add(day) {
		var batch history.Batch
		samples += l.span(&batch, 0, 1, at, at.Add(day))
		if !at.Before(midnight.Add(-days * day)) {
			samples += l.span(&batch, 1, devices-1, at, at.Add(day))
		}
		h.update(batch.Put)
		h.merge(at.Add(day))
	}
	var batch history.Batch
	for hour := range 10 { // of today
		from := midnight.Add(time.Duration(hour) * time.Hour)
		samples += l.span(&batch, 0, devices, from, from.Add(time.Hour))
		h.update(batch.Put)
		batch = history.Batch{}
	}
	now := midnight.Add(10 * time.Hour)
	b.Logf("%d samples in a file of %d bytes", samples, h.size())
	read := func(name string, from time.Time, f func(r *history.Reader, q history.Query) int, want int) {
		b.Run(name, func(b *testing.B) {
			q := history.Query{Device: deviceName(0), Name: l.names[0], From: from.UnixNano(), To: now.UnixNano()}
			for b.Loop() {
				h.view(func(r *history.Reader) {
					if n := f(r, q); n < want {
						b.Fatalf("%d, want %d", n, want)
					}
				})
			}
		})
	}
	raw := func(r *history.Reader, q history.Query) (n int) {
		for all := range r.Samples(q) {
			n += len(all)
		}
		return n
	}
	rows := func(l history.Level) func(r *history.Reader, q history.Query) int {
		return func(r *history.Reader, q history.Query) (n int) {
			for range r.Rows(q, l) {
				n++
			}
			return n
		}
	}
	read("24h-raw", now.Add(-day), raw, 8600)
	read("month-5m", now.Add(-30*day), rows(history.FiveMinutes), 8600)
	read("year-hours", now.Add(-365*day), rows(history.Hours), 8700)
	read("year-days", now.Add(-365*day), rows(history.Days), 365)
}
