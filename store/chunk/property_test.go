package chunk_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"pgregory.net/rapid"
)

// anyValue draws values of all kinds, with a taste for the edges.
func anyValue() *rapid.Generator[protocol.Value] {
	return rapid.Custom(func(t *rapid.T) protocol.Value {
		bits := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 5),
			rapid.SampledFrom([]uint64{math.MaxUint64, 1 << 63, 1<<53 + 1, 0x7ff8000000000001, 0xfff0000000000000}))
		switch k := protocol.Kind(rapid.IntRange(0, 7).Draw(t, "kind")); k {
		case protocol.None:
			return protocol.Value{}
		case protocol.Boolean:
			return protocol.Bool(rapid.Bool().Draw(t, "bool"))
		case protocol.Float16:
			return protocol.MakeValue(k, uint64(rapid.Uint16().Draw(t, "half")), "")
		case protocol.Float32:
			return protocol.MakeValue(k, uint64(rapid.Uint32().Draw(t, "single")), "")
		case protocol.Str:
			return protocol.Text(rapid.StringN(0, 5, 20).Draw(t, "text"))
		default:
			return protocol.MakeValue(k, bits.Draw(t, "bits"), "")
		}
	})
}

// measured draws what a sensor says: decimals in one of the floats' widths.
func measured(k protocol.Kind) *rapid.Generator[protocol.Value] {
	return rapid.Custom(func(t *rapid.T) protocol.Value {
		x := float64(rapid.IntRange(-300, 300).Draw(t, "n")) / 10
		switch {
		case k == protocol.Float64:
			return protocol.Float(x)
		case k == protocol.Float32:
			return protocol.MakeValue(k, uint64(math.Float32bits(float32(x))), "")
		case x == math.Trunc(x):
			return protocol.Int(int64(x))
		}
		return protocol.Float(x)
	})
}

func anyFrames() *rapid.Generator[[]chunk.Frame] {
	return rapid.Custom(func(t *rapid.T) []chunk.Frame {
		values := []*rapid.Generator[protocol.Value]{anyValue(), measured(protocol.Float64),
			measured(protocol.Float32), measured(protocol.None), rapid.SampledFrom([]protocol.Value{protocol.Bool(true), protocol.Bool(false)}),
			rapid.SampledFrom([]protocol.Value{protocol.Text("heat"), protocol.Text("off"), protocol.Text("")})}
		names := []string{"a", "b", "c/on", "d", "e", "f"}
		wild := rapid.IntRange(0, 3).Draw(t, "wild") == 0
		frames := make([]chunk.Frame, rapid.IntRange(0, 60).Draw(t, "frames"))
		now := int64(1795219200000)
		for i := range frames {
			f := &frames[i]
			now += 10_000
			f.Received, f.Seq = now, uint64(i+1)
			f.Boot[0] = byte(rapid.IntRange(0, 20).Draw(t, "boot") / 20)
			if rapid.IntRange(0, 9).Draw(t, "result") == 0 {
				f.Seq, f.Command = 0, rapid.Uint64().Draw(t, "command")
			}
			if wild {
				f.Received, f.Seq = rapid.Int64().Draw(t, "received"), rapid.Uint64().Draw(t, "seq")
			}
			for range rapid.IntRange(0, 8).Draw(t, "records") {
				j := rapid.IntRange(0, len(names)-1).Draw(t, "series")
				r := protocol.Record{Name: names[j], Absolute: true, Value: values[j].Draw(t, "value"), Time: now * 1e6}
				switch rapid.IntRange(0, 6).Draw(t, "time") {
				case 0:
					r.Time -= rapid.Int64Range(0, 90*24*3600).Draw(t, "late") * 1e9
					r.Late = true
				case 1:
					r.Unfit, r.Unit = rapid.Bool().Draw(t, "unfit"), rapid.SampledFrom([]string{"", "Cel", "%RH"}).Draw(t, "unit")
				}
				if wild {
					r.Time = rapid.Int64().Draw(t, "time")
				}
				f.Records = append(f.Records, r)
			}
		}
		return frames
	})
}

