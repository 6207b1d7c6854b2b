package protocol

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func half(bits uint16) Value { return MakeValue(Float16, uint64(bits), "") }

func single(f float32) Value { return MakeValue(Float32, uint64(math.Float32bits(f)), "") }

func TestValuesReadAsWhatTheirSenderMeant(t *testing.T) {
	for _, c := range []struct {
		v                  Value
		text, json, normal string
	}{
		{Bool(true), "true", "true", "true"},
		{Bool(false), "false", "false", "false"},
		{Text("ON"), "ON", `"ON"`, "ON"},
		{Text(""), "", `""`, ""},
		{Text("a\"b\\c\n\x01\x7fé\u2028\xff"), "a\"b\\c\n\x01\x7fé\u2028\xff", `"a\"b\\c\n\u0001\u007fé` + "\u2028" + `�"`, "a\"b\\c\n\x01\x7fé\u2028\xff"},
		{Int(0), "0", "0", "0"},
		{Int(-1), "-1", "-1", "-1"},
		{Int(math.MinInt64), "-9223372036854775808", "-9223372036854775808", "-9223372036854776000"},
		{MakeValue(Uint, math.MaxUint64, ""), "18446744073709551615", "18446744073709551615", "18446744073709552000"},
		{MakeValue(Neg, math.MaxUint64, ""), "-18446744073709551616", "-18446744073709551616", "-18446744073709552000"},
		{Int(1 << 53), "9007199254740992", "9007199254740992", "9007199254740992"},
		{half(0x4d60), "21.5", "21.5", "21.5"},
		{half(0x2e66), "0.1", "0.1", "0.1"},
		{half(0xae66), "-0.1", "-0.1", "-0.1"},
		{half(0x0001), "6e-08", "6e-08", "6e-08"},
		{half(0x7bff), "65500", "65500", "65504"},
		{half(0x8000), "-0", "-0", "0"},
		{half(0x7e00), "NaN", "null", "NaN"},
		{half(0xfc00), "-Inf", "null", "-Inf"},
		{single(0.1), "0.1", "0.1", "0.1"},
		{single(21.3), "21.3", "21.3", "21.3"},
		{single(16777216), "16777216", "16777216", "16777216"},
		{Float(0.1), "0.1", "0.1", "0.1"},
		{Float(21), "21", "21", "21"},
		{Float(1e-6), "0.000001", "0.000001", "0.000001"},
		{Float(1e-7), "1e-07", "1e-07", "1e-07"},
		{Float(123456789012345680000), "123456789012345680000", "123456789012345680000", "123456789012345680000"},
		{Float(1e300), "1e+300", "1e+300", "1e+300"},
		{Float(math.Inf(1)), "+Inf", "null", "+Inf"},
		{Value{}, "", "null", ""},
	} {
		if got := c.v.String(); got != c.text {
			t.Errorf("%#v as text is %q, want %q", c.v, got, c.text)
		}
		got := c.v.AppendJSON(nil)
		if string(got) != c.json || !json.Valid(got) {
			t.Errorf("%#v as JSON is %s, want %s", c.v, got, c.json)
		}
		if got := c.v.Normal().String(); got != c.normal {
			t.Errorf("%#v as sent by the gateway is %q, want %q", c.v, got, c.normal)
		}
	}
}

// A whole number within ±2^53 is sent as an integer, whatever it came as; a
// single goes out as the double that has the same decimal.
func TestNormalPicksTheTypeThatTheGatewaySends(t *testing.T) {
	for _, c := range []struct{ v, want Value }{
		{Float(40), Int(40)},
		{half(0x5100), Int(40)},
		{Float(-1 << 53), Int(-1 << 53)},
		{Float(1<<53 + 2), Float(1<<53 + 2)},
		{Int(1<<53 + 1), Float(1 << 53)},
		{single(0.1), Float(0.1)},
		{half(0x2e66), Float(0.1)},
		{Float(0.1), Float(0.1)},
		{Text("x"), Text("x")},
		{Bool(true), Bool(true)},
	} {
		if got := c.v.Normal(); got != c.want && !(got.Kind() == Uint && got.AsFloat() == c.want.AsFloat()) {
			t.Errorf("%#v becomes %#v, want %#v", c.v, got, c.want)
		}
	}
}

