package store

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
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

// pack makes a record of entries, whose words are defined in it.
func pack(entries []*Entry) []byte {
	c := &committer{words: newWords(), next: 1}
	if len(entries) > 0 {
		c.next, c.batch.received = entries[0].Pos, entries[0].Received
	}
	c.entries = entryWriter{words: c.words, prev: c.batch.received}
	for _, e := range entries {
		c.entries.add(e)
	}
	return c.appendBatch(nil)
}

// unpack reads the entries of records that follow each other.
func unpack(payloads ...[]byte) (all []*Entry, err error) {
	w := newWords()
	rr := recordReader{mean: w.of}
	for n, payload := range payloads {
		err := rr.each(payload, func(p *part) error {
			for i, text := range p.texts {
				w.learn(p.edition, p.number+uint32(i), text, uint64(n))
			}
			all = append(all, p.entries...)
			return nil
		})
		if err != nil {
			return all, err
		}
	}
	if rr.missing > 0 {
		err = errWord
	}
	return all, err
}

func TestTheLogKeepsEveryFieldExactly(t *testing.T) {
	got, err := unpack(pack(samples))
	if diff := cmp.Diff(samples, got, sameEntry); diff != "" || err != nil {
		t.Errorf("%v, read back differs (-written +read):\n%s", err, diff)
	}
}

func TestRandomEntriesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfN(rapid.Custom(randomEntry), 1, 40).Draw(t, "entries")
		for i, e := range entries {
			e.Pos = Position(i + 1)
		}
		got, err := unpack(pack(entries))
		if diff := cmp.Diff(entries, got, sameEntry); diff != "" || err != nil {
			t.Errorf("%v (-written +read):\n%s", err, diff)
		}
	})
}

// What blocks of formats 1 and 2 say can be read as well.
func TestOlderBlocksCanBeRead(t *testing.T) {
	p := &packer{}
	p.reset(0, 0)
	for _, e := range samples {
		p.add(e)
	}
	p.seal()
	var got []*Entry
	for _, b := range p.blocks {
		entries, err := readOlderBlock(b.first, p.buf[b.from:b.to])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entries...)
	}
	if diff := cmp.Diff(samples, got, sameEntry); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
}

// A float that is a short decimal takes few bytes and comes back bit for bit; no
// other is touched.
func TestShortDecimalsAreExact(t *testing.T) {
	for _, f := range []float64{0, 21.5, -21.5, 48.3, 0.001, 1013.25, 100, 1e9, -0.1, 0.1 + 0.2, math.Copysign(0, -1), math.Inf(1), math.Inf(-1),
		math.NaN(), math.SmallestNonzeroFloat64, math.MaxFloat64, 1 << 53, 1<<53 + 2, 1.0005, 1e12 + 0.125} {
		for _, v := range []protocol.Value{protocol.Float(f), protocol.MakeValue(protocol.Float32, uint64(math.Float32bits(float32(f))), "")} {
			kind, short := shortFloat(v)
			if kind < decimal32 {
				continue
			}
			if got, ok := longFloat(v.Kind(), short); !ok || got != v {
				t.Errorf("%v of kind %d became %v", f, v.Kind(), got)
			}
		}
	}
	for f, want := range map[float64]int{21.5: 2, 48.3: 2, 1013.25: 3, 0: 1, 230.123: 3} {
		_, short := shortFloat(protocol.Float(f))
		if n := len(binary.AppendUvarint(nil, short)); n != want {
			t.Errorf("%v takes %d bytes, want %d", f, n, want)
		}
	}
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

// Whatever bytes stand in a record, reading them never panics and never takes
// memory for a lie about a length, and what can be read is written as it was.
func FuzzRecord(f *testing.F) {
	f.Add(pack(samples))
	f.Add([]byte("\x10\x01\x00\x00\x02\x05words\x01k\x04\x63foo\x07\x01b\x04\x04mqtt\x02"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		entries, err := unpack(payload)
		_ = eachOlderPart(payload, func(*part) error { return nil })
		_, _ = readOlderBlock(1, payload)
		_, _ = decodeDevice("d", payload)
		if err != nil || len(entries) == 0 {
			return
		}
		again, err := unpack(pack(entries))
		if err != nil || !cmp.Equal(again, entries, sameEntry) {
			t.Errorf("an entry changes when it is written again: %v", err)
		}
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
			w := newWords()
			rr := recordReader{mean: w.of}
			err := rr.each(v, func(p *part) error {
				got = append(got, fmt.Sprint(p.kind, " ", p.name, " ", p.key, " ", len(p.value), " ", p.pos, " ", len(p.boots), " ", p.texts))
				for i, text := range p.texts {
					w.learn(p.edition, p.number+uint32(i), text, 1)
				}
				if diff := cmp.Diff(formatEntries, p.entries, sameEntry); p.kind == partEntries && diff != "" {
					t.Errorf("(-text +bytes):\n%s", diff)
				}
				return nil
			})
			return got, []string{"8   0 0 0 [kitchen temperature Cel]", "1   0 0 0 []", "7 b  0 0 0 []", "2 words k 4 0 0 []", "3 words l 0 0 0 []", "4 mqtt  0 2 0 []", "5 old  0 0 0 []", "6 a  0 0 1 []"}, err
		},
		"record": func(v []byte) (any, any, error) {
			_, got, err := openRecord(v)
			return string(got), "hello", err
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
