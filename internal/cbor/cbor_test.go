package cbor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"testing"

	fxcbor "github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

// The examples of RFC 8949 appendix A that the protocol's subset of CBOR has.
func TestAppendWritesWhatTheRFCShows(t *testing.T) {
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{AppendUint(nil, 0), "00"},
		{AppendUint(nil, 23), "17"},
		{AppendUint(nil, 24), "1818"},
		{AppendUint(nil, 100), "1864"},
		{AppendUint(nil, 1000), "1903e8"},
		{AppendUint(nil, 1000000), "1a000f4240"},
		{AppendUint(nil, 1000000000000), "1b000000e8d4a51000"},
		{AppendUint(nil, math.MaxUint64), "1bffffffffffffffff"},
		{AppendNeg(nil, math.MaxUint64), "3bffffffffffffffff"},
		{AppendInt(nil, -1), "20"},
		{AppendInt(nil, -1000), "3903e7"},
		{AppendInt(nil, 10), "0a"},
		{AppendInt(nil, math.MinInt64), "3b7fffffffffffffff"},
		{AppendFloat16(nil, 0x3e00), "f93e00"},
		{AppendFloat32(nil, math.Float32bits(100000)), "fa47c35000"},
		{AppendFloat64(nil, math.Float64bits(1.1)), "fb3ff199999999999a"},
		{AppendBool(nil, false), "f4"},
		{AppendBool(nil, true), "f5"},
		{AppendBytes(nil, []byte{1, 2, 3, 4}), "4401020304"},
		{AppendText(nil, "IETF"), "6449455446"},
		{AppendText(nil, "ü"), "62c3bc"},
		{AppendArray(nil, 25), "9819"},
		{AppendMap(nil, 1), "a1"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestReaderReadsWhatWasAppended(t *testing.T) {
	b := AppendMap(AppendArray(nil, 2), 1)
	b = AppendBytes(AppendText(b, "ü"), []byte{1, 2})
	b = AppendUint(b, 500)
	r := NewReader(b, 0)
	if n, err := r.Array(); n != 2 || err != nil {
		t.Error(n, err)
	}
	if n, err := r.Map(); n != 1 || err != nil {
		t.Error(n, err)
	}
	start := r
	if s, err := r.Text(); string(s) != "ü" || err != nil {
		t.Error(s, err)
	}
	if s, err := r.Bytes(); !bytes.Equal(s, []byte{1, 2}) || err != nil {
		t.Error(s, err)
	}
	if r.Peek() != Uint || r.Done() {
		t.Error("the number is gone")
	}
	if u, err := r.Uint(); u != 500 || err != nil || !r.Done() || r.Offset() != len(b) {
		t.Error(u, err)
	}
	if err := start.Skip(); err != nil || start.Peek() != Bytes {
		t.Error("a copy of a reader is not a place of its own")
	}
}

func TestReaderSaysWhatIsWrong(t *testing.T) {
	text := func(r *Reader) error { _, err := r.Text(); return err }
	for _, c := range []struct {
		hex  string
		read func(*Reader) error
		want string
	}{
		{"", text, "cbor: the item ends before its length"},
		{"", func(r *Reader) error { _, err := r.Head(); return err }, "cbor: the item ends before its length"},
		{"63c3bc", text, "cbor: the item ends before its length"},
		{"7bffffffffffffffff", text, "cbor: the item ends before its length"},
		{"7b0000000100000001ff", text, "cbor: the item ends before its length"}, // a length that 32 bits would cut to 1
		{"61ff", text, "cbor: text is not UTF-8"},
		{"7f", text, "cbor: reserved or indefinite length"},
		{"4161", text, "cbor: a byte string where a text was expected"},
		{"61", func(r *Reader) error { _, err := r.Uint(); return err }, "cbor: a text where an unsigned integer was expected"},
		{"19ff", func(r *Reader) error { _, err := r.Uint(); return err }, "cbor: the item ends before its length"},
		{"9a0000000200", func(r *Reader) error { _, err := r.Array(); return err }, "cbor: the item ends before its length"},
		{"a10000", func(r *Reader) error { _, err := r.Map(); return err }, "<nil>"},
		{"a200000000"[:8], func(r *Reader) error { _, err := r.Map(); return err }, "cbor: the item ends before its length"},
		{"bb8000000000000000", func(r *Reader) error { _, err := r.Map(); return err }, "cbor: the item ends before its length"},
		{"828161ff00", (*Reader).Skip, "cbor: text is not UTF-8"},
		{"9bffffffffffffffff", (*Reader).Skip, "cbor: the item ends before its length"},
		{"ff", (*Reader).Skip, "cbor: reserved or indefinite length"},
		{"c1", (*Reader).Skip, "cbor: the item ends before its length"},
		{"c100", (*Reader).Skip, "<nil>"},
	} {
		b, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(b, 0)
		got := "<nil>"
		if err := c.read(&r); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.hex, got, c.want)
		}
	}
}

func TestAnItemOfAnotherTypeStaysWhereItIs(t *testing.T) {
	r := NewReader([]byte{0x01}, 0)
	_, err := r.Text()
	var wrong *TypeError
	if !errors.As(err, &wrong) || wrong.Got != Uint || wrong.Want != Text {
		t.Errorf("%v", err)
	}
	if u, err := r.Uint(); u != 1 || err != nil {
		t.Error(u, err)
	}
}

// Skip ends where an independent reader says that the item ends, and takes
// nothing that it would not, on any bytes.
func TestSkipAgreesWithAnotherReader(t *testing.T) {
	mode, err := fxcbor.DecOptions{IndefLength: fxcbor.IndefLengthForbidden, MaxNestedLevels: 10000}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	// Heads are made more likely than chance would.
	piece := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 4),
		rapid.Map(rapid.SampledFrom([]string{"80", "81", "82", "a0", "a1", "18ff", "6161", "4100", "f4", "f93c00", "c1", "62c3bc", "9a00000001"}),
			func(s string) []byte { b, _ := hex.DecodeString(s); return b }),
	)
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		for _, p := range rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces") {
			b = append(b, p...)
		}
		r := NewReader(b, 0)
		ours := r.Skip()
		if ours == ErrUTF8 {
			return // theirs is asked for the form alone
		}
		var first fxcbor.RawMessage
		rest, theirs := mode.UnmarshalFirst(b, &first)
		if ours == nil && theirs == nil && r.Offset() != len(b)-len(rest) {
			t.Fatalf("%x: ends at %d, theirs at %d", b, r.Offset(), len(b)-len(rest))
		}
		if ours != nil && theirs == nil {
			t.Fatalf("%x: %v, theirs takes it", b, ours)
		}
	})
}

func FuzzSkip(f *testing.F) {
	f.Add([]byte{0x82, 0x06, 0xa1, 0x01, 0x61, 0x61})
	f.Add([]byte{0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b, 0)
		if err := r.Skip(); err == nil && (r.Offset() == 0 || r.Offset() > len(b)) {
			t.Errorf("%x: ends at %d", b, r.Offset())
		}
	})
}
