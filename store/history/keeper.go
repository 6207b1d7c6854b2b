package history

import (
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Keeper does the work of the night: it merges what was sealed and drops what was
// kept long enough. One goroutine at a time uses it, in transactions that write.
// What a transaction did that was rolled back is done again by the next.
type Keeper struct {
	Policy   Policy   // may be another at each call
	Counters Counters // nil: nothing is known
	Damage   Damage   // nil: nobody is told

	pass   [levels]pass // of Retain
	passOf Policy       // the policy that these went by
}

// Merge merges the pieces of days before that of now, of at most so many devices
// and days, the oldest first, and reports whether there may be more. It writes the
// whole day of a device anew, its rows and those of the month and the year, so it
// is for once a night, best some minutes after midnight UTC, when what was under
// way is sealed; and better for 50 devices at once than for 8, which would write
// twice as much, as neighbours share pages. Merge before Retain. Whatever is merged
// again or in another order gives the same.
//
// now also tells what is too old to be kept: samples that come so late count in
// the rows that are still kept, no more.
func (k *Keeper) Merge(tx *bolt.Tx, now time.Time, most int) (more bool, err error) {
	today := dayOf(now.UnixNano())
	r := &Reader{tx, k.Counters, k.Damage}
	for _, d := range r.shelves(pieces, dayOf(earliest), today-1) {
		s := openShelf(tx, pieces, d)
		for _, device := range s.unmerged() {
			if most--; most < 0 {
				return true, nil
			}
			if err := k.mergeDay(r, &s, device, d, now); err != nil {
				return true, err
			}
		}
		if _, err := s.drop(); err != nil {
			return true, err
		}
	}
	return false, nil
}

// mergeDay merges what a device said of a day.
func (k *Keeper) mergeDay(r *Reader, late *shelf, device string, d day, now time.Time) error {
	all := r.sources(device, d)
	b := &book{Reader: r, device: device, pages: map[page]*bookPage{}}
	var gone []string // series of which no samples are kept
	for _, name := range all.names() {
		late, err := k.overdue(r.Tx, device, name, d, now)
		if err != nil {
			return err
		}
		b.rollUp(&all, name, d, late)
		if err := b.settle(name); err != nil {
			return err
		}
		if late[Raw] {
			gone = append(gone, name)
		}
	}
	if err := b.write(); err != nil {
		return err
	}
	raw := openShelf(r.Tx, Raw, d)
	if err := raw.merge(device, all.chunks, gone); err != nil {
		return err
	}
	return late.mark(device, all.chunks)
}

// overdue tells of which levels a series' day is not kept any more.
func (k *Keeper) overdue(tx *bolt.Tx, device, name string, d day, now time.Time) (late [levels]bool, err error) {
	keep := k.Policy.series(device, name)
	for l := Raw; l <= Days; l++ {
		_, end, _ := l.span(l.bucket(d))
		if late[l] = over(keep.of(l), end, now); !late[l] {
			continue
		}
		if err := setTrimmed(tx, l, d); err != nil {
			return late, err
		}
	}
	return late, nil
}

// names are the series that there are.
func (s *sources) names() (all []string) {
	for _, c := range s.chunks {
		if c.Chunk != nil {
			for _, series := range c.Series() {
				all = append(all, series.Name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
