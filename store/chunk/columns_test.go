package chunk_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

func f16(bits uint64) protocol.Value { return protocol.MakeValue(protocol.Float16, bits, "") }

func f32(x float64) protocol.Value {
	return protocol.MakeValue(protocol.Float32, uint64(math.Float32bits(float32(x))), "")
}

func f64(bits uint64) protocol.Value { return protocol.MakeValue(protocol.Float64, bits, "") }

func neg(bits uint64) protocol.Value { return protocol.MakeValue(protocol.Neg, bits, "") }

func uint64s(bits uint64) protocol.Value { return protocol.MakeValue(protocol.Uint, bits, "") }

// Each kind of column holds its values exactly and in few bytes. What stands
// around the column takes 85 bytes here.
func TestEachKindOfColumn(t *testing.T) {
	const n = 1000
	noise := rand.New(rand.NewPCG(1, 2))
	for _, test := range []struct {
		name  string
		value func(i int) protocol.Value
		bytes int // of the whole chunk, at most
	}{
		{"constant", func(int) protocol.Value { return protocol.Float(21.5) }, 100},
		{"constant text", func(int) protocol.Value { return protocol.Text("heat") }, 100},
		{"none", func(int) protocol.Value { return protocol.Value{} }, 92},
		{"runs", func(i int) protocol.Value { return protocol.Bool(i/300&1 == 1) }, 104},
		{"a frame of reference", func(i int) protocol.Value { return protocol.Int(70000 + int64(noise.IntN(16))) }, 620},
		{"a ramp", func(i int) protocol.Value { return protocol.Int(int64(i) * 25) }, 100},
		{"a parabola", func(i int) protocol.Value { return protocol.Int(int64(i) * int64(i)) }, 100},
		{"steps of five", func(i int) protocol.Value { return protocol.Int(400 + 5*int64(noise.IntN(4))) }, 370},
		{"a dictionary", func(i int) protocol.Value { return protocol.Int(int64([]int{3, 777, 100100}[noise.IntN(3)])) }, 325},
		{"a repeating pattern", func(i int) protocol.Value { return protocol.Int(int64(i * i % 7)) }, 110},
		{"tenths", func(i int) protocol.Value { return protocol.Float(float64(200+noise.IntN(8)) / 10) }, 500},
		{"tenths in 32 bits", func(i int) protocol.Value { return f32(float64(200+noise.IntN(8)) / 10) }, 500},
		{"tenths in 16 bits", func(i int) protocol.Value {
			return f16([]uint64{0x4d00, 0x4d06, 0x4d0d}[noise.IntN(3)]) // 20, 20.09, 20.2
		}, 320},
		{"tenths, whole ones as integers", func(i int) protocol.Value {
			if x := 200 + noise.IntN(8); x%10 != 0 {
				return protocol.Float(float64(x) / 10)
			}
			return protocol.Int(20)
		}, 500},
		{"halves, the shortest form", func(i int) protocol.Value {
			return []protocol.Value{f16(0x4d00), f32(20.1), protocol.Int(21), f32(20.7)}[noise.IntN(4)]
		}, 390},
		{"thirds", func(i int) protocol.Value { return protocol.Float(float64(noise.IntN(64)) / 3) }, 880},
		{"negative and positive integers", func(i int) protocol.Value { return protocol.Int(int64(noise.IntN(8)) - 4) }, 500},
		{"decimals with a few odd ones", func(i int) protocol.Value {
			switch i {
			case 10:
				return f64(1 << 63) // -0
			case 20:
				return f64(0x7ff8000000000123)
			case 30:
				return protocol.Float(math.Inf(-1))
			case 40:
				return protocol.Float(math.Pi)
			}
			return protocol.Float(float64(i%10) / 10)
		}, 160},
		{"floats of any bits", func(int) protocol.Value { return f64(noise.Uint64()) }, 8200},
		{"singles of any bits", func(int) protocol.Value {
			return protocol.MakeValue(protocol.Float32, uint64(noise.Uint32()), "")
		}, 4150},
		{"integers of any bits", func(int) protocol.Value { return uint64s(noise.Uint64()) }, 8200},
		{"beyond 2^53", func(i int) protocol.Value { return uint64s(1<<53 + uint64(i)) }, 106},
		{"down to -2^64", func(i int) protocol.Value { return neg(math.MaxUint64 - uint64(i%2)) }, 110},
		{"two values 2^63 apart", func(i int) protocol.Value { return uint64s(uint64(i%2) << 63) }, 110},
		{"texts", func(i int) protocol.Value { return protocol.Text(fmt.Sprint("t", i%5)) }, 120},
	} {
		t.Run(test.name, func(t *testing.T) {
			var frames []chunk.Frame
			for i := range n {
				seconds := int64(i) * 60
				frames = append(frames, spoken(uint64(i+1), seconds, record("v", seconds, test.value(i))))
			}
			b, err := chunk.Encode(frames)
			if err != nil {
				t.Fatal(err)
			}
			got, err := chunk.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(frames, got, exact); d != "" {
				t.Fatalf("(-want +got):\n%s", d)
			}
			if t.Logf("%d bytes", len(b)); len(b) > test.bytes {
				t.Errorf("%d bytes, want at most %d", len(b), test.bytes)
			}
		})
	}
}

// What comes late, long after its time, costs little and keeps its time.
func TestLateSamplesAreExact(t *testing.T) {
	var frames []chunk.Frame
	for i := range int64(500) {
		f := spoken(uint64(i+1), i*10, record("power", i*10, protocol.Int(i%4)))
		if i%50 == 49 {
			for back := range int64(20) {
				r := record("meter", i*10-86400-back*7, protocol.Int(back))
				f.Records = append(f.Records, late(r))
			}
		}
		frames = append(frames, f)
	}
	b, err := chunk.Encode(frames)
	if err != nil {
		t.Fatal(err)
	}
	got, err := chunk.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(frames, got, exact); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	if t.Logf("%d bytes", len(b)); len(b) > 400 {
		t.Errorf("%d bytes for 700 records", len(b))
	}
}
