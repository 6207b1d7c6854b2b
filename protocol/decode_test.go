package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/hearthgate/hearthgate/internal/cbor"
)

func refusal(t testing.TB, b []byte, l Limits) *Refusal {
	t.Helper()
	f, err := Decode(b, l)
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("taken as %+v, error %v", f, err)
	}
	return r
}

func TestLimitsAreTheCallersToSet(t *testing.T) {
	log := Append(nil, Log{Level: 1, Text: "0123456789"})
	if r := refusal(t, log, Limits{Message: len(log) - 1}); r.Close != CloseTooBig {
		t.Error(r)
	}
	if r := refusal(t, log, Limits{Text: 9}); r.Code != TooLarge {
		t.Error(r)
	}
	two := Append(nil, &Telemetry{Seq: 7, Records: []Record{{Name: "a", Value: Text("12345")}, {Name: "b", Value: Int(1)}}})
	for _, l := range []Limits{{Records: 1}, {Text: 4}} {
		if r := refusal(t, two, l); r.Code != TooLarge || r.Seq != 7 {
			t.Error(r)
		}
	}
	describe := Append(nil, &Describe{Components: []Component{{ID: "a", Kind: "switch"}, {ID: "b", Kind: "switch"}}})
	for _, l := range []Limits{{Description: len(describe) - 1}, {Components: 1}} {
		if r := refusal(t, describe, l); r.Code != TooLarge {
			t.Error(r)
		}
	}
	for _, l := range []Limits{{Message: len(describe), Description: len(describe), Components: 2}, {}} {
		if _, err := Decode(describe, l); err != nil {
			t.Error(err)
		}
	}
}

// floods are messages of one limit's size that would cost much if something
// were copied, counted or compared carelessly.
func floods() map[string][]byte {
	const size = DefaultMessage - 32
	frame := func(typ Type, body ...byte) []byte {
		return append(cbor.AppendUint(cbor.AppendArray(nil, 2), uint64(typ)), body...)
	}
	filled := func(b []byte, n int, each func(b []byte, i int) []byte) []byte {
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
			b = each(b, i)
		}
		return b
	}
	zero := func(key func(b []byte, i int) []byte) func(b []byte, i int) []byte {
		return func(b []byte, i int) []byte { return append(key(b, i), 0) }
	}
	name := bytes.Repeat([]byte{'a'}, size-6*900)
	return map[string][]byte{
		"strange body keys": filled(cbor.AppendMap(frame(TypePing), size/4), size/4, zero(func(b []byte, i int) []byte {
			return cbor.AppendUint(b, uint64(i+32))
		})),
		"strange labels": filled(cbor.AppendMap(frame(TypeTelemetry, 0xa2, 1, 1, 2, 0x81), size/6), size/6, zero(func(b []byte, i int) []byte {
			return cbor.AppendText(b, fmt.Sprintf("%04x", i))
		})),
		"a long base name for many records": filled(append(cbor.AppendArray(frame(TypeTelemetry, 0xa2, 1, 1, 2), 900),
			append(cbor.AppendText([]byte{0xa2, 0x21}, string(name)), 2, 1)...), 899, func(b []byte, _ int) []byte { return append(b, 0xa1, 2, 1) }),
		"a long unit for many records": filled(append(cbor.AppendArray(frame(TypeTelemetry, 0xa2, 1, 1, 2), 900),
			cbor.AppendText([]byte{0xa3, 0, 0x61, 'a', 2, 1, 0x23}, strings.Repeat("u", DefaultText))...), 899,
			func(b []byte, _ int) []byte { return append(b, 0xa2, 0, 0x61, 'a', 2, 1) }),
		"empty arrays":  filled(cbor.AppendArray(frame(TypePing, 0xa1, 0x18, 99), size), size, func(b []byte, _ int) []byte { return append(b, 0x80) }),
		"empty records": filled(cbor.AppendArray(frame(TypeTelemetry, 0xa2, 1, 1, 2), size), size, func(b []byte, _ int) []byte { return append(b, 0xa0) }),
		"addresses":     filled(cbor.AppendArray(frame(TypeGrant, 0xa1, 5), size), size, func(b []byte, _ int) []byte { return append(b, 0x60) }),
		"components":    filled(cbor.AppendArray(frame(TypeDescribe, 0xa1, 7), 15000), 15000, func(b []byte, _ int) []byte { return append(b, 0xa0) }),
		"options": filled(cbor.AppendArray(frame(TypeDescribe, 0xa1, 7, 0x81, 0xa1, 10), 15000), 15000,
			func(b []byte, _ int) []byte { return append(b, 0x60) }),
		"a log": cbor.AppendText(frame(TypeLog, 0xa1, 2), strings.Repeat("x", size)),
	}
}

