package chunk_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

// heartbeats are frames at these times, in ns.
func heartbeats(times []int64) (frames []chunk.Frame) {
	for i, at := range times {
		frames = append(frames, chunk.Frame{Received: at / 1e6, Boot: protocol.Boot{1}, Seq: uint64(i + 1),
			Records: []protocol.Record{{Name: "v", Value: protocol.Int(1), Time: at, Absolute: true}}})
	}
	return frames
}

// Whatever happens to a device that speaks every ten seconds, its times come back.
func TestSteadyTimesComeBack(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	steady := func(n int, period, jitter float64) (all []int64) {
		for i := range n {
			all = append(all, noon*1e6+int64(float64(i)*period+chance.ExpFloat64()*jitter)*1e6)
		}
		return all
	}
	away := steady(3000, 10_000, 2)
	for i := range away[1500:] {
		away[1500+i] += 3_600_000_000_000
	}
	back := steady(3000, 10_000, 2)
	for i := range back[1500:] {
		back[1500+i] -= 86_400_000_000_000
	}
	lost := steady(100, 10_000, 2)
	lost[50], lost[51] = math.MinInt64, math.MaxInt64
	for _, test := range []struct {
		name  string
		times []int64
		bits  float64 // of each time
	}{
		{"with the jitter of a network", steady(3000, 10_000, 2), 3.2},
		{"with a clock that is late", steady(3000, 10_003, 2), 3.2},
		{"in a slow network", steady(3000, 10_000, 300), 10.5},
		{"sixteen times", steady(16, 1_000, 2), 16},
		{"away for an hour", away, 3.3},
		{"a clock that is set back", back, 3.3},
		{"a clock that knows nothing", lost, 64},
	} {
		t.Run(test.name, func(t *testing.T) {
			frames := heartbeats(test.times)
			b, err := chunk.Encode(frames)
			if err != nil {
				t.Fatal(err)
			}
			got, err := chunk.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range got {
				if f.Received != frames[i].Received || f.Records[0] != frames[i].Records[0] {
					t.Fatalf("frame %d is %+v, want %+v", i, f, frames[i])
				}
			}
			const rest = 85 // bytes of everything else
			if took := float64(len(b)-rest) * 8 / float64(len(frames)); took > test.bits {
				t.Errorf("%.2f bits a time, want at most %.2f", took, test.bits)
			}
		})
	}
}
