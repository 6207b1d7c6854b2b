package history_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/history"
	bolt "go.etcd.io/bbolt"
)

// damaged counts what is told of, which must name its place.
type damaged struct {
	*home
	want  string
	times int
}

func (d *damaged) told(where string, err error) {
	d.Helper()
	if !strings.HasPrefix(where, d.want) || !errors.Is(err, chunk.ErrDamaged) {
		d.Errorf("told of %q: %v", where, err)
	}
	d.times++
}

// flip changes a bit in the first value of a bucket.
func (h *home) flip(l history.Level, name string) {
	h.Helper()
	h.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(history.Bucket(l)).Bucket([]byte(name))
		k, v := b.Cursor().First()
		v = append([]byte(nil), v...)
		v[len(v)/2] ^= 4
		return b.Put(append([]byte(nil), k...), v)
	})
}

// twoDays says 21 on the first day and 22 on the second, of the second in two
// pieces.
func twoDays(t *testing.T) *damaged {
	h := open(t)
	say := func(seq uint64, hours int, n int64) {
		h.seal(hear(seq, record("temperature", midnight.Add(time.Duration(hours)*time.Hour), protocol.Int(n))))
	}
	say(1, 1, 21)
	say(2, 2, 21)
	h.merge(midnight.Add(day))
	say(3, 25, 22)
	say(4, 26, 22)
	return &damaged{home: h}
}

func TestDamageIsToldAndTheRestIsServed(t *testing.T) {
	for _, test := range []struct {
		name, bucket  string
		level         history.Level
		samples, rows int // of five minutes
	}{
		{"samples", "20261130", history.Raw, 2, 4},
		{"a piece", "20261201", history.Pieces, 3, 3},
		{"rows of five minutes", "202611", history.FiveMinutes, 4, 4}, // two of hours instead
		{"rows of hours", "202611", history.Hours, 4, 4},
		{"rows of days", "2026", history.Days, 4, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := twoDays(t)
			d.flip(test.level, test.bucket)
			d.want = test.level.String() + "/" + test.bucket
			read := func(when string) {
				t.Helper()
				samples, rows, days := 0, 0, 0
				d.view(func(r *history.Reader) {
					r.Damage = d.told
					for all := range r.Samples(always("kitchen", "temperature")) {
						samples += len(all)
					}
					for range r.Rows(always("kitchen", "temperature"), history.FiveMinutes) {
						rows++
					}
					for range r.Rows(always("kitchen", "temperature"), history.Days) {
						days++
					}
				})
				if samples != test.samples || rows != test.rows || days != 2 {
					t.Errorf("%s: %d samples, %d rows, %d days; want %d and %d", when, samples, rows, days, test.samples, test.rows)
				}
			}
			read("before merging")
			d.keep.Damage = d.told
			d.merge(midnight.Add(2 * day))
			if test.level == history.Pieces {
				d.want = "nowhere"
			}
			read("after merging")
			if d.times == 0 {
				t.Error("nobody was told")
			}
			found := 0
			d.view(func(r *history.Reader) { history.Check(r.Tx, func(string, error) { found++ }) })
			if (found == 0) != (test.level == history.Pieces) {
				t.Errorf("the check found %d", found)
			}
			var n history.Numbers
			d.view(func(r *history.Reader) { n = history.Measure(r.Tx) })
			if (n.Damaged == 1) != (test.level == history.Pieces) {
				t.Errorf("%d set aside", n.Damaged)
			}
		})
	}
}
