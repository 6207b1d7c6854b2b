package chunk_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/store/chunk"
)

// pack encodes the parts and tells what a sample takes.
func pack(b *testing.B, parts [][]chunk.Frame) (packed [][]byte, samples int) {
	for _, part := range parts {
		p, err := chunk.Encode(part)
		if err != nil {
			b.Fatal(err)
		}
		packed, samples = append(packed, p), samples+count(part)
	}
	return packed, samples
}

// measure runs f on each chunk of a data set and reports samples a second and
// bytes a sample.
func measure(b *testing.B, packed [][]byte, samples int, f func(i int) error) {
	size := 0
	for _, p := range packed {
		size += len(p)
	}
	for b.Loop() {
		for i := range packed {
			if err := f(i); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(samples)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msamples/s")
	b.ReportMetric(float64(size)/float64(samples), "B/sample")
}

// readAll reads every series of a chunk by itself.
func readAll(p []byte) error {
	c, err := chunk.Open(p)
	if err != nil {
		return err
	}
	for _, s := range c.Series() {
		if _, err := c.Samples(s.Name); err != nil {
			return err
		}
	}
	return nil
}

func BenchmarkRealData(b *testing.B) {
	for _, home := range homes {
		for _, span := range []time.Duration{24 * time.Hour, time.Hour} {
			parts := split(load(b, home.file), span)
			packed, samples := pack(b, parts)
			name := home.name + "/" + span.String()
			b.Run(name+"/encode", func(b *testing.B) {
				measure(b, packed, samples, func(i int) error { _, err := chunk.Encode(parts[i]); return err })
			})
			b.Run(name+"/frames", func(b *testing.B) {
				measure(b, packed, samples, func(i int) error { _, err := chunk.Decode(packed[i]); return err })
			})
			b.Run(name+"/series", func(b *testing.B) {
				measure(b, packed, samples, func(i int) error { return readAll(packed[i]) })
			})
		}
	}
}

// A device whose values rise evenly or not at all: columns without a model.
func BenchmarkSimpleColumns(b *testing.B) {
	var frames []chunk.Frame
	for i := range 8640 {
		seconds := int64(i) * 10
		frames = append(frames, spoken(uint64(i+1), seconds,
			record("energy", seconds, number(b, "1000")), record("state", seconds, number(b, "3.5"))))
	}
	packed, samples := pack(b, [][]chunk.Frame{frames})
	measure(b, packed, samples, func(i int) error { return readAll(packed[i]) })
}

// A day of six values each 10 s, received with the jitter of a network: what a
// chart of one of them costs.
func BenchmarkOneSeriesOfADay(b *testing.B) {
	rows := load(b, "room_occupancy_30s")
	late := rand.New(rand.NewPCG(1, 2))
	var frames []chunk.Frame
	for i := range 8640 {
		f := rows[i%len(rows)]
		f.Received = int64(i)*10_000 + int64(late.ExpFloat64()*2)
		f.Seq, f.Records = uint64(i+1), slices.Clone(f.Records[:6])
		for j := range f.Records {
			f.Records[j].Time = f.Received * 1e6
		}
		frames = append(frames, f)
	}
	packed, samples := pack(b, [][]chunk.Frame{frames})
	b.ReportAllocs()
	measure(b, packed, samples, func(i int) error {
		c, err := chunk.Open(packed[i])
		if err != nil {
			return err
		}
		_, err = c.Samples(frames[0].Records[0].Name)
		return err
	})
}
