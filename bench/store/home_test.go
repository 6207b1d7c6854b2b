package main

import (
	"math"
	"slices"
	"testing"
)

// Each contender keeps the same home, of values that sensors give.
func TestHomeIsTheSameForAll(t *testing.T) {
	one, other := newHome(), newHome()
	changed, before := 0, make([][]float64, deviceCount)
	const turns = 100
	for turn := range turns * deviceCount {
		device := turn % deviceCount
		values := one.measure(device)
		if !slices.Equal(values, other.measure(device)) {
			t.Fatalf("turn %d differs", turn)
		}
		for i, v := range values {
			if math.IsNaN(v) || math.Abs(v) > 1e5 {
				t.Fatalf("%s of %s is %g", seriesOf(device)[i].name, deviceName(device), v)
			}
			if before[device] != nil && before[device][i] != v {
				changed++
			}
		}
		before[device] = values
	}
	if share := float64(changed) / (turns * deviceCount * 6); share < 0.4 || share > 0.95 {
		t.Errorf("%.0f %% of values are new; a home's are neither all nor few", 100*share)
	} else {
		t.Logf("%.0f %% of values are new", 100*share)
	}
}
