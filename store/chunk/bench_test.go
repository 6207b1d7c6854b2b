package chunk_test

import (
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/store/chunk"
)

func BenchmarkRealData(b *testing.B) {
	for _, home := range homes {
		parts := split(load(b, home.file), 24*time.Hour)
		var packed [][]byte
		samples := 0
		for _, part := range parts {
			p, err := chunk.Encode(part)
			if err != nil {
				b.Fatal(err)
			}
			packed = append(packed, p)
			for _, f := range part {
				samples += len(f.Records)
			}
		}
		rate := func(b *testing.B) {
			b.ReportMetric(float64(samples)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msamples/s")
		}
		b.Run(home.name+"/encode", func(b *testing.B) {
			for b.Loop() {
				for _, part := range parts {
					if _, err := chunk.Encode(part); err != nil {
						b.Fatal(err)
					}
				}
			}
			rate(b)
		})
		b.Run(home.name+"/frames", func(b *testing.B) {
			for b.Loop() {
				for _, p := range packed {
					if _, err := chunk.Decode(p); err != nil {
						b.Fatal(err)
					}
				}
			}
			rate(b)
		})
		b.Run(home.name+"/series", func(b *testing.B) {
			for b.Loop() {
				for _, p := range packed {
					c, err := chunk.Open(p)
					if err != nil {
						b.Fatal(err)
					}
					for _, s := range c.Series() {
						if _, err := c.Samples(s.Name); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			rate(b)
		})
	}
}
