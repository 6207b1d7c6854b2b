package store

import (
	"testing"
	"time"
)

// A time server says 2037 to a gateway that runs, and takes it back; later the clock
// is right to be far ahead, and goes on from there.
func TestHistoryAgesByAClockThatGoesOn(t *testing.T) {
	const year = 365 * 24 * time.Hour
	begin := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	var a ages
	for _, step := range []struct{ clock, age time.Duration }{
		{0, 0},
		{time.Hour, time.Hour},
		{11 * year, time.Hour},
		{11*year + 23*time.Hour, 24 * time.Hour}, // by the time that passed
		{25 * time.Hour, 25 * time.Hour},
		{-time.Hour, -time.Hour},
		{20 * 24 * time.Hour, 20 * 24 * time.Hour}, // off for a holiday
		{year, 20 * 24 * time.Hour},
		{year + 24*time.Hour, year + 24*time.Hour},
		{year + 25*time.Hour, year + 25*time.Hour},
	} {
		if age, _ := a.at(begin.Add(step.clock)); !age.Equal(begin.Add(step.age)) {
			t.Errorf("%v after the begin history ages by %v, want %v", step.clock, age.Sub(begin), step.age)
		}
	}
}
