package store

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hearthgate/hearthgate/protocol"
	"pgregory.net/rapid"
)

const noon = 1795219200000 // ms

var sameEntry = cmp.Options{cmp.AllowUnexported(protocol.Value{}), cmpopts.EquateEmpty()}

// every kind of value and every field that an entry can have.
var samples = []*Entry{
	{Pos: 1, Kind: Telemetry, Device: "kitchen", Boot: protocol.Boot{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 1, Received: noon, Records: []protocol.Record{
		{Name: "temperature", Unit: "Cel", Value: protocol.MakeValue(protocol.Float16, 0x4d60, ""), Time: noon * 1e6, Absolute: true},
		{Name: "desk/on", Value: protocol.Bool(false), Time: (noon - 60_000) * 1e6, Late: true},
		{Name: "energy", Value: protocol.MakeValue(protocol.Uint, math.MaxUint64, ""), Time: noon*1e6 + 1},
		{Name: "depth", Value: protocol.MakeValue(protocol.Neg, math.MaxUint64, ""), Time: math.MinInt64},
		{Name: "f32", Value: protocol.MakeValue(protocol.Float32, 0x7f7fffff, ""), Time: math.MaxInt64},
		{Name: "f64", Value: protocol.Float(-0.1), Unfit: true},
		{Name: "word", Value: protocol.Text("höher"), Time: noon * 1e6},
		{Name: "", Value: protocol.Text(""), Time: noon * 1e6},
	}},
	{Pos: 2, Kind: Telemetry, Device: "kitchen", Boot: protocol.Boot{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 1 << 53, Received: noon + 7, Uncertain: true},
	{Pos: 3, Kind: Result, Device: "desk", Received: noon - 100, Command: 1<<53 - 1, Records: []protocol.Record{{Name: "on", Value: protocol.Bool(true), Time: noon * 1e6}}},
	{Pos: 4, Kind: Refused, Device: "desk", Boot: protocol.Boot{9}, Seq: 4, Received: noon},
	{Pos: 5, Kind: Presence, Device: "desk", Received: noon, Presence: PresenceChange{Sleeping, noon - 1, "bye", noon + 600_000}},
	{Pos: 6, Kind: ClockStep, Received: noon + 86_400_000, Step: -86_400_000},
}

func pack(entries []*Entry) *packer {
	p := &packer{}
	p.reset(0, 0)
	for _, e := range entries {
		p.add(e)
	}
	p.seal()
	return p
}

func unpackAll(t interface{ Fatalf(string, ...any) }, p *packer) (out []*Entry) {
	for _, b := range p.blocks {
		entries, err := unpack(b.first, p.buf[b.from:b.to])
		if err != nil {
			t.Fatalf("block %d: %v", b.first, err)
		}
		out = append(out, entries...)
	}
	return out
}

func TestBlockKeepsEveryFieldExactly(t *testing.T) {
	if diff := cmp.Diff(samples, unpackAll(t, pack(samples)), sameEntry); diff != "" {
		t.Errorf("read back differs (-written +read):\n%s", diff)
	}
}

func TestBlocksStaySmallAndInOrder(t *testing.T) {
	big := &Entry{Kind: Telemetry, Device: "big", Received: noon, Records: []protocol.Record{{Name: "text", Value: protocol.Text(strings.Repeat("x", 5000))}}}
	var entries []*Entry
	for i := range 500 {
		e := *samples[i%len(samples)]
		if i == 250 {
			e = *big
		}
		e.Pos = Position(i + 1)
		entries = append(entries, &e)
	}
	p := pack(entries)
	var offset uint64
	var latest int64
	for _, b := range p.blocks {
		v := p.buf[b.from:b.to]
		h, _, err := unpackHeader(v)
		if err != nil {
			t.Fatal(err)
		}
		if len(v) > 1000 && h.count > 1 {
			t.Errorf("block %d has %d bytes and %d entries", b.first, len(v), h.count)
		}
		if h.offset != offset || h.latest < latest {
			t.Errorf("block %d: offset %d, want %d; latest %d after %d", b.first, h.offset, offset, h.latest, latest)
		}
		offset, latest = offset+uint64(len(v)), h.latest
	}
	if got := unpackAll(t, p); !cmp.Equal(got, entries, sameEntry) {
		t.Error("read back differs")
	}
}

func TestRandomEntriesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfN(rapid.Custom(randomEntry), 1, 40).Draw(t, "entries")
		for i, e := range entries {
			e.Pos = Position(i + 1)
		}
		if diff := cmp.Diff(entries, unpackAll(t, pack(entries)), sameEntry); diff != "" {
			t.Errorf("(-written +read):\n%s", diff)
		}
	})
}

func randomEntry(t *rapid.T) *Entry {
	e := &Entry{
		Kind: Kind(rapid.IntRange(1, 5).Draw(t, "kind")), Device: rapid.String().Draw(t, "device"),
		Seq: rapid.Uint64().Draw(t, "seq"), Received: rapid.Int64().Draw(t, "received"),
		Command: rapid.Uint64().Draw(t, "command"), Uncertain: rapid.Bool().Draw(t, "uncertain"), Step: rapid.Int64().Draw(t, "step"),
		Presence: PresenceChange{PresenceState(rapid.String().Draw(t, "state")), rapid.Int64().Draw(t, "since"), rapid.String().Draw(t, "cause"), rapid.Int64().Draw(t, "wake")},
	}
	binary.BigEndian.PutUint64(e.Boot[:], rapid.Uint64().Draw(t, "boot"))
	e.Records = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) protocol.Record {
		return protocol.Record{
			Name: rapid.String().Draw(t, "name"), Unit: rapid.String().Draw(t, "unit"), Time: rapid.Int64().Draw(t, "time"),
			Absolute: rapid.Bool().Draw(t, "absolute"), Unfit: rapid.Bool().Draw(t, "unfit"), Late: rapid.Bool().Draw(t, "late"), Value: randomValue(t),
		}
	}), 0, 5).Draw(t, "records")
	return e
}

