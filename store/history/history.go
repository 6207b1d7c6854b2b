// Package history keeps what devices said by the time of their records, for
// years, in a bbolt file: every sample as it was sent, and rows of 5 minutes, an
// hour and a day.
//
// It is written in two steps. Sealing adds a Batch: one compressed piece for each
// device and day (UTC, by the records' times, so what comes late adds a piece to
// an old day). At night a Keeper merges the pieces of each device and day into
// one chunk and its rows, and drops what is kept long enough. Reading never
// depends on how far that is: a Reader sees the same before and after.
//
// Everything happens in transactions of the caller, who decides when and how
// often. FORMAT.md draws keys and buckets.
package history

import (
	"time"

	"github.com/hearthgate/hearthgate/store/rollup"
	bolt "go.etcd.io/bbolt"
)

// Level is how fine history is.
type Level int

// The levels, the finest first.
const (
	Raw         Level = iota // every sample
	FiveMinutes              // rows of rollup.FiveMinutes
	Hours
	Days

	pieces // raw too, not merged yet: only a place in the file
	levels = 5
)

// Span is the length of a level's rows, 0 for Raw.
func (l Level) Span() time.Duration {
	return [levels]time.Duration{0, rollup.FiveMinutes, rollup.Hour, rollup.Day}[l]
}

func (l Level) String() string { return string(buckets[l]) }

// Counters says whether a series is a counter (state class total_increasing),
// and whether that is known: it is not when the device is forgotten or its
// description does not have the series. Then the rows before decide. Rows keep
// the meaning that they were made with.
type Counters func(device, name string) (counter, known bool)

// Damage is told of a part of the file that cannot be read and was left out. It
// is called in the middle of reading and must not wait.
type Damage func(where string, err error)

// buckets are those of the file, by level. In each is one bucket for a span of
// time, see Level.bucket.
var buckets = [levels][]byte{
	Raw: []byte("days"), FiveMinutes: []byte("5m"), Hours: []byte("1h"), Days: []byte("1d"), pieces: []byte("pieces"),
}

var (
	bucketMeta    = []byte("history") // small: it lies in the page of the root
	bucketDamaged = []byte("damaged")
)

// Create makes the buckets, those that are not there yet.
func Create(tx *bolt.Tx) error {
	for _, name := range append(buckets[:], bucketMeta, bucketDamaged) {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}