// Whatever a device says, it comes back: as frames, as series, and within the
// bounds that the header tells.
func TestWhatGoesInComesOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := anyFrames().Draw(t, "frames")
		b, err := chunk.Encode(frames)
		if err != nil {
			t.Fatal(err)
		}
		got, err := chunk.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(frames, got, exact, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
		c, err := chunk.Open(b)
		if err != nil {
			t.Fatal(err)
		}
		checkSeries(t, frames, c)
	})
}

func checkSeries(t *rapid.T, frames []chunk.Frame, c *chunk.Chunk) {
	want := map[string][]chunk.Sample{}
	for _, f := range frames {
		for _, r := range f.Records {
			want[r.Name] = append(want[r.Name], chunk.Sample{Time: r.Time, Value: r.Value})
		}
	}
	if len(c.Series()) != len(want) {
		t.Fatalf("%d series, want %d", len(c.Series()), len(want))
	}
	for _, s := range c.Series() {
		got, err := c.Samples(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want[s.Name], got, exact); d != "" {
			t.Fatalf("%s (-want +got):\n%s", s.Name, d)
		}
		first, last := int64(math.MaxInt64), int64(math.MinInt64)
		for _, v := range got {
			first, last = min(first, v.Time), max(last, v.Time)
		}
		if s.Count != len(got) || s.First != first || s.Last != last {
			t.Fatalf("header says %+v of %d samples from %d to %d", s, len(got), first, last)
		}
	}
}

// sealed gives bytes the checksum that a chunk has, so that what lies behind it
// is reached, too.
func sealed(body []byte) []byte {
	return binary.LittleEndian.AppendUint32(body[:len(body):len(body)], crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

// Any bytes are a chunk or an error; what is a chunk can be packed again.
func FuzzDecode(f *testing.F) {
	for i := range 20 {
		frames := anyFrames().Example(i)
		b, err := chunk.Encode(frames)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:len(b)-4])
	}
	for _, frames := range examples {
		b, err := chunk.Encode(frames)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:len(b)-4])
	}
	for _, home := range homes {
		b, err := chunk.Encode(load(f, home.file)[:100])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b := sealed(body)
		frames, err := chunk.Decode(b)
		if c, openErr := chunk.Open(b); openErr == nil {
			for _, s := range c.Series() {
				if v, err := c.Samples(s.Name); err == nil && len(v) != s.Count {
					t.Fatalf("%d samples, the header says %d", len(v), s.Count)
				}
			}
		}
		if err != nil || len(frames) > 1000 {
			return // a long one says nothing more and takes its time
		}
		again, err := chunk.Encode(frames)
		if err != nil {
			t.Fatal(err)
		}
		same, err := chunk.Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(frames, same) {
			t.Fatalf("packed again (-want +got):\n%s", cmp.Diff(frames, same, exact))
		}
	})
}

func TestADamagedChunkIsRefused(t *testing.T) {
	b, err := chunk.Encode(load(t, "household_power_1min")[:50])
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		for _, flip := range []byte{1, 0x80} {
			bad := append([]byte(nil), b...)
			bad[i] ^= flip
			if _, err := chunk.Decode(bad); !errors.Is(err, chunk.ErrDamaged) {
				t.Fatalf("byte %d flipped: %v", i, err)
			}
		}
		if _, err := chunk.Decode(b[:i]); !errors.Is(err, chunk.ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	b[0] = chunk.Version + 1
	if _, err := chunk.Decode(sealed(b[:len(b)-4])); !errors.Is(err, chunk.ErrNewer) {
		t.Errorf("of a newer version: %v", err)
	}
}

func TestTooMuchIsRefused(t *testing.T) {
	if _, err := chunk.Encode(make([]chunk.Frame, chunk.MaxFrames+1)); !errors.Is(err, chunk.ErrTooLarge) {
		t.Errorf("too many frames: %v", err)
	}
	many := []chunk.Frame{{Records: make([]protocol.Record, chunk.MaxRecords+1)}}
	if _, err := chunk.Encode(many); !errors.Is(err, chunk.ErrTooLarge) {
		t.Errorf("too many records: %v", err)
	}
	relative := []chunk.Frame{{Records: make([]protocol.Record, 1)}}
	if _, err := chunk.Encode(relative); err == nil {
		t.Error("a relative time was taken")
	}
}
