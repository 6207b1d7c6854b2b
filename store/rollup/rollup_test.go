package rollup_test

import (
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/rollup"
	"pgregory.net/rapid"
)

var (
	exact    = gocmp.Comparer(func(a, b protocol.Value) bool { return a == b })
	midnight = int64(1795219200) // s
	unknown  protocol.Value
)

// at is a value so many seconds after midnight.
func at(seconds int64, v protocol.Value) chunk.Sample {
	return chunk.Sample{Time: (midnight + seconds) * 1e9, Value: v}
}

func start(minutes int64) int64 { return (midnight + minutes*60) * 1e9 }

func TestRowsSayWhatTheSamplesSaid(t *testing.T) {
	half := func(minutes int64) int64 { return int64(time.Duration(minutes) * time.Minute) }
	for _, test := range []struct {
		name    string
		samples []chunk.Sample
		counter bool
		before  protocol.Value
		want    []rollup.Row
	}{
		{name: "nothing"},
		{
			name:    "a measurement",
			samples: []chunk.Sample{at(0, protocol.Float(0.1)), at(10, protocol.Float(0.2)), at(299, protocol.Int(-1)), at(300, protocol.Int(7))},
			want: []rollup.Row{
				{Start: start(0), End: start(5), Count: 3, Last: protocol.Int(-1), Numbers: 3, Min: protocol.Int(-1), Max: protocol.Float(0.2), Sum: -0.7},
				{Start: start(5), End: start(10), Count: 1, Last: protocol.Int(7), Numbers: 1, Min: protocol.Int(7), Max: protocol.Int(7), Sum: 7},
			},
		},
		{
			name:    "a counter that began anew",
			samples: []chunk.Sample{at(0, protocol.Float(10.1)), at(60, protocol.Float(10.4)), at(120, protocol.Float(0.2)), at(600, protocol.Float(0.5))},
			counter: true, before: protocol.Int(10),
			want: []rollup.Row{
				{Start: start(0), End: start(5), Count: 3, Last: protocol.Float(0.2), Increase: 0.6, Resets: 1},
				{Start: start(10), End: start(15), Count: 1, Last: protocol.Float(0.5), Increase: 0.3},
			},
		},
		{
			name:    "a counter never heard of",
			samples: []chunk.Sample{at(0, protocol.Int(1000)), at(60, protocol.Int(1001))},
			counter: true,
			want:    []rollup.Row{{Start: start(0), End: start(5), Count: 2, Last: protocol.Int(1001), Increase: 1}},
		},
		{
			name:    "a lamp that was on",
			samples: []chunk.Sample{at(60, protocol.Bool(false)), at(240, protocol.Bool(true)), at(900, protocol.Bool(false))},
			before:  protocol.Bool(true),
			want: []rollup.Row{
				{Start: start(0), End: start(5), Count: 2, Last: protocol.Bool(true), On: half(2)},
				{Start: start(15), End: start(20), Count: 1, Last: protocol.Bool(false)},
			},
		},
		{
			name:    "a mode",
			samples: []chunk.Sample{at(0, protocol.Text("heat")), at(1, protocol.Text("off"))},
			want:    []rollup.Row{{Start: start(0), End: start(5), Count: 2, Last: protocol.Text("off")}},
		},
		{
			name:    "a single is what its sender meant",
			samples: []chunk.Sample{at(0, single(0.1)), at(1, single(0.2))},
			want:    []rollup.Row{{Start: start(0), End: start(5), Count: 2, Last: single(0.2), Numbers: 2, Min: single(0.1), Max: single(0.2), Sum: 0.3}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := rollup.Rows(test.samples, rollup.FiveMinutes, test.counter, test.before)
			if d := gocmp.Diff(test.want, got, exact); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func single(x float32) protocol.Value {
	return protocol.MakeValue(protocol.Float32, uint64(math.Float32bits(x)), "")
}

func TestTheMeanIsOfTheNumbersAlone(t *testing.T) {
	rows := rollup.Rows([]chunk.Sample{at(0, protocol.Int(20)), at(1, protocol.Text("fault")), at(2, protocol.Int(21))}, rollup.Hour, false, unknown)
	if len(rows) != 1 || rows[0].Mean() != 20.5 || rows[0].Count != 3 {
		t.Errorf("%+v", rows)
	}
	if none := (&rollup.Row{Count: 1}).Mean(); none != 0 {
		t.Errorf("the mean of nothing is %v", none)
	}
}

// anySamples draws a day of one series, in order of time.
func anySamples(t *rapid.T) (samples []chunk.Sample, counter bool, before protocol.Value) {
	kind := rapid.IntRange(0, 4).Draw(t, "kind")
	draw := func() protocol.Value {
		n := rapid.IntRange(-500, 1000).Draw(t, "n")
		switch kind {
		case 0, 1:
			return protocol.Float(float64(n) / 100)
		case 2:
			return protocol.Bool(n > 0)
		case 3:
			return protocol.Text("off")
		}
		return rapid.SampledFrom([]protocol.Value{protocol.Int(int64(n)), single(float32(n) / 10), protocol.Bool(true), protocol.Text("x")}).Draw(t, "any")
	}
	if rapid.Bool().Draw(t, "known") {
		before = draw()
	}
	now := midnight
	for range rapid.IntRange(0, 80).Draw(t, "samples") {
		now += rapid.SampledFrom([]int64{1, 30, 400, 5000}).Draw(t, "pause")
		samples = append(samples, chunk.Sample{Time: now * 1e9, Value: draw()})
	}
	return samples, kind == 1, before
}

// pack makes one value of rows of five minutes.
func pack(all []rollup.Series) ([]byte, error) {
	var columns []rollup.Column
	for _, s := range all {
		c, err := rollup.Pack(s, rollup.FiveMinutes)
		if err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	return rollup.Join(columns)
}

// unpack is the way back.
func unpack(b []byte) (all []rollup.Series, err error) {
	columns, err := rollup.Open(b, rollup.FiveMinutes)
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		rows, err := c.Unpack(rollup.FiveMinutes)
		if err != nil {
			return nil, err
		}
		all = append(all, rollup.Series{Name: c.Name, Rows: rows})
	}
	return all, nil
}

// Rows of longer spans are the same, whether made of samples or of rows.
func TestRowsOfRowsAreTheRowsOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples, counter, before := anySamples(t)
		five := rollup.Rows(samples, rollup.FiveMinutes, counter, before)
		hours := rollup.Coarsen(five, rollup.Hour, before)
		if d := gocmp.Diff(rollup.Rows(samples, rollup.Hour, counter, before), hours, exact); d != "" {
			t.Fatalf("hours (-want +got):\n%s", d)
		}
		if d := gocmp.Diff(rollup.Rows(samples, rollup.Day, counter, before), rollup.Coarsen(hours, rollup.Day, before), exact); d != "" {
			t.Fatalf("days (-want +got):\n%s", d)
		}
	})
}

// What is packed comes back, all of it or one series.
func TestPackedRowsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []rollup.Series
		for _, name := range []string{"desk/on", "power", "temperature"} {
			samples, counter, before := anySamples(t)
			if rows := rollup.Rows(samples, rollup.FiveMinutes, counter, before); len(rows) > 0 {
				all = append(all, rollup.Series{Name: name, Rows: rows})
			}
		}
		b, err := pack(all)
		if err != nil {
			t.Fatal(err)
		}
		older, err := rollup.PackChunk(all)
		if err != nil {
			t.Fatal(err)
		}
		for _, packed := range [][]byte{b, older} {
			got, err := unpack(packed)
			if err != nil {
				t.Fatal(err)
			}
			if d := gocmp.Diff(all, got, exact); d != "" {
				t.Fatalf("(-want +got):\n%s", d)
			}
		}
		for _, s := range all {
			for _, packed := range [][]byte{b, older} {
				rows, err := rollup.UnpackSeries(packed, s.Name, rollup.FiveMinutes)
				if err != nil {
					t.Fatal(err)
				}
				if d := gocmp.Diff(s.Rows, rows, exact); d != "" {
					t.Fatalf("%s (-want +got):\n%s", s.Name, d)
				}
			}
		}
	})
}

