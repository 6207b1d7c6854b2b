package store_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// What was written is counted as the disk saw it, by the day, over restarts; and
// a store at rest writes nothing for the sake of counting.
func TestWhatTheDiskWentThroughIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, disk := t.TempDir(), segmenttest.Reborn(nil)
		o := store.Options{Dir: dir, Commit: -1}
		s, err := store.OpenOn(o, disk, segment.DefaultSize, 4<<20)
		if err != nil {
			t.Fatal(err)
		}
		var database uint64
		count := func() {
			s.OnWrite(func(b []byte, _ int64) error { database += uint64(len(b)); return nil })
		}
		count()
		for seq := range uint64(7200) { // from midnight on
			say(t, s, "a", seq+1, store.Measured, nil)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		w := s.Wear()
		wrote := uint64(disk.Bytes) + database
		if off := float64(w.BytesToday)/float64(wrote) - 1; off < -0.01 || off > 0.01 {
			t.Errorf("%d bytes, the disk saw %d", w.BytesToday, wrote)
		}
		if w.SamplesToday < 7190 || w.CommitsToday > w.SyncsToday || w.BytesEver != w.BytesToday || w.Position < 7190 {
			t.Errorf("%+v", w)
		}
		once := 2 * uint64(segment.DefaultSize) // the first segments
		if year := float64(wrote-once) / 2 * 24 * 365 / 1e9; w.GBYear < 0.99*year || w.GBYear > 1.01*year {
			t.Errorf("%.2f GB a year, want %.2f", w.GBYear, year)
		}
		if w.PerSample < 100 || w.LifeYears == 0 {
			t.Errorf("%+v", w)
		}
		end(t, s)

		s, err = store.OpenOn(o, disk, segment.DefaultSize, 4<<20)
		if err != nil {
			t.Fatal(err)
		}
		if again := s.Wear(); again.BytesToday < w.BytesToday || again.SamplesToday != w.SamplesToday || again.GBYear == 0 {
			t.Errorf("after a restart: %+v, before %+v", again, w)
		}
		time.Sleep(2 * time.Hour) // what is left to do is done
		commits, ever := s.Health().Commits, s.Wear().BytesEver
		time.Sleep(22 * time.Hour)
		if h := s.Health(); h.Commits != commits || s.Wear().BytesEver != ever {
			t.Errorf("%d commits at rest", h.Commits-commits)
		}
		if w := s.Wear(); w.BytesToday != 0 || w.SamplesToday != 0 || w.PerSample == 0 {
			t.Errorf("the next day: %+v", w)
		}
		end(t, s)
	})
}
