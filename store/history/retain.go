package history

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/rollup"
	bolt "go.etcd.io/bbolt"
)

// pass is one walk of Retain through a level.
type pass struct {
	done time.Time // as of when all was looked at
	now  time.Time // of the walk under way, if there is one
	name string    // the bucket that it is at
	from []byte    // the key in it to go on at
}

// Retain removes what is too old at now, the caller being sure of the clock, and
// reports how many samples and rows went and whether there is more to do. It
// drops at most so many buckets, or looks at so many values where not everybody
// keeps the same. Of a bucket that nobody keeps nothing is read but its keys.
func (k *Keeper) Retain(tx *bolt.Tx, now time.Time, most int) (removed uint64, more bool, err error) {
	if !k.passOf.equal(&k.Policy) {
		k.pass, k.passOf = [levels]pass{}, Policy{k.Policy.Keep, maps.Clone(k.Policy.Overrides)}
	}
	for l := Raw; l <= Days; l++ {
		w := retaining{k: k, tx: tx, level: l, pass: k.pass[l], left: &most, removed: &removed}
		done, err := w.upTo(now)
		if err != nil {
			return removed, true, err
		}
		tx.OnCommit(func() { k.pass[l] = w.pass })
		if !done {
			return removed, true, nil
		}
	}
	return removed, false, nil
}

// retaining is Retain at one level.
type retaining struct {
	k       *Keeper
	tx      *bolt.Tx
	level   Level
	pass    pass
	left    *int
	removed *uint64
}

// upTo ends the walk under way, if there is one, and does that of now.
func (w *retaining) upTo(now time.Time) (done bool, err error) {
	for {
		if w.pass.now.IsZero() {
			w.pass.now = now
		}
		if done, err := w.walk(); err != nil || !done {
			return false, err
		}
		w.pass = pass{done: w.pass.now}
		if !w.pass.done.Before(now) {
			return true, nil
		}
	}
}

// walk goes through the buckets, the oldest first, until all is done or nothing
// is left of the work allowed.
func (w *retaining) walk() (done bool, err error) {
	spans := w.k.Policy.spans(w.level)
	for _, name := range names(w.tx, w.level, w.pass.name) {
		if string(name) != w.pass.name {
			w.pass.from = nil
		}
		_, end, ok := w.level.span(name)
		if !ok || !w.due(spans, end) {
			continue
		}
		if *w.left <= 0 {
			w.pass.name = string(name)
			return false, nil
		}
		s := namedShelf(w.tx, w.level, name)
		if !slices.ContainsFunc(spans, func(keep time.Duration) bool { return !over(keep, end, w.pass.now) }) {
			*w.left--
			if err := w.drop(&s, end); err != nil {
				return false, err
			}
			continue
		}
		if done, err := w.trim(&s, end); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// names are those of a level's buckets, in order.
func names(tx *bolt.Tx, l Level, from string) (all [][]byte) {
	b := tx.Bucket(buckets[l])
	if b == nil {
		return nil
	}
	c := b.Cursor()
	for k, _ := c.Seek([]byte(from)); k != nil; k, _ = c.Next() {
		all = append(all, bytes.Clone(k))
	}
	return all
}

// due reports whether since the last walk a bucket has become too old for
// somebody.
func (w *retaining) due(spans []time.Duration, end day) bool {
	return slices.ContainsFunc(spans, func(keep time.Duration) bool {
		return over(keep, end, w.pass.now) && (w.pass.done.IsZero() || !over(keep, end, w.pass.done))
	})
}

func (w *retaining) drop(s *shelf, end day) error {
	n, err := s.drop()
	if err != nil {
		return err
	}
	*w.removed += n
	return setTrimmed(w.tx, w.level, end-1)
}

// trim removes from a bucket the series that are over.
func (w *retaining) trim(s *shelf, end day) (done bool, err error) {
	var all []part
	c := s.b.Cursor()
	k, v := c.Seek(w.pass.from)
	for ; k != nil && len(all) < *w.left; k, v = c.Next() {
		all = append(all, part{key: bytes.Clone(k), value: v})
	}
	w.pass.name, w.pass.from = string(s.name), bytes.Clone(k)
	*w.left -= len(all)
	for _, p := range all {
		if err := w.trimValue(s, p, end); err != nil {
			return false, err
		}
	}
	if k != nil {
		return false, nil
	}
	return true, s.dropIfEmpty()
}

// trimValue writes a value without the series that are over. One that cannot be
// read stays until everybody's time is over.
func (w *retaining) trimValue(s *shelf, p part, end day) error {
	device, _, ok := parseKey(p.key)
	if !ok {
		return nil
	}
	value, before, after, err := w.without(p.value, func(name string) bool {
		return over(w.k.Policy.series(device, name).of(w.level), end, w.pass.now)
	})
	if err != nil {
		if w.k.Damage != nil {
			w.k.Damage(s.where(p.key), err)
		}
		return nil
	}
	if before == after {
		return nil
	}
	*w.removed += uint64(before - after)
	if err := setTrimmed(w.tx, w.level, end-1); err != nil {
		return err
	}
	if after == 0 {
		return s.delete(p.key, before)
	}
	return s.put(p.key, value, after-before)
}

// without is a value without some series, and how many samples or rows it had and
// has.
func (w *retaining) without(v []byte, gone func(name string) bool) (value []byte, before, after int, err error) {
	if w.level == Raw {
		return samplesWithout(v, gone)
	}
	all, err := rollup.Open(v, w.level.Span())
	if err != nil {
		return nil, 0, 0, err
	}
	var kept []rollup.Column
	for _, c := range all {
		before += c.Rows
		if !gone(c.Name) {
			kept = append(kept, c)
			after += c.Rows
		}
	}
	if after > 0 && after < before {
		value, err = rollup.Join(kept)
	}
	return value, before, after, err
}

func samplesWithout(v []byte, gone func(name string) bool) (value []byte, before, after int, err error) {
	c, err := chunk.Open(v)
	if err != nil {
		return nil, 0, 0, err
	}
	var names []string
	for _, s := range c.Series() {
		before += s.Count
		if gone(s.Name) {
			names = append(names, s.Name)
		} else {
			after += s.Count
		}
	}
	if after == 0 || after == before {
		return nil, before, after, nil
	}
	frames, err := c.Frames()
	if err != nil {
		return nil, 0, 0, err
	}
	value, err = chunk.Encode(without(frames, names))
	return value, before, after, err
}

// MakeRoom drops the oldest bucket because the space for the file is spent, and
// says how many samples or rows went; none if there is nothing left to drop. The
// samples go first, then the finer rows before the coarser ones; pieces, which are
// not merged yet, before days alone.
func (k *Keeper) MakeRoom(tx *bolt.Tx) (removed uint64, err error) {
	for _, l := range []Level{Raw, FiveMinutes, Hours, pieces, Days} {
		for _, name := range names(tx, l, "") {
			s := namedShelf(tx, l, name)
			_, end, ok := l.span(name)
			if s.b == nil || !ok {
				continue
			}
			if err := setTrimmed(tx, l, end-1); err != nil {
				return 0, err
			}
			if removed, err = s.drop(); err != nil || removed > 0 {
				return removed, err
			}
		}
	}
	return removed, nil
}
