package protocol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	fxcbor "github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// vector is one entry of testdata/vectors.json: a message, and what it means or
// how it is refused. Encode is what the meaning is written as, if that is not
// the message again.
type vector struct {
	Name    string
	Hex     string
	Note    string
	Frame   map[string]any
	Encode  string
	Refused *struct {
		Close   CloseCode
		Error   ErrorCode
		Message string
		Seq     uint64
		Boot    string
	}
}

func vectors(t testing.TB) []vector {
	t.Helper()
	file, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	d.UseNumber()
	var all []vector
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return b
}

// meaning renders a frame as the vectors do: its fields by their Go names with
// a small first letter, zero ones left out, byte strings in hex.
func meaning(f Frame) map[string]any {
	m := render(reflect.Indirect(reflect.ValueOf(f))).(map[string]any)
	delete(m, "raw") // the hash has its own test
	m["type"] = f.Type().String()
	var normal map[string]any
	b, err := json.Marshal(m)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		err = d.Decode(&normal)
	}
	if err != nil {
		panic(err)
	}
	return normal
}

func render(v reflect.Value) any {
	if value, ok := v.Interface().(Value); ok {
		return json.RawMessage(value.AppendJSON(nil))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return render(v.Elem())
	case reflect.Array:
		s := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(s), v)
		return hex.EncodeToString(s)
	case reflect.Slice:
		if s, ok := v.Interface().([]byte); ok {
			return hex.EncodeToString(s)
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = render(v.Index(i))
		}
		return list
	case reflect.Map:
		m := map[string]any{}
		for _, k := range v.MapKeys() {
			m[k.String()] = render(v.MapIndex(k))
		}
		return m
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			field := v.Field(i)
			empty := field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0
			if !empty {
				m[fieldName(v.Type().Field(i).Name)] = render(field)
			}
		}
		return m
	}
	return v.Interface()
}

func fieldName(s string) string {
	if short := strings.TrimSuffix(s, "s"); strings.ToUpper(short) == short {
		return strings.ToLower(s) // ID, CA, URLs
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// clearRaw makes Append write a description from its fields.
func clearRaw(f Frame) Frame {
	if d, ok := f.(*Describe); ok {
		d.Raw = nil
	}
	return f
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			message := unhex(t, v.Hex)
			f, err := Decode(message, Limits{})
			if v.Refused != nil {
				checkRefusal(t, &v, f, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			// What was read must not lie in the message, whose memory is reused.
			for i := range message {
				message[i] = 0xff
			}
			if d := cmp.Diff(v.Frame, meaning(f)); d != "" {
				t.Errorf("meaning (-want +got):\n%s", d)
			}
			want := v.Hex
			if v.Encode != "" {
				want = v.Encode
			}
			if got := hex.EncodeToString(Append(nil, clearRaw(f))); got != want {
				t.Errorf("written as\n     %s\nwant %s", got, want)
			}
		})
	}
}

func checkRefusal(t *testing.T, v *vector, f Frame, err error) {
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("taken as %v, error %v", f, err)
	}
	boot := ""
	if r.Boot != nil {
		boot = hex.EncodeToString(r.Boot[:])
	}
	w := v.Refused
	if r.Close != w.Close || r.Code != w.Error || r.Seq != w.Seq || boot != w.Boot || r.Message != w.Message {
		t.Errorf("refused with %+v, boot %q\nwant %+v", *r, boot, *w)
	}
}

// Whatever we write, a strict reader that is not ours reads, and would write in
// the same bytes: keys ascending, shortest integers (RFC 8949 §4.2.1). Floats
// are the exception, they keep the width in which they were measured.
func TestWhatWeWriteIsDeterministicCBOR(t *testing.T) {
	options := fxcbor.CoreDetEncOptions()
	options.ShortestFloat = fxcbor.ShortestFloatNone
	canonical, err := options.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := fxcbor.DecOptions{
		DupMapKey: fxcbor.DupMapKeyEnforcedAPF, IndefLength: fxcbor.IndefLengthForbidden,
		TagsMd: fxcbor.TagsForbidden, MaxNestedLevels: MaxNesting, UTF8: fxcbor.UTF8RejectInvalid,
		IntDec: fxcbor.IntDecConvertNone,
	}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, v := range vectors(t) {
		f, err := Decode(unhex(t, v.Hex), Limits{})
		if err != nil {
			continue
		}
		ours := Append(nil, clearRaw(f))
		var item any
		if err := reader.Unmarshal(ours, &item); err != nil {
			t.Errorf("%s: %x: %v", v.Name, ours, err)
			continue
		}
		theirs, err := canonical.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(ours, 0xf9) >= 0 || bytes.IndexByte(ours, 0xfa) >= 0 {
			continue // a narrow float was read into a float64, so theirs is wider
		}
		compared++
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%s:\nours   %x\ntheirs %x", v.Name, ours, theirs)
		}
	}
	if compared < 50 {
		t.Errorf("only %d frames were compared", compared)
	}
}
