package chunk_test

import (
	"compress/gzip"
	"encoding/csv"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

// homes are the real data sets (testdata/README.md) and how many bytes a value
// of theirs may take, its share of the times included, in chunks of a day.
var homes = []struct {
	name, file string
	limit      float64
}{
	{"room", "room_occupancy_30s", 0.24},
	{"power", "household_power_1min", 0.42},
	{"office", "office_occupancy_1min", 1.1},
}

// load reads a data set as the frames of one device, one for each row.
func load(t testing.TB, file string) []chunk.Frame {
	t.Helper()
	f, err := os.Open("testdata/" + file + ".csv.gz")
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
	boot := protocol.Boot{1, 2, 3, 4, 5, 6, 7, 8}
	var frames []chunk.Frame
	for i, row := range rows[1:] {
		at, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		frame := chunk.Frame{Received: at * 1000, Boot: boot, Seq: uint64(i + 1)}
		for j, text := range row[1:] {
			if text == "" {
				continue // a gap of the source
			}
			frame.Records = append(frame.Records, protocol.Record{
				Name: rows[0][j+1], Value: number(t, text), Time: at * 1e9, Absolute: true,
			})
		}
		frames = append(frames, frame)
	}
	return frames
}

// number is what a device would send for the text: an integer, else a float64.
func number(t testing.TB, text string) protocol.Value {
	if !strings.Contains(text, ".") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return protocol.Int(n)
		}
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.Float(x)
}

// split cuts frames where a new span of time begins.
func split(frames []chunk.Frame, span time.Duration) (parts [][]chunk.Frame) {
	for i, f := range frames {
		if i == 0 || f.Received/span.Milliseconds() != frames[i-1].Received/span.Milliseconds() {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], f)
	}
	return parts
}
