package history

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

// Numbers is how much there is, from counters: nothing is read but the names of
// the buckets.
type Numbers struct {
	Oldest  time.Time        // the day of the oldest samples; zero: none
	Newest  time.Time        // likewise
	Pieces  Amount           // samples that are not merged yet
	Levels  [Days + 1]Amount // merged samples, and rows
	Damaged int              // values that were set aside
}

// Amount is samples or rows, and what they take.
type Amount struct {
	Buckets int
	Count   uint64
	Bytes   int64 // of keys and values
}

// Measure reads the numbers.
func Measure(tx *bolt.Tx) (n Numbers) {
	bytes := numbers(tx, keyBytes, 0)
	for l := Raw; l <= pieces; l++ {
		a := &n.Pieces
		if l != pieces {
			a = &n.Levels[l]
		}
		a.Bytes = bytes[l]
		for _, name := range names(tx, l, "") {
			s := namedShelf(tx, l, name)
			d, _, ok := l.span(name)
			if s.b == nil || !ok {
				continue
			}
			a.Buckets++
			a.Count += s.b.Sequence()
			if l == Raw || l == pieces {
				n.see(d.time())
			}
		}
	}
	if b := tx.Bucket(bucketDamaged); b != nil {
		n.Damaged = b.Stats().KeyN
	}
	return n
}

func (n *Numbers) see(t time.Time) {
	if n.Oldest.IsZero() || t.Before(n.Oldest) {
		n.Oldest = t
	}
	if t.After(n.Newest) {
		n.Newest = t
	}
}
