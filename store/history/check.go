package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/rollup"
	bolt "go.etcd.io/bbolt"
)

// Check walks through all of history and tells found what is wrong and where:
// keys, checksums, structure, times outside of their bucket, numbers that do not
// add up, and rows that are not those of the samples, as far as these are kept. It
// decodes everything, some million samples a second.
func Check(tx *bolt.Tx, found Damage) {
	c := &checker{Reader: Reader{Tx: tx, Damage: found}, trimmed: trimmed(tx), devices: map[string][]day{}}
	bytes := numbers(tx, keyBytes, 0)
	for l := Raw; l <= pieces; l++ {
		total := int64(0)
		for _, name := range names(tx, l, "") {
			total += c.bucket(l, name)
		}
		if total != bytes[l] {
			c.found(l.String(), "its keys and values have %d bytes, %d were counted", total, bytes[l])
		}
	}
	devices := make([]string, 0, len(c.devices))
	for device := range c.devices {
		devices = append(devices, device)
	}
	slices.Sort(devices)
	for _, device := range devices {
		c.device(device, c.devices[device])
	}
}

type checker struct {
	Reader
	trimmed [levels]int64
	devices map[string][]day // with samples that are merged
}

func (c *checker) found(where, format string, args ...any) {
	c.Damage(where, fmt.Errorf(format, args...))
}

// bucket checks what can be seen of one bucket alone.
func (c *checker) bucket(l Level, name []byte) (bytes int64) {
	s := namedShelf(c.Tx, l, name)
	from, to, ok := l.span(name)
	if s.b == nil || !ok {
		c.found(fmt.Sprintf("%s/%q", l, name), "not a bucket of this level")
		return 0
	}
	count, whole := 0, true
	cursor := s.b.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		bytes += int64(len(k) + len(v))
		n, err := c.value(&s, k, v, from, to)
		if err != nil {
			whole = false
			c.Damage(s.where(k), err)
		}
		count += n
	}
	if n := s.b.Sequence(); whole && uint64(count) != n {
		c.found(fmt.Sprintf("%s/%s", l, name), "it has %d samples or rows, %d were counted", count, n)
	}
	return bytes
}

var (
	errKey  = errors.New("the key is none of this bucket")
	errTime = errors.New("it holds times outside of its bucket")
	errMark = errors.New("more is marked as merged than there is")
	errRow  = errors.New("a row does not begin at a multiple of its span, or counts nothing")
)

// value checks one value and says how many samples or rows it has.
func (c *checker) value(s *shelf, k, v []byte, from, to day) (n int, err error) {
	if s.level == pieces {
		batch, _, part, ok := parsePieceKey(k)
		switch {
		case !ok || batch == 0:
			return 0, errKey
		case batch == markBatch && (len(v) != 4 || part != 0):
			return 0, errKey
		case batch == markBatch:
			if binary.BigEndian.Uint32(v) > lastBatch(s.b) {
				return 0, errMark
			}
			return 0, nil
		}
		return checkChunk(v, from, to)
	}
	device, _, ok := parseKey(k)
	if !ok {
		return 0, errKey
	}
	if s.level != Raw {
		return checkRows(v, s.level, from, to)
	}
	if days := c.devices[device]; len(days) == 0 || days[len(days)-1] != from {
		c.devices[device] = append(days, from)
	}
	return checkChunk(v, from, to)
}

func checkChunk(v []byte, from, to day) (n int, err error) {
	c, err := chunk.Open(v)
	if err != nil {
		return 0, err
	}
	_, n = c.Len()
	if _, err := c.Frames(); err != nil {
		return n, err
	}
	for _, s := range c.Series() {
		if dayOf(s.First) < from || dayOf(s.Last) >= to {
			return n, fmt.Errorf("%w: %s", errTime, s.Name)
		}
	}
	return n, nil
}

