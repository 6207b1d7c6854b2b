// Package when reads and writes times as people type them: 90s, 7d, 2w,
// 2026-11-21, 2026-11-21 14:00. Settings, flags, the API and the ttl of a command
// all take the same.
package when

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Day is 24 hours, whatever a change to summer time does to one.
const Day = 24 * time.Hour

// longest is a hundred years, the most that days and weeks say.
const longest = 36500 * Day

// Duration reads Go's durations and weeks and days before them: 500ms, 1h30m, 7d,
// 2w, 1d12h. A plain number is none, but for 0.
func Duration(s string) (time.Duration, error) {
	var sum time.Duration
	rest := s
	for _, unit := range []struct {
		letter string
		is     time.Duration
	}{{"w", 7 * Day}, {"d", Day}} {
		number, after, found := strings.Cut(rest, unit.letter)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n >= 0 && n <= float64(longest/unit.is)) { // NaN is neither
			return 0, notDuration(s)
		}
		sum, rest = sum+time.Duration(n*float64(unit.is)), after
	}
	if rest == "" && s != "" {
		return sum, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || sum+d < 0 { // more than an int64 has
		return 0, notDuration(s)
	}
	return sum + d, nil
}

func notDuration(s string) error {
	return fmt.Errorf("want a duration such as 500ms, 30s, 12h, 7d or 2w, not %q", s)
}

// Text writes a duration as Duration reads it, without units that are nought.
func Text(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d%Day == 0:
		return strconv.Itoa(int(d/Day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// local are the forms that mean a time in the zone of whoever asks.
var local = []string{
	time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05",
}

// Moment reads a time: a day (its midnight) or a time of one in the given zone, RFC
// 3339, how long before now (24h, 7d), or seconds since 1970.
func Moment(s string, now time.Time, zone *time.Location) (time.Time, error) {
	for _, layout := range local {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if d, err := Duration(strings.TrimPrefix(s, "-")); err == nil && s != "0" {
		return now.Add(-d), nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f >= 0 && f < 1e11 {
		return time.UnixMilli(int64(f * 1000)), nil
	}
	return now, fmt.Errorf("want a day such as 2026-11-21, a time such as %q or 2026-11-21T14:00:00Z, "+
		"how long ago such as 24h or 7d, or seconds since 1970, not %q", "2026-11-21 14:00", s)
}
