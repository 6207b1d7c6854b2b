package main

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

// codec shows how small the data sets get in chunks of an hour and of a day.
// The codec's own tests are what holds it to its bounds.
func (b *bench) codec() error {
	files, err := filepath.Glob(filepath.Join(b.source, "store/chunk/testdata/*.csv.gz"))
	if err != nil || len(files) == 0 {
		return errors.Join(err, errors.New("codec: no data sets in store/chunk/testdata"))
	}
	t := b.report.section("codec", "data", "samples", "by hour", "by day")
	for _, f := range files {
		frames, err := readFrames(f)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		samples := 0
		for _, f := range frames {
			samples += len(f.Records)
		}
		cells := []string{strings.TrimSuffix(filepath.Base(f), ".csv.gz"), fmt.Sprint(samples)}
		for _, span := range []int64{3_600_000, 86_400_000} {
			n, err := packed(frames, span)
			if err != nil {
				return err
			}
			cells = append(cells, fmt.Sprintf("%.3f B/sample", float64(n)/float64(samples)))
		}
		t.add(cells...)
	}
	return nil
}

// packed is the size of the frames in chunks of so many milliseconds.
func packed(frames []chunk.Frame, span int64) (size int, err error) {
	for first := 0; first < len(frames); {
		end := first
		for end < len(frames) && frames[end].Received/span == frames[first].Received/span {
			end++
		}
		b, err := chunk.Encode(frames[first:end])
		if err != nil {
			return 0, err
		}
		size += len(b)
		first = end
	}
	return size, nil
}

// readFrames reads a data set as what one device said: a frame for each row.
func readFrames(path string) ([]chunk.Frame, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		return nil, err
	}
	var frames []chunk.Frame
	for i, row := range rows[1:] {
		at, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			return nil, err
		}
		frame := chunk.Frame{Received: at * 1000, Boot: protocol.Boot{1}, Seq: uint64(i + 1)}
		for j, text := range row[1:] {
			if text == "" {
				continue // a gap of the source
			}
			v, err := number(text)
			if err != nil {
				return nil, err
			}
			frame.Records = append(frame.Records, protocol.Record{Name: rows[0][j+1], Value: v, Time: at * 1e9, Absolute: true})
		}
		frames = append(frames, frame)
	}
	return frames, nil
}

// number is an integer where the source has no decimals.
func number(text string) (protocol.Value, error) {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return protocol.Int(i), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	return protocol.Float(f), err
}
