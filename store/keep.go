package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/hearthgate/hearthgate/store/history"
	bolt "go.etcd.io/bbolt"
)

const (
	retainEvery = time.Hour
	spare       = 64 << 20 // bytes above the budget that removing may use
	year        = 365 * 24 * time.Hour

	// In one transaction, so that others do not wait long.
	mergeAtOnce  = 8  // days of a device
	retainAtOnce = 64 // buckets, or values
	keepPause    = 20 * time.Millisecond

	// mergeAt is when days are merged, UTC: what was said of the day before is
	// sealed by then.
	mergeAt = sealAfter + 10*time.Minute
)

// plausible is before any time at which this version can run. A Pi without a
// clock starts in the past; retention waits until the time is known.
var plausible = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// KeepTable is the table of what is kept shorter or longer than Options say, by
// device ("kitchen"), component ("kitchen/desk") or value ("kitchen/desk/power").
const KeepTable = "keep"

// A KeepRow is one row of that table, in seconds; 0 is for ever.
type KeepRow struct {
	Raw         int64 `cbor:"1,keyasint" json:"raw"`
	FiveMinutes int64 `cbor:"2,keyasint" json:"5m"`
	Hours       int64 `cbor:"3,keyasint" json:"1h"`
	Days        int64 `cbor:"4,keyasint" json:"1d"`
}

// keeping is the sealer's part in the history.
type keeping struct {
	*history.Keeper
	ages  ages
	merge time.Time // when days are merged next
	busy  bool      // in the middle of a walk
}

// Describe says how it is known which values are counters: whether this one is,
// and whether that is known at all. Rows of those have an increase.
func (s *Store) Describe(f func(device, name string) (counter, known bool)) { s.counters.Store(&f) }

func (s *Store) counter(device, name string) (counter, known bool) {
	if f := s.counters.Load(); f != nil {
		return (*f)(device, name)
	}
	return false, false
}

// renewPolicy lets the keeper go by what is set now. It stays the same one: it knows
// what it need not look at again.
func (s *Store) renewPolicy() {
	k := &s.seal.keep
	if k.Keeper == nil {
		k.Keeper = &history.Keeper{Counters: s.counter, Damage: s.file.damage}
	}
	overrides, err := s.Keeps()
	if err != nil {
		s.log.Error("how long values are kept cannot be read", "error", err)
	}
	k.Policy = history.Policy{Keep: s.retain, Overrides: overrides}
}

// keepHistory merges days once a night, removes what is too old, a bounded part of
// it, and says when to look again.
func (s *Store) keepHistory(now time.Time) (again time.Duration) {
	k := &s.seal.keep
	if now.Before(plausible) {
		return retainEvery
	}
	if !k.busy {
		s.renewPolicy()
	}
	now = s.age(now)
	var more bool
	err := s.file.update(func(tx *bolt.Tx) (err error) {
		if !now.Before(k.merge) {
			more, err = k.Merge(tx, now, mergeAtOnce)
		}
		if !more && err == nil {
			_, more, err = k.Retain(tx, now, retainAtOnce)
		}
		if !more && err == nil && !now.Before(k.merge) {
			err = putClock(tx, now)
		}
		return err
	})
	k.busy = more && err == nil
	switch {
	case err != nil && overBudget(err):
		if err = s.makeRoom(); err == nil {
			return keepPause
		}
		fallthrough
	case err != nil:
		s.log.Error("the history could not be merged and thinned out; trying again in an hour", "error", err)
		return retainEvery
	case more:
		return keepPause
	}
	if !now.Before(k.merge) {
		k.merge = now.Truncate(24 * time.Hour).Add(mergeAt)
		if !k.merge.After(now) {
			k.merge = k.merge.Add(24 * time.Hour)
		}
	}
	return min(retainEvery, k.merge.Sub(now))
}

// makeRoom removes the oldest of the history because the budget for the file is
// spent. More would go for nothing while who reads holds what went before.
func (s *Store) makeRoom() error {
	if lent, err := s.file.lend(spare); lent || err != nil {
		return err
	}
	var removed uint64
	k := history.Keeper{Damage: s.file.damage}
	err := s.file.updateBeyond(spare, func(tx *bolt.Tx) (err error) {
		removed, err = k.MakeRoom(tx)
		return err
	})
	if err == nil && removed == 0 {
		err = errors.New("the store's space is used up, and not by history")
	}
	if err != nil {
		return fmt.Errorf("make room: %w", err)
	}
	s.mu.Lock()
	first := s.health.Dropped == 0
	s.health.Dropped += removed
	s.mu.Unlock()
	if first {
		s.log.Warn("the store's space is used up: the oldest history is removed from now on", "bytes", s.file.options.MaxSize)
	}
	return nil
}