func TestRowsOutOfOrderAreRefused(t *testing.T) {
	rows := rollup.Rows([]chunk.Sample{at(0, protocol.Int(1)), at(400, protocol.Int(2))}, rollup.FiveMinutes, false, unknown)
	rows[0], rows[1] = rows[1], rows[0]
	if _, err := pack([]rollup.Series{{Name: "a", Rows: rows}}); err == nil {
		t.Error("packed")
	}
}

// samples reads a data set of package chunk, its column names and their values.
func load(t *testing.T, file string) (names []string, columns map[string][]chunk.Sample) {
	t.Helper()
	f, err := os.Open("../chunk/testdata/" + file + ".csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	names, columns = rows[0][1:], map[string][]chunk.Sample{}
	for _, row := range rows[1:] {
		seconds, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		for j, text := range row[1:] {
			if text == "" {
				continue // a gap of the source
			}
			x, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			v := protocol.Float(x)
			if !strings.Contains(text, ".") {
				v = protocol.Int(int64(x))
			}
			columns[names[j]] = append(columns[names[j]], chunk.Sample{Time: seconds * 1e9, Value: v})
		}
	}
	return names, columns
}

func TestRowsOfRealDataFitTheirBudget(t *testing.T) {
	for _, home := range []struct {
		file       string
		row, value float64 // bytes: of a row, and for each value rolled up
	}{
		{"room_occupancy_30s", 1.8, 0.19},
		{"household_power_1min", 1.85, 0.37},
		{"office_occupancy_1min", 6.6, 1.32},
	} {
		names, columns := load(t, home.file)
		days := map[int64][]rollup.Series{}
		rows, values := 0, 0
		for _, name := range names {
			five := rollup.Rows(columns[name], rollup.FiveMinutes, false, unknown)
			rows, values = rows+len(five), values+len(columns[name])
			for _, day := range byDay(five) {
				key := day[0].Start / int64(rollup.Day)
				days[key] = append(days[key], rollup.Series{Name: name, Rows: day})
			}
		}
		size := 0
		for _, series := range days {
			b, err := pack(series)
			if err != nil {
				t.Fatal(err)
			}
			size += len(b)
		}
		row, value := float64(size)/float64(rows), float64(size)/float64(values)
		t.Logf("%s: %d values, %d rows, %d bytes: %.2f a row, %.3f a value", home.file, values, rows, size, row, value)
		if row > home.row || value > home.value {
			t.Errorf("%s: %.2f bytes a row, %.3f a value; want at most %v and %v", home.file, row, value, home.row, home.value)
		}
	}
}

func byDay(rows []rollup.Row) (days [][]rollup.Row) {
	for i, r := range rows {
		if i == 0 || r.Start/int64(rollup.Day) != rows[i-1].Start/int64(rollup.Day) {
			days = append(days, nil)
		}
		days[len(days)-1] = append(days[len(days)-1], r)
	}
	return days
}

// The example of FORMAT.md: a measurement, a counter and a lamp.
func TestTheDocumentsExample(t *testing.T) {
	want := []rollup.Series{
		{Name: "air", Rows: rollup.Rows([]chunk.Sample{at(0, protocol.Float(20.5)), at(60, protocol.Float(21)), at(310, protocol.Float(20.5))}, rollup.FiveMinutes, false, unknown)},
		{Name: "energy", Rows: rollup.Rows([]chunk.Sample{at(0, protocol.Int(10)), at(60, protocol.Int(12))}, rollup.FiveMinutes, true, unknown)},
		{Name: "lamp/on", Rows: rollup.Rows([]chunk.Sample{at(60, protocol.Bool(true))}, rollup.FiveMinutes, false, unknown)},
		{Name: "mode", Rows: rollup.Rows([]chunk.Sample{at(60, protocol.Text("heat"))}, rollup.FiveMinutes, false, unknown)},
	}
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(text), "```hex\n")
	shown, _, _ = strings.Cut(shown, "```")
	shown = bare(shown)
	b, err := pack(want)
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(shown, hex.EncodeToString(b)); d != "" {
		t.Errorf("packed (-document +got):\n%s", d)
	}
	bytes, err := hex.DecodeString(shown)
	if err != nil {
		t.Fatal(err)
	}
	got, err := unpack(bytes)
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(want, got, exact); d != "" {
		t.Errorf("unpacked (-want +got):\n%s", d)
	}
}

