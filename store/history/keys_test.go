package history_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/store/history"
)

// A key that is read is the one that would be written, so that none is known by
// two names.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("kitchen\x00\x00\x00\x00\x01"))
	f.Add([]byte("\x00\x00\x00\x01kitchen\x00\x00\x00\x00\x00"))
	f.Add([]byte("20261231"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, k []byte) {
		if device, part, ok := history.ParseKey(k); ok && !bytes.Equal(history.ValueKey(device, part), k) {
			t.Errorf("%x is read as %q, %d", k, device, part)
		}
		if batch, device, part, ok := history.ParsePieceKey(k); ok && !bytes.Equal(history.PieceKey(batch, device, part), k) {
			t.Errorf("%x is read as %d, %q, %d", k, batch, device, part)
		}
		for l := history.Raw; l <= history.Days; l++ {
			from, to, ok := history.Span(l, k)
			if ok && l == history.FiveMinutes && len(k) == len("20261231") { // as they once were
				continue
			}
			if ok && (!bytes.Equal(history.BucketOf(l, from*int64(day)), k) || !bytes.Equal(history.BucketOf(l, to*int64(day)-1), k)) {
				t.Errorf("%s/%q is read as the days from %d to %d", l, k, from, to)
			}
		}
	})
}

// Every time has a bucket, and their order is that of time.
func TestEveryTimeHasItsBucket(t *testing.T) {
	for l := history.Raw; l <= history.Days; l++ {
		var before []byte
		for _, at := range []int64{math.MinInt64, -math.MaxInt64 / 2, -1, 0, midnight.UnixNano(), midnight.AddDate(100, 0, 0).UnixNano(), math.MaxInt64} {
			name := history.BucketOf(l, at)
			if _, _, ok := history.Span(l, name); !ok || bytes.Compare(before, name) >= 0 && !(at == 0 && l == history.Days) {
				t.Errorf("%s of %v is %q, after %q", l, time.Unix(0, at).UTC(), name, before)
			}
			before = name
		}
	}
}
