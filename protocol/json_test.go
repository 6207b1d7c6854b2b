package protocol

import (
	"math"
	"testing"
)

func TestTimesAreWrittenToTheNanosecond(t *testing.T) {
	for ns, want := range map[int64]string{
		0:                          "0.0",
		1:                          "0.000000001",
		-1:                         "-0.000000001",
		21_500_000_000:             "21.5",
		1_795_219_200_000_000_000:  "1795219200.0",
		-1_795_219_200_100_000_000: "-1795219200.1",
		math.MaxInt64:              "9223372036.854775807",
		math.MinInt64:              "-9223372036.854775808",
	} {
		if got := string(AppendSeconds(nil, ns)); got != want {
			t.Errorf("%d ns are written %s, want %s", ns, got, want)
		}
	}
}

// RFC 8428 §4.3: the label tells the type.
func TestLabelsOfJSONRecordsTellTheType(t *testing.T) {
	for v, want := range map[Value]string{
		Float(21.5):  `"v":21.5`,
		Int(-3):      `"v":-3`,
		Bool(true):   `"vb":true`,
		Text(`"on"`): `"vs":"\"on\""`,
	} {
		if got := string(v.AppendSenML(nil)); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}