// bare leaves out spaces and what stands behind two of them: what a line means.
func bare(lines string) string {
	var all strings.Builder
	for line := range strings.Lines(lines) {
		line, _, _ = strings.Cut(line, "  ")
		all.WriteString(strings.ReplaceAll(strings.TrimSpace(line), " ", ""))
	}
	return all.String()
}

// odd are numbers that no decimal is near to, or that are none.
var odd = []protocol.Value{
	protocol.Float(math.NaN()), protocol.Float(math.Inf(-1)), protocol.Float(math.Copysign(0, -1)), protocol.Float(math.Pi),
	protocol.Float(1e300), protocol.Float(5e-324), protocol.Int(math.MaxInt64), protocol.Int(math.MinInt64),
	protocol.MakeValue(protocol.Uint, math.MaxUint64, ""), protocol.MakeValue(protocol.Float16, 0x3c01, ""), single(0.1),
	protocol.Float(20), protocol.Float(21.4), protocol.Float(64.0 / 3), protocol.Int(1 << 53), protocol.Bool(true), protocol.Text("off"), {},
}

// Whatever is said, its rows come back bit for bit.
func TestRowsOfOddNumbersComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(rapid.SampledFrom(odd), 1, 4).Draw(t, "some")
		var samples []chunk.Sample
		now := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "samples") {
			now += rapid.SampledFrom([]int64{1, 100, 301, 90_000, -1 << 33}).Draw(t, "pause")
			samples = append(samples, at(now, rapid.SampledFrom(some).Draw(t, "value")))
		}
		slices.SortFunc(samples, func(a, b chunk.Sample) int { return cmp.Compare(a.Time, b.Time) })
		samples = slices.CompactFunc(samples, func(a, b chunk.Sample) bool { return a.Time == b.Time })
		want := rollup.Rows(samples, rollup.FiveMinutes, rapid.Bool().Draw(t, "counter"), unknown)
		b, err := pack([]rollup.Series{{Name: "x", Rows: want}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := rollup.UnpackSeries(b, "x", rollup.FiveMinutes)
		if err != nil || !slices.EqualFunc(want, got, sameBits) {
			t.Fatalf("%v: got %+v, want %+v", err, got, want)
		}
	})
}

