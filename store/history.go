package store

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	bolt "go.etcd.io/bbolt"
)

// Sample is one value of history. Time is ns since 1970.
type Sample struct {
	Time  int64
	Value protocol.Value
}

// aheadOfReceipt is how far a record's time may be ahead of its receipt
// (PROTOCOL.md, Record). A block received earlier than this before a time holds
// nothing of that time or later.
const aheadOfReceipt = 10 * time.Minute

// scanBytes is how much of the log one transaction looks through.
const scanBytes = 1 << 20

// History returns the values of one name with from <= time < to, in the order
// of their times; of equal times the last one said counts. At most limit
// samples (0 = all), the earliest.
func (s *Store) History(ctx context.Context, device, name string, from, to time.Time, limit int) ([]Sample, error) {
	var all []Sample
	err := s.scan(ctx, device, from, to, func(e *Entry, r *protocol.Record) error {
		if r.Name == name {
			all = append(all, Sample{r.Time, r.Value})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b Sample) int { return cmp.Compare(a.Time, b.Time) })
	kept := all[:0]
	for _, v := range all {
		if n := len(kept); n > 0 && kept[n-1].Time == v.Time {
			kept[n-1] = v
		} else {
			kept = append(kept, v)
		}
	}
	if limit > 0 && len(kept) > limit {
		kept = kept[:limit]
	}
	return kept, nil
}

// Export calls f for each record with from <= time < to of a device ("" = all),
// in the order of the log, in bounded reads. Uncertain entries are left out.
func (s *Store) Export(ctx context.Context, device string, from, to time.Time, f func(e *Entry, r *protocol.Record) error) error {
	return s.scan(ctx, device, from, to, f)
}

// scan reads a page of the log at a time and calls f between the transactions.
func (s *Store) scan(ctx context.Context, device string, from, to time.Time, f func(*Entry, *protocol.Record) error) error {
	w := window{device: device, from: nanos(from), to: nanos(to)}
	head := s.Head()
	for next := Position(0); next <= head; {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, after, err := s.scanPage(&w, next, head)
		if err != nil && !corrupt(err) {
			return err
		}
		if err != nil { // what cannot be read must not hide what can
			s.blockDamaged(after, err)
			after = min(after+stepOver, s.sealedTo()+1)
		}
		next = after
		for _, e := range entries {
			if err := w.each(e, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// nanos is t in ns since 1970, at the ends of what int64 can say when t is
// beyond them (the zero Time is).
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case s <= math.MinInt64/1_000_000_000:
		return math.MinInt64
	case s >= math.MaxInt64/1_000_000_000:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// window is what a scan looks for.
type window struct {
	device   string
	from, to int64 // ns
}

// each calls f for the records of e that are inside.
func (w *window) each(e *Entry, f func(*Entry, *protocol.Record) error) error {
	if e.Uncertain || w.device != "" && e.Device != w.device {
		return nil
	}
	for i := range e.Records {
		if r := &e.Records[i]; r.Time >= w.from && r.Time < w.to {
			if err := f(e, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// scanPage returns the entries of one page of blocks from next on that may be
// inside, and where the next page begins, or where it got stuck. next 0 = the
// first block that may.
func (s *Store) scanPage(w *window, next, head Position) (entries []*Entry, after Position, err error) {
	after = next
	behind, sealed := s.unsealedFrom(next)
	if next > sealed {
		entries, after = s.scanUnsealed(behind, w, next, head)
		return entries, after, nil
	}
	head = min(head, sealed)
	err = s.file.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketLog).Cursor()
		k, v := seekBlock(c, next) // what was a block in the log's files is part of a larger one here
		if next == 0 {
			k, v = s.searchBlock(c, 0, head, func(h blockHeader) bool {
				return h.latest >= floorDiv(w.from, 1e6)-aheadOfReceipt.Milliseconds()
			})
		}
		read, full := 0, false
		s.walkBlocks(c, k, v, head, func(at Position, h blockHeader, body []byte) (stop bool) {
			after = at
			if full = read > scanBytes; full {
				return true
			}
			read += len(body)
			if w.mayHold(h, body) {
				block, err := unpackBody(at, h, body)
				if err != nil {
					s.blockDamaged(at, err)
				}
				for len(block) > 0 && block[0].Pos < next {
					block = block[1:]
				}
				entries = append(entries, block...)
			}
			after = at + Position(h.count)
			return false
		})
		if !full {
			after = head + 1
		}
		return nil
	})
	return entries, after, err
}

// mayHold is false when a look at a block shows that nothing is inside.
func (w *window) mayHold(h blockHeader, body []byte) bool {
	return h.earliest <= floorDiv(w.to, 1e6) && bytes.Contains(body, []byte(w.device))
}
