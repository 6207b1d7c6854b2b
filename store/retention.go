package store

import (
	"time"

	"github.com/hearthgate/hearthgate/store/history"
)

// Keep is how long samples and rows are kept; 0 is for ever.
type Keep = history.Keep

// Retention is how long everything is kept that nothing else is said of.
func (s *Store) Retention() Keep { return ordered(s.retain) }

// Keeps are the overrides of it: of devices ("kitchen"), components
// ("kitchen/desk") and values ("kitchen/desk/power"). The longest name that fits
// counts, whole.
func (s *Store) Keeps() (map[string]Keep, error) {
	t, err := OpenTable[KeepRow](s, KeepTable)
	if err != nil {
		return nil, err
	}
	all := map[string]Keep{}
	return all, t.Each(func(name string, row KeepRow) error {
		span := func(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }
		all[name] = Keep{Raw: span(row.Raw), FiveMinutes: span(row.FiveMinutes), Hours: span(row.Hours), Days: span(row.Days)}
		return nil
	})
}

// SetKeep sets one override, durably. A level is kept at least as long as the
// finer ones. What is over goes within the hour.
func (s *Store) SetKeep(name string, k Keep) error {
	t, err := OpenTable[KeepRow](s, KeepTable)
	if err != nil {
		return err
	}
	k = ordered(k)
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	return t.PutSync(name, KeepRow{seconds(k.Raw), seconds(k.FiveMinutes), seconds(k.Hours), seconds(k.Days)})
}

// RemoveKeep takes an override back.
func (s *Store) RemoveKeep(name string) error {
	t, err := OpenTable[KeepRow](s, KeepTable)
	if err != nil {
		return err
	}
	return t.DeleteSync(name)
}

// ordered keeps each level at least as long as the finer ones.
func ordered(k Keep) Keep {
	for _, l := range []struct{ finer, d *time.Duration }{
		{&k.Raw, &k.FiveMinutes}, {&k.FiveMinutes, &k.Hours}, {&k.Hours, &k.Days},
	} {
		switch {
		case *l.finer <= 0:
			*l.d = 0
		case *l.d > 0:
			*l.d = max(*l.d, *l.finer)
		}
	}
	return k
}