// sameBits compares rows whose sums may be no numbers.
func sameBits(a, b rollup.Row) bool {
	sums := math.Float64bits(a.Sum) == math.Float64bits(b.Sum) && math.Float64bits(a.Increase) == math.Float64bits(b.Increase)
	a.Sum, a.Increase, b.Sum, b.Increase = 0, 0, 0, 0
	return sums && a == b
}

// Bytes that are something else give an error or rows, never a panic; what can be
// read can be packed and read again.
func FuzzUnpack(f *testing.F) {
	for _, samples := range [][]chunk.Sample{
		{at(0, protocol.Float(20.5)), at(100, protocol.Float(20.1)), at(400, protocol.Float(21))},
		{at(0, protocol.Bool(true)), at(400, protocol.Bool(false))},
		{at(0, protocol.Float(64.0/3)), at(10, protocol.Text("x"))},
	} {
		for _, counter := range []bool{false, true} {
			series := []rollup.Series{{Name: "air", Rows: rollup.Rows(samples, rollup.FiveMinutes, counter, unknown)}}
			b, err := pack(series)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b[:len(b)-4])
			if b, err = rollup.PackChunk(series); err != nil {
				f.Fatal(err)
			}
			f.Add(b[:len(b)-4])
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
		series, err := unpack(binary.LittleEndian.AppendUint32(body[:len(body):len(body)], sum))
		for _, s := range series {
			for i, row := range s.Rows {
				if err != nil || i > 0 && row.Start <= s.Rows[i-1].Start {
					t.Fatalf("row %d of %s at %d: %v", i, s.Name, row.Start, err)
				}
			}
		}
	})
}
