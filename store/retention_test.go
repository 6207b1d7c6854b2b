package store_test

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/storetest"
)

var (
	fullHome = flag.Bool("full", false, "50 devices every 10 s in place of 4 every two minutes in the run of sixty days")
	leftHome = flag.String("leave", "", "an empty directory for the store of the run of sixty days, which is left there")
)

// june is when simulated homes begin: a clock that is believed.
var june = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// Sixty days of a home that keeps thirty, at all levels but that of days: the file
// stops growing, what is kept is right, nothing is damaged, and a build for a smaller
// machine reads it. Meanwhile somebody decides that one device's samples are worth a
// week only.
func TestSixtyDaysOfAHomeThatKeepsThirty(t *testing.T) {
	h := &storetest.Home{Devices: 4, Every: 2 * time.Minute}
	if *fullHome {
		h = &storetest.Home{Devices: 50, Every: 10 * time.Second}
	}
	if underRace {
		h = &storetest.Home{Devices: 2, Every: 10 * time.Minute}
	}
	dir := *leftHome
	if dir == "" {
		dir = memoryDir(t)
	}
	synctest.Test(t, func(t *testing.T) {
		const day, kept = 24 * time.Hour, 30 * 24 * time.Hour
		time.Sleep(time.Until(june))
		o := store.Options{Dir: dir, Commit: -1, Retain: kept, Rows: store.RetainRows{FiveMinutes: kept, Hours: kept}}
		s := open(t, o)
		s.Describe(h.Counter)
		samples, first := 0, storetest.HomeDevice(0)
		var sizes [60]int64
		for d := range sizes {
			if d == 50 {
				if err := s.SetKeep(first, store.Keep{Raw: 7 * day, FiveMinutes: kept, Hours: kept}); err != nil {
					t.Fatal(err)
				}
			}
			for hour := range 24 {
				from := june.Add(time.Duration(24*d+hour) * time.Hour)
				time.Sleep(time.Until(from.Add(time.Hour)))
				samples += h.Live(t, s, 0, from, from.Add(time.Hour))
			}
			sizes[d] = size(t, filepath.Join(dir, "gateway.db"))
		}
		time.Sleep(3 * time.Hour) // in which the last day is merged
		synctest.Wait()
		t.Logf("%d samples; the file after 10, 31, 45, 60 days: %d, %d, %d, %d bytes; the log has %d",
			samples, sizes[9], sizes[30], sizes[44], sizes[59], s.Health().LogBytes)
		if float64(sizes[59]) > 1.1*float64(sizes[36]) {
			t.Errorf("the file grew from %d bytes to %d after the first thirty days", sizes[36], sizes[59])
		}
		w := s.Wear()
		oldest := time.Now().Add(-kept - 26*time.Hour)
		if w.OldestRaw.Before(oldest) || w.OldestRaw.After(oldest.Add(2*day)) {
			t.Errorf("the oldest samples are of %v, it is %v", w.OldestRaw, time.Now())
		}
		for device, keeps := range map[string]time.Duration{first: 7 * day, storetest.HomeDevice(1): kept} {
			perDay := int(day / h.Every)
			all, err := s.History(t.Context(), device, "temperature", june, time.Now(), 0)
			if n := len(all) / perDay; err != nil || n < int(keeps/day) || n > int(keeps/day)+1 {
				t.Errorf("%s: samples of %d days, %v", device, n, err)
			}
			rows, err := s.Rows(t.Context(), device, "temperature", june, time.Now(), store.Days)
			if err != nil || len(rows) != 60 {
				t.Fatalf("%s: rows of %d days, %v", device, len(rows), err)
			}
			rightRows(t, rows[60-len(all)/perDay:], all)
		}
		if err := s.RemoveKeep(first); err != nil { // or it would go on while others read
			t.Fatal(err)
		}
		end(t, s)
	})
	sameIn32Bits(t, dir)
}

// A start with a clock that is ten years ahead, as after a wrong answer of a time
// server, takes nothing away; a clock that stays so for a day is believed.
func TestAClockFarAheadTakesNothingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		time.Sleep(time.Until(june))
		var log bytes.Buffer
		h := &storetest.Home{Devices: 1, Every: time.Hour}
		o := store.Options{Dir: memoryDir(t), Commit: -1, Retain: 14 * day, Log: slog.New(slog.NewTextHandler(&log, nil))}
		kept := func(s *store.Store) int {
			all, err := s.History(t.Context(), storetest.HomeDevice(0), "temperature", june, june.Add(2*day), 0)
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		}
		s := open(t, o)
		h.Live(t, s, 0, june, june.Add(day))
		time.Sleep(2 * day)
		want := kept(s)
		end(t, s)

		time.Sleep(10 * 365 * day)
		s = open(t, o)
		time.Sleep(5 * time.Hour)
		if n := kept(s); n != want || want == 0 {
			t.Errorf("%d samples of %d are left", n, want)
		}
		if n := s.Health().ClockDoubts; n != 1 || strings.Count(log.String(), "far ahead") != 1 {
			t.Errorf("the clock was doubted %d times; the log has\n%s", n, &log)
		}
		time.Sleep(day)
		if n := kept(s); n != 0 {
			t.Errorf("%d samples are left of ten years ago", n)
		}
		end(t, s)
	})
}

// rightRows recomputes rows from the samples.
func rightRows(t *testing.T, rows []store.Row, samples []store.Sample) {
	t.Helper()
	for _, row := range rows {
		n, sum := 0, 0.0
		for _, v := range samples {
			if v.Time >= row.Start && v.Time < row.End {
				n, sum = n+1, sum+v.Value.AsFloat()
			}
		}
		if row.Count != n || math.Abs(row.Mean()-sum/float64(n)) > 1e-9 {
			t.Errorf("the day of %v: %d values with the mean %v; want %d, %v", time.Unix(0, row.Start).UTC(), row.Count, row.Mean(), n, sum/float64(n))
		}
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// One device's samples are kept for a shorter time than the others'. What was looked at
// for that is not looked at again each hour.
func TestWhatWasThinnedOutIsNotLookedAtAgain(t *testing.T) {
	const devices = 150 // whose values one transaction does not look at
	o := store.Options{Dir: t.TempDir(), Commit: 0}
	s := open(t, o)
	for n := range devices {
		sayNow(t, s, fmt.Sprint("d", n), 1)
	}
	if err := s.SetKeep("d0", store.Keep{Raw: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	end(t, s)
	said := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) // about
	night := said.AddDate(0, 0, 5)
	took, err := store.Nights(o, said.Add(24*time.Hour), night, night.Add(time.Hour), night.Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if took[1] < 3 || took[2] > 1 || took[3] > 1 {
		t.Errorf("transactions: %v", took)
	}
}
