package rollup

import "math"

// total adds numbers. Most of a home's are decimals of few places: those are
// added as integers, so that 0.1 and 0.2 are 0.3, the sum packs as well as the
// numbers do, and sums of sums are the sum of all. The rest is added as floats.
type total struct {
	units  int64 // of 10^-places
	places int
	rest   float64
}

const (
	maxPlaces = 9
	maxUnits  = 1 << 53 // below it a float64 gives the units back
)

var powersOfTen = [maxPlaces + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

func (t *total) add(x float64) {
	units, places, ok := decimal(x, t.places)
	if !ok {
		t.rest += x
		return
	}
	mine := float64(t.units) * powersOfTen[places-t.places]
	if math.Abs(mine)+math.Abs(float64(units)) >= maxUnits {
		t.rest += x
		return
	}
	t.units, t.places = int64(mine)+units, places
}

// decimal is x in units of 10^-places, with at least so many places.
func decimal(x float64, least int) (units int64, places int, ok bool) {
	for places = least; places <= maxPlaces; places++ {
		u := math.RoundToEven(x * powersOfTen[places])
		if !(math.Abs(u) < maxUnits) {
			return 0, 0, false
		}
		if u/powersOfTen[places] == x {
			return int64(u), places, true
		}
	}
	return 0, 0, false
}

func (t *total) value() float64 {
	return float64(t.units)/powersOfTen[t.places] + t.rest
}