// A message costs at most about sixteen times its size, whatever is in it.
func TestMemoryStaysInTheClassOfTheMessage(t *testing.T) {
	for name, b := range floods() {
		if len(b) > DefaultMessage {
			t.Errorf("%s: %d bytes are refused for their size", name, len(b))
		}
		_, _ = Decode(b, Limits{}) // what is allocated once
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Decode(b, Limits{})
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 16*DefaultMessage {
			t.Errorf("%s: %d bytes for a message of %d", name, got, len(b))
		}
	}
}

func TestEveryPrefixOfAFrameIsRefused(t *testing.T) {
	for _, v := range vectors(t) {
		if !strings.HasPrefix(v.Name, "example: ") {
			continue
		}
		b := unhex(t, v.Hex)
		for n := range b {
			if r := refusal(t, b[:n], Limits{}); r.Close != CloseMalformed {
				t.Errorf("%s, %d bytes: %v", v.Name, n, r)
			}
		}
	}
}

// The seq is found wherever it stands, whatever else is wrong.
func TestTheSeqIsKnownToEveryRefusalOfARecord(t *testing.T) {
	boot := Boot{1, 2, 3}
	pairs := [][]byte{
		cbor.AppendUint([]byte{1}, 77),
		{2, 0x81, 0xa0}, // a record without a name
		cbor.AppendBytes([]byte{3}, boot[:]),
		{4, 0x20}, // a negative age
		{0x18, 99, 0xf6},
	}
	rapid.Check(t, func(t *rapid.T) {
		b := []byte{0x82, 6, 0xa5}
		for _, p := range rapid.Permutation(pairs).Draw(t, "body") {
			b = append(b, p...)
		}
		_, err := Decode(b, Limits{})
		var r *Refusal
		if !errors.As(err, &r) || r.Seq != 77 || r.Boot == nil || *r.Boot != boot {
			t.Fatalf("%v", err)
		}
	})
}

func TestWhatAnErrorFrameSaysFitsIntoIt(t *testing.T) {
	long := strings.Repeat("\x01", DefaultText)
	options := []string{long, long + "a", long + "b", long + "c", long + "d", long + "e", long + "f", long + "g"}
	p := describe(t, Component{ID: "a", Kind: "select", Options: options}).Point("a")
	if err := p.CheckCommand(Text(long + "x")); len(err.Error()) > DefaultText {
		t.Errorf("%d bytes", len(err.Error()))
	}
}

func TestRefusalsReadAsAnswers(t *testing.T) {
	if got := (&Refusal{Close: CloseMalformed, Message: "x"}).Error(); got != "close 4000: x" {
		t.Error(got)
	}
	if got := (&Refusal{Code: TooLarge, Message: "x"}).Error(); got != "error 4: x" {
		t.Error(got)
	}
	if got := TypeHello.String() + ", " + Type(15).String(); got != "hello, type 15" {
		t.Error(got)
	}
}