// nearestHalf finds the half that a decimal is read as by trying them all.
func nearestHalf(f float64) uint16 {
	best, distance := uint16(0), math.Inf(1)
	for bits := range uint16(halfInfinity) {
		d := math.Abs(f - halfToFloat(bits))
		if d < distance || d == distance && bits&1 == 0 {
			best, distance = bits, d
		}
	}
	return best
}

// Every half is read back from its decimal, and no decimal with a digit less
// would do.
func TestHalvesHaveTheShortestDecimal(t *testing.T) {
	step := uint16(1)
	if testing.Short() {
		step = 97
	}
	for bits := uint16(1); bits < halfInfinity; bits += step {
		s := half(bits).String()
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		if !readAsHalf(f, bits) {
			t.Fatalf("half %#04x is written as %s, which is another", bits, s)
		}
		digits := len(significant(s))
		if digits == 1 {
			continue
		}
		// The two decimals with a digit less that lie around it.
		exponent := int(math.Floor(math.Log10(halfToFloat(bits)))) + 2 - digits
		scaled := math.Floor(halfToFloat(bits) * math.Pow10(-exponent))
		for _, d := range []float64{scaled, scaled + 1} {
			c, _ := strconv.ParseFloat(strconv.FormatFloat(d, 'f', 0, 64)+"e"+strconv.Itoa(exponent), 64)
			if readAsHalf(c, bits) {
				t.Fatalf("half %#04x is written as %s, though %v is enough", bits, s, c)
			}
		}
	}
	for _, bits := range []uint16{1, 2, 0x3ff, 0x400, 0x401, 0x2e66, 0x3c00, 0x4d60, 0x7bff} {
		f, _ := strconv.ParseFloat(half(bits).String(), 64)
		if got := nearestHalf(f); got != bits {
			t.Errorf("half %#04x is read back as %#04x", bits, got)
		}
	}
}

// readAsHalf reports whether the nearest half to f is that one.
func readAsHalf(f float64, bits uint16) bool {
	mine := math.Abs(f - halfToFloat(bits))
	for _, other := range []uint16{bits - 1, bits + 1} {
		theirs := math.Abs(f - min(halfToFloat(other), 65536)) // the step above the largest
		if theirs < mine || theirs == mine && bits&1 == 1 {
			return false
		}
	}
	return true
}

// significant strips a decimal to its significant digits.
func significant(s string) string {
	var digits []byte
	for i := 0; i < len(s) && s[i] != 'e'; i++ {
		if s[i] != '.' && (s[i] != '0' || len(digits) > 0) {
			digits = append(digits, s[i])
		}
	}
	for len(digits) > 1 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return string(digits)
}

func TestDecimalsGiveTheValueBackInItsWidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.Float64().Draw(t, "double")
		if got, _ := strconv.ParseFloat(Float(f).String(), 64); got != f {
			t.Errorf("%v is read back as %v", f, got)
		}
		g := rapid.Float32().Draw(t, "single")
		if got, _ := strconv.ParseFloat(single(g).String(), 32); float32(got) != g {
			t.Errorf("%v is read back as %v", g, got)
		}
		if f, g := single(g).Normal().AsFloat(), single(g).String(); Float(f).Normal().String() != g && f != math.Trunc(f) {
			t.Errorf("%s is sent as %v", g, f)
		}
	})
}

func FuzzValueString(f *testing.F) {
	f.Add(uint8(Float16), uint64(0x2e66), "")
	f.Add(uint8(Neg), uint64(math.MaxUint64), "")
	f.Add(uint8(Str), uint64(0), "a\"\xff\u2028")
	f.Fuzz(func(t *testing.T, kind uint8, bits uint64, text string) {
		k := Kind(kind % uint8(Str+1))
		switch k {
		case Boolean:
			bits &= 1
		case Float16:
			bits &= math.MaxUint16
		case Float32:
			bits &= math.MaxUint32
		}
		v := MakeValue(k, bits, text)
		if j := v.AppendJSON(nil); !json.Valid(j) {
			t.Errorf("%#v as JSON: %s", v, j)
		}
		if v.IsNumber() && v.finite() {
			got, err := strconv.ParseFloat(v.String(), 64)
			if err != nil || Float(got).String() != v.String() && k >= Float16 && k != Float32 {
				t.Errorf("%#v as text: %s", v, v)
			}
		}
		if n := v.Normal(); n.Normal() != n && v.finite() {
			t.Errorf("%#v is not normal after Normal: %#v", v, n)
		}
	})
}
