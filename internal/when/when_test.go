package when_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/internal/when"
)

func TestDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "0d": 0, "500ms": 500 * time.Millisecond, "30s": 30 * time.Second, "1h30m": 90 * time.Minute,
		"1d": when.Day, "90d": 90 * when.Day, "1.5d": 36 * time.Hour, "2w": 14 * when.Day, "1d12h": 36 * time.Hour,
		"1w2d3h": 9*when.Day + 3*time.Hour, "+30s": 30 * time.Second, "36500d": 36500 * when.Day,
	} {
		if got, err := when.Duration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "5", "d", "w", "-1d", "-5m", "NaNd", "Infd", "36501d", "1e300d", "1d-5h", "5m1d", "1d1w", "1d2d", "1y", " 1d", "1d ", "9000000h", "36500d2562047h",
	} {
		if got, err := when.Duration(s); err == nil || !strings.Contains(err.Error(), "7d") {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func TestTextIsReadAgain(t *testing.T) {
	for _, s := range []string{"0", "500ms", "30s", "5m", "12h", "1h30m", "1h0m5s", "90d", "25h"} {
		d, err := when.Duration(s)
		if got := when.Text(d); err != nil || got != s {
			t.Errorf("%s is written %s, %v", s, got, err)
		}
	}
}

func TestMoment(t *testing.T) {
	zone := time.FixedZone("there", 2*60*60)
	now := time.Date(2026, 11, 21, 16, 30, 0, 0, zone)
	for s, want := range map[string]time.Time{
		"2026-11-20":           time.Date(2026, 11, 20, 0, 0, 0, 0, zone),
		"2026-11-20 14:00":     time.Date(2026, 11, 20, 14, 0, 0, 0, zone),
		"2026-11-20 14:00:05":  time.Date(2026, 11, 20, 14, 0, 5, 0, zone),
		"2026-11-20T14:00":     time.Date(2026, 11, 20, 14, 0, 0, 0, zone),
		"2026-11-20T14:00:05":  time.Date(2026, 11, 20, 14, 0, 5, 0, zone),
		"2026-11-20T14:00:00Z": time.Date(2026, 11, 20, 14, 0, 0, 0, time.UTC),
		"24h":                  now.Add(-24 * time.Hour),
		"-24h":                 now.Add(-24 * time.Hour),
		"7d":                   now.Add(-7 * when.Day),
		"1w":                   now.Add(-7 * when.Day),
		"1795219200":           time.Unix(1795219200, 0),
		"1795219200.25":        time.UnixMilli(1795219200250),
		"0":                    time.Unix(0, 0),
	} {
		if got, err := when.Moment(s, now, zone); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "yesterday", "2026-13-01", "21.11.2026", "2026-11-20 25:00", "1e12", "-5", "NaN", "--1h"} {
		if got, err := when.Moment(s, now, zone); err == nil || !strings.Contains(err.Error(), "2026-11-21") {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}