// frameGen draws frames as our own code would make them.
func frameGen(t *rapid.T) Frame {
	boot := rapid.Custom(func(t *rapid.T) Boot {
		return Boot(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "boot"))
	})
	seq := rapid.Uint64Range(1, MaxSeq)
	value := rapid.OneOf(
		rapid.Map(rapid.Bool(), Bool),
		rapid.Map(rapid.Int64(), Int),
		rapid.Map(rapid.Float64Range(-1e300, 1e300), Float),
		rapid.Map(rapid.Float32Range(-1e30, 1e30), single),
		rapid.Map(rapid.Uint16Range(0, halfInfinity-1), half),
		rapid.Map(rapid.StringN(0, 20, 100), Text),
	)
	record := rapid.Custom(func(t *rapid.T) Record {
		return Record{
			Name:  rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,31}(/[a-z0-9][a-z0-9_-]{0,31})?`).Draw(t, "name"),
			Unit:  rapid.SampledFrom([]string{"", "Cel", "%RH"}).Draw(t, "unit"),
			Value: value.Draw(t, "value"),
			Time:  rapid.Int64Range(-1<<31, 1<<31).Draw(t, "ms") * 1e6, // a float64 tells ns apart up to 48 days
		}
	})
	records := rapid.SliceOfN(record, 0, 4)
	text := rapid.StringN(0, 20, 60)
	switch rapid.IntRange(0, 6).Draw(t, "type") {
	case 0:
		return &Telemetry{Seq: seq.Draw(t, "seq"), Records: records.Draw(t, "records"), Age: rapid.Uint64().Draw(t, "age"), Uncertain: rapid.Bool().Draw(t, "uncertain")}
	case 1:
		b := boot.Draw(t, "boot")
		return Ack{Seq: seq.Draw(t, "seq"), Boot: &b}
	case 2:
		return &Hello{Boot: boot.Draw(t, "boot"), Firmware: text.Draw(t, "firmware"), MaxFrame: rapid.Uint64Range(MinFrame, 1<<40).Draw(t, "frame"),
			Boots: rapid.SliceOfN(boot, 0, MaxBoots).Draw(t, "boots"), Heartbeat: rapid.Uint64().Draw(t, "heartbeat")}
	case 3:
		return Error{Code: ErrorCode(rapid.Uint64().Draw(t, "code")), Message: text.Draw(t, "message"), Seq: rapid.Uint64().Draw(t, "seq")}
	case 4:
		return &Welcome{Device: text.Draw(t, "device"), Settled: rapid.Uint64().Draw(t, "settled"), Describe: rapid.Bool().Draw(t, "describe"),
			Boots: []SettledBoot{{boot.Draw(t, "boot"), rapid.Uint64().Draw(t, "seq")}}}
	case 5:
		return &Result{ID: rapid.Uint64Range(0, MaxSeq).Draw(t, "id"), Code: ResultCode(rapid.Uint64().Draw(t, "code")), Records: records.Draw(t, "records")}
	}
	n := rapid.Float64Range(-1e6, 1e6).Draw(t, "min")
	return &Describe{Model: text.Draw(t, "model"), Area: text.Draw(t, "area"), Components: []Component{{
		ID: "a", Kind: text.Draw(t, "kind"), Min: &n, Options: rapid.SliceOfN(text, 0, 3).Draw(t, "options"),
		Attributes: map[string]Attribute{"on": {}, "brightness": {Max: &n}},
	}}}
}

func TestFramesArriveAsTheyWereSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := frameGen(t)
		got, err := Decode(Append(nil, sent), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(sent, clearRaw(got), cmp.AllowUnexported(Value{}), cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); d != "" {
			t.Fatalf("(-sent +got):\n%s", d)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := Decode(b, Limits{})
		if err != nil {
			var r *Refusal
			if !errors.As(err, &r) || (r.Close == 0) == (r.Code == 0) || len(r.Message) > DefaultText {
				t.Fatalf("%#v", err)
			}
			return
		}
		once := Append(nil, clearRaw(frame))
		again, err := Decode(once, Limits{Message: 1 << 30, Description: 1 << 30})
		if err != nil {
			t.Fatalf("%x is written as %x: %v", b, once, err)
		}
		if twice := Append(nil, clearRaw(again)); !bytes.Equal(once, twice) {
			t.Fatalf("%x is written as\n%x, and that as\n%x", b, once, twice)
		}
		if d, ok := again.(*Describe); ok {
			_, _ = NewDescription(d, nil, Limits{})
		}
	})
}

func BenchmarkDecodeTelemetry(b *testing.B) {
	frame := unhex(b, "8206a201010282a2006b74656d706572617475726502f94d60a200676465736b2f6f6e04f4")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(frame, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendAck(b *testing.B) {
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], Ack{Seq: 12345})
	}
}
