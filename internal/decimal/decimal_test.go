package decimal

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Rounding agrees with what decimal arithmetic says.
func TestRoundingIsDecimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(-1e12, 1e12).Draw(t, "n") // thousandths of thousandths
		places := rapid.IntRange(0, 7).Draw(t, "places")
		s := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%06d", abs(n)/1e6, abs(n)%1e6), "0"), ".")
		if n < 0 {
			s = "-" + s
		}
		unit := int64(1)
		for range 6 - min(places, 6) {
			unit *= 10
		}
		r := (abs(n) + unit/2) / unit * unit
		want := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%06d", r/1e6, r%1e6), "0"), ".")
		if n < 0 && r != 0 || n < 0 && places >= 6 {
			want = "-" + want
		}
		if got := string(Append(nil, s, places)); got != want {
			t.Fatalf("%s to %d places: %s, want %s", s, places, got, want)
		}
	})
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}
