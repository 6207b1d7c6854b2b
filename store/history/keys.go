package history

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/hearthgate/hearthgate/store/rollup"
	bolt "go.etcd.io/bbolt"
)

// day is a day of UTC, counted from 1970.
type day int64

const dayLength = int64(rollup.Day)

// Times outside are of clocks that were never set. They are kept as they are,
// with the first or last day in between, but have no rows: those would begin or
// end where an int64 does not reach.
var (
	earliest = time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	latest   = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() - 1
)

func dayOf(t int64) day {
	t = min(max(t, earliest), latest)
	d := t / dayLength
	if t%dayLength < 0 {
		d--
	}
	return day(d)
}

func (d day) start() int64    { return int64(d) * dayLength }
func (d day) end() int64      { return d.start() + dayLength }
func (d day) time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }
func (d day) String() string  { return d.time().Format("2006-01-02") }

// layout is that of the names of a level's buckets. Their order is that of time.
func (l Level) layout() string {
	switch l {
	case FiveMinutes, Hours:
		return layoutMonth
	case Days:
		return "2006"
	}
	return layoutDay
}

const (
	layoutMonth = "200601"
	layoutDay   = "20060102"
)

// bucket is the name of the bucket that has d.
func (l Level) bucket(d day) []byte { return d.time().AppendFormat(nil, l.layout()) }

// span is the days of a bucket, from the first to the one behind the last. Rows of
// five minutes once had a bucket for each day.
func (l Level) span(name []byte) (from, to day, ok bool) {
	layout := l.layout()
	if l == FiveMinutes && len(name) == len(layoutDay) {
		layout = layoutDay
	}
	t, err := time.Parse(layout, string(name))
	if err != nil || len(name) != len(layout) {
		return 0, 0, false
	}
	end := t.AddDate(0, 0, 1)
	switch layout {
	case layoutMonth:
		end = t.AddDate(0, 1, 0)
	case "2006":
		end = t.AddDate(1, 0, 0)
	}
	from, to = day(t.Unix()/86400), day(end.Unix()/86400)
	return from, to, from >= dayOf(earliest) && to <= dayOf(latest)+1
}

// A value lies under its device, a zero byte, which no device id has, and the
// number of the part: as a rule one holds everything.
func valueKey(device string, part uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(device), 0), part)
}

func parseKey(k []byte) (device string, part uint32, ok bool) {
	n := len(k) - 5
	if n < 1 || bytes.IndexByte(k, 0) != n {
		return "", 0, false
	}
	return string(k[:n]), binary.BigEndian.Uint32(k[n+1:]), true
}

// A piece lies under the number of its batch, so that batches only append.
func pieceKey(batch uint32, device string, part uint32) []byte {
	return append(binary.BigEndian.AppendUint32(nil, batch), valueKey(device, part)...)
}

func parsePieceKey(k []byte) (batch uint32, device string, part uint32, ok bool) {
	if len(k) < 4 {
		return 0, "", 0, false
	}
	device, part, ok = parseKey(k[4:])
	return binary.BigEndian.Uint32(k), device, part, ok
}

// markBatch is what stands in place of the batch in the key of a mark: which
// pieces of the device are merged. It is behind all batches.
const markBatch = 1<<32 - 1

func markKey(device string) []byte { return pieceKey(markBatch, device, 0) }

// merged is up to which batch the pieces of a device in b are merged.
func merged(b *bolt.Bucket, device string) uint32 {
	if v := b.Get(markKey(device)); len(v) == 4 {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// lastBatch is the number of the newest batch in b.
func lastBatch(b *bolt.Bucket) uint32 {
	c := b.Cursor()
	k, _ := c.Seek(binary.BigEndian.AppendUint32(nil, markBatch))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	if len(k) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(k)
}