func checkRows(v []byte, l Level, from, to day) (n int, err error) {
	all, err := rollup.Open(v, l.Span())
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		n += s.Rows
		rows, damaged := s.Unpack(l.Span())
		if damaged != nil {
			err = fmt.Errorf("%w: %s", damaged, s.Name)
		}
		for i := range rows {
			switch row := &rows[i]; {
			case row.Start < from.start() || row.End > to.start():
				err = fmt.Errorf("%w: %s", errTime, s.Name)
			case row.Start%int64(l.Span()) != 0 || row.Count < 1:
				err = fmt.Errorf("%w: %s", errRow, s.Name)
			}
		}
	}
	return n, err
}

// device compares rows with what their samples give, day by day.
func (c *checker) device(device string, days []day) {
	damaged := false
	r := &Reader{Tx: c.Tx, Damage: func(string, error) { damaged = true }} // it was told
	b := &book{Reader: r, device: device, pages: map[page]*bookPage{}}
	for _, d := range days {
		all := r.sources(device, d)
		all.chunks = slices.DeleteFunc(all.chunks, func(s source) bool { return s.piece })
		for _, name := range all.names() {
			c.series(b, &all, name, d, &damaged)
		}
		for key := range b.pages { // a day's rows are not needed again, a month's while it lasts
			if key.level < Days && key.name != string(key.level.bucket(d+1)) {
				delete(b.pages, key)
			}
		}
	}
}

func (c *checker) series(b *book, all *sources, name string, d day, damaged *bool) {
	newest, known := b.newestBefore(name, d)
	counter, sure := b.meaning(d, name)
	var wrong [2]string // if it is none, if it is one
	for i, as := range []bool{false, true} {
		if sure && as != counter {
			wrong[i] = "not tried"
			continue
		}
		rows := fiveMinutes(all, name, d, as, newest.Last)
		for l := FiveMinutes; l <= Days && wrong[i] == ""; l++ {
			rows = coarsenOnce(rows, l, newest.Last)
			lost := !known && c.trimmed[Days] != never // the value before it
			wrong[i] = c.compare(l, d, rows, b.rows(l, d, name), lost)
		}
	}
	if wrong[0] == "" || wrong[1] == "" || *damaged {
		return
	}
	if sure && counter {
		wrong[0] = wrong[1]
	}
	c.found(fmt.Sprintf("%s %s on %s", b.device, name, d), "%s", wrong[0])
}

// compare says what is wrong with a day's kept rows.
func (c *checker) compare(l Level, d day, want, kept []rollup.Row, beforeLost bool) (wrong string) {
	if len(kept) == 0 && int64(d) <= c.trimmed[l] {
		return ""
	}
	less := int64(d) <= c.trimmed[Raw] // there may be fewer samples than the rows were made of
	if less {
		want = fuller(kept, want)
	}
	if beforeLost && len(want) > 0 && len(kept) > 0 {
		want, kept = slices.Clone(want), slices.Clone(kept)
		forgetBefore(&want[0])
		forgetBefore(&kept[0])
	}
	for i := range max(len(want), len(kept)) {
		switch {
		case i == len(kept) || i < len(want) && want[i].Start < kept[i].Start:
			return fmt.Sprintf("the row of %s at %s is missing", l, moment(want[i].Start))
		case i == len(want) || kept[i].Start < want[i].Start:
			return fmt.Sprintf("there are no samples for the row of %s at %s", l, moment(kept[i].Start))
		case !same(kept[i], want[i]):
			return fmt.Sprintf("the row of %s at %s is %+v, its samples give %+v", l, moment(kept[i].Start), kept[i], want[i])
		}
	}
	return ""
}

// forgetBefore clears what depends on the value before a row.
func forgetBefore(r *rollup.Row) { r.Increase, r.Resets, r.On = 0, 0, 0 }

// same reports whether two rows have the same bits; an infinite value makes sums
// that differ from themselves.
func same(a, b rollup.Row) bool {
	sums := math.Float64bits(a.Sum) == math.Float64bits(b.Sum) && math.Float64bits(a.Increase) == math.Float64bits(b.Increase)
	a.Sum, a.Increase, b.Sum, b.Increase = 0, 0, 0, 0
	return sums && a == b
}

func moment(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339) }