func randomValue(t *rapid.T) protocol.Value {
	bits := rapid.Uint64().Draw(t, "bits")
	switch k := protocol.Kind(rapid.IntRange(0, 7).Draw(t, "kind")); k {
	case protocol.None:
		return protocol.Value{}
	case protocol.Str:
		return protocol.Text(rapid.String().Draw(t, "text"))
	case protocol.Boolean:
		return protocol.Bool(bits&1 == 1)
	case protocol.Float16:
		return protocol.MakeValue(k, bits&0xffff, "")
	case protocol.Float32:
		return protocol.MakeValue(k, bits&0xffffffff, "")
	default:
		return protocol.MakeValue(k, bits, "")
	}
}

func TestOneWrongBitIsFound(t *testing.T) {
	p := pack(samples)
	for bit := range len(p.buf) * 8 {
		v := append([]byte(nil), p.buf...)
		v[bit/8] ^= 1 << (bit % 8)
		if _, err := unpack(1, v); err == nil {
			t.Fatalf("bit %d is wrong and nobody noticed", bit)
		}
	}
}

// Whatever bytes carry a right checksum, reading them never panics and never
// takes memory for a lie about a length.
func FuzzUnpack(f *testing.F) {
	p := pack(samples)
	f.Add(p.buf[5:])
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		v := append([]byte{0, 0, 0, 0, blockFormat}, body...)
		binary.LittleEndian.PutUint32(v, crc32.Checksum(v[4:], castagnoli))
		entries, err := unpack(1, v)
		if err != nil || len(entries) == 0 {
			return
		}
		if again := unpackAll(t, pack(entries)); !cmp.Equal(again, entries, sameEntry) {
			t.Error("an entry changes when it is written again")
		}
		_, _ = decodeDevice("d", v)
	})
}

// Any bytes can be taken for a record.
func FuzzParts(f *testing.F) {
	f.Add([]byte("\x02\x05words\x01k\x04\x63foo\x07\x01b\x04\x04mqtt\x02"))
	f.Fuzz(func(t *testing.T, v []byte) {
		_ = eachPart(v, func(p *part) error {
			if p.kind == partBlock {
				_, _ = unpack(p.pos, p.value)
			}
			return nil
		})
	})
}

// The blocks in FORMAT.md are what it says they are.
func TestFormatDocument(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	vectors := regexp.MustCompile("(?s)```hex ([a-z]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	want := map[string]func([]byte) (any, any, error){
		"block": func(v []byte) (any, any, error) { got, err := unpack(1, v); return got, formatEntries, err },
		"device": func(v []byte) (any, any, error) {
			d, err := decodeDevice("kitchen", v)
			if err != nil {
				return nil, nil, err
			}
			return []any{d.boots[0].id, d.boots[0].last, *d.presence, d.cells["temperature"].newest},
				[]any{protocol.Boot{1, 2, 3, 4, 5, 6, 7, 8}, uint64(1), PresenceChange{Online, noon, "", 0},
					Newest{"temperature", protocol.MakeValue(protocol.Float16, 0x4d60, ""), noon * 1e6, noon}}, nil
		},
		"batch": func(v []byte) (any, any, error) {
			var got []string
			err := eachPart(v, func(p *part) error {
				got = append(got, fmt.Sprint(p.kind, " ", p.name, " ", p.key, " ", len(p.value), " ", p.pos, " ", len(p.boots)))
				if p.kind != partBlock {
					return nil
				}
				_, err := unpack(p.pos, p.value)
				return err
			})
			return got, []string{"1   39 3 0", "7 b  0 0 0", "2 words k 4 0 0", "3 words l 0 0 0", "4 mqtt  0 2 0", "5 old  0 0 0", "6 a  0 0 1"}, err
		},
		"row": func(v []byte) (any, any, error) {
			got, err := unsealRow(v)
			return hex.EncodeToString(got), "63666f6f", err
		},
	}
	for _, m := range vectors {
		b, err := hex.DecodeString(strings.Join(strings.Fields(regexp.MustCompile("(?m)  .*$").ReplaceAllString(m[2], "")), ""))
		if err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		got, expected, err := want[m[1]](b)
		if err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		if diff := cmp.Diff(expected, got, sameEntry); diff != "" {
			t.Errorf("%s (-text +bytes):\n%s", m[1], diff)
		}
		delete(want, m[1])
	}
	if len(want) > 0 {
		t.Errorf("FORMAT.md lacks examples: %d", len(want))
	}
}

var formatEntries = []*Entry{
	{Pos: 1, Kind: Telemetry, Device: "kitchen", Boot: protocol.Boot{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 1, Received: noon, Records: []protocol.Record{
		{Name: "temperature", Unit: "Cel", Value: protocol.MakeValue(protocol.Float16, 0x4d60, ""), Time: noon * 1e6}}},
	{Pos: 2, Kind: Presence, Device: "kitchen", Received: noon + 5, Presence: PresenceChange{State: Sleeping, Since: noon + 5, Cause: "bye", NextWake: noon + 600_005}},
}
