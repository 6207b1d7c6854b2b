package store

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// What is too old goes by the clock, and one wrong answer of a time server would let
// everything go. So a clock that is far ahead of what it was, in the last walk or
// before this start, is believed only once it has gone on like that for a day. Until
// then history ages by the time that passes.
const (
	farAhead     = 30 * 24 * time.Hour
	believeAfter = 24 * time.Hour
	clockSet     = 10 * time.Minute // a clock that is set by more has not gone on
)

// keyClock is the clock of the last night, by which history was kept.
var keyClock = []byte("clock")

// ages is the clock by which history ages. The sealer owns it.
type ages struct {
	last   time.Time // that was believed; zero: not known
	doubts time.Time // since when it is so far ahead; zero: it is not
}

// at is the time by which history ages at now, and whether a doubt has begun.
func (a *ages) at(now time.Time) (age time.Time, begun bool) {
	wall := now.Round(0)
	passed := now.Sub(a.doubts) // by the clock that nobody sets
	switch {
	case a.last.IsZero() || wall.Sub(a.last) <= farAhead:
		a.last, a.doubts = wall, time.Time{}
	case a.doubts.IsZero() || (wall.Sub(a.doubts.Round(0))-passed).Abs() > clockSet:
		begun, a.doubts = a.doubts.IsZero(), now
		return a.last, begun
	case passed < believeAfter:
		return a.last.Add(passed), false
	default:
		a.last, a.doubts = wall, time.Time{}
	}
	return now, false
}

// age is the time by which history ages at now.
func (s *Store) age(now time.Time) time.Time {
	k := &s.seal.keep
	age, begun := k.ages.at(now)
	if begun {
		s.mu.Lock()
		s.health.ClockDoubts++
		s.mu.Unlock()
		s.log.Warn(fmt.Sprintf("the clock is far ahead of what it was; nothing is removed from history by it until it has been so for %v", believeAfter),
			"clock", now.Round(0), "was", k.ages.last)
	}
	if k.merge.Sub(age) > 2*24*time.Hour { // it was ahead, and is right again
		k.merge = time.Time{}
	}
	return age
}

func putClock(tx *bolt.Tx, t time.Time) error {
	return tx.Bucket(bucketMeta).Put(keyClock, sealRow(numberKey(uint64(t.Unix()))))
}

// getClock is zero when it is not there, or damaged.
func getClock(tx *bolt.Tx) time.Time {
	b, err := unsealRow(tx.Bucket(bucketMeta).Get(keyClock))
	if err != nil || len(b) != 8 {
		return time.Time{}
	}
	return time.Unix(int64(keyNumber(b)), 0)
}
