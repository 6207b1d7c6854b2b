package store

import (
	"context"
	"errors"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/history"
	bolt "go.etcd.io/bbolt"
)

// Export calls f for each record with from <= time < to of a device ("" = all),
// in bounded reads: day by day (UTC, of the record's time), within a day device by
// device, each in the order of the log. Uncertain entries are left out. While
// nothing can be sealed, what is in the log alone comes last.
func (s *Store) Export(ctx context.Context, device string, from, to time.Time, f func(e *Entry, r *protocol.Record) error) error {
	if s.cannotSeal() == nil {
		_ = s.Snapshot(ctx, func(*Copy) error { return nil }) // it begins with sealing
	}
	x := export{s: s, device: device, from: nanos(from), to: nanos(to), f: f}
	if err := x.holdLog(); err != nil {
		return err
	}
	var place history.Place
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := x.page(&place, &more)
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := x.each(e); err != nil {
				return err
			}
		}
	}
	return x.rest(ctx)
}

// export is one Export under way.
type export struct {
	s        *Store
	device   string
	from, to int64
	f        func(e *Entry, r *protocol.Record) error

	sealed Position // what is behind it comes from the log
	head   Position
	log    []heldRecord
	known  map[identity]bool // of entries of the log that were sealed since
	upTo   Position          // all of these are known
}

// heldRecord is a record of the log, which may be gone when it is needed.
type heldRecord struct {
	number  uint64
	payload []byte
}

// identity tells entries apart that have records.
type identity struct {
	device   string
	boot     protocol.Boot
	seq      uint64
	command  uint64
	received int64
}

func identify(e *Entry) identity {
	return identity{e.Device, e.Boot, e.Seq, e.Command, e.Received}
}

// holdLog copies what is in the log alone.
func (x *export) holdLog() error {
	s := x.s
	for {
		s.tails.RLock()
		all := append(stretches(nil), s.tails.unsealed...)
		x.sealed, x.head = s.tails.sealed, s.tails.head
		s.tails.RUnlock()
		x.upTo, x.log = x.sealed, nil
		err := s.scanStretches(all, x.from, x.to, func(number uint64, payload []byte) error {
			x.log = append(x.log, heldRecord{number, payload})
			return nil
		})
		if !errors.Is(err, errElsewhere) {
			return err
		}
	}
}

// fromLog calls f for the entries held that are behind after and up to to.
func (x *export) fromLog(after, to Position, f func(e *Entry) error) error {
	rr := recordReader{only: x.device, mean: x.s.words.of}
	for _, r := range x.log {
		found, _ := x.s.entries(&rr, r.number, r.payload)
		for _, e := range found {
			if e.Pos > after && e.Pos <= to {
				if err := f(e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// page reads some of what is sealed, and leaves out what was not at the beginning.
func (x *export) page(place *history.Place, more *bool) (page []*Entry, err error) {
	err = x.s.file.view(func(tx *bolt.Tx) error {
		sealed, _, err := getSealed(tx)
		if err != nil {
			return err
		}
		if now := min(sealed, x.head); now > x.upTo {
			if x.known == nil {
				x.known = map[identity]bool{}
			}
			_ = x.fromLog(x.upTo, now, func(e *Entry) error {
				x.known[identify(e)] = true
				return nil
			})
			x.upTo = now
		}
		r := history.Reader{Tx: tx, Damage: x.s.historyDamaged}
		*place, *more, err = r.Frames(x.device, x.from, x.to, *place, pageOfSamples, func(device string, f chunk.Frame) error {
			e := &Entry{Kind: Telemetry, Device: device, Boot: f.Boot, Seq: f.Seq, Received: f.Received, Command: f.Command, Records: f.Records}
			if f.Command != 0 {
				e.Kind = Result
			}
			if !x.known[identify(e)] {
				page = append(page, e)
			}
			return nil
		})
		return err
	})
	return page, err
}

// rest gives what was in the log alone at the beginning.
func (x *export) rest(ctx context.Context) error {
	return x.fromLog(x.sealed, x.head, func(e *Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return x.each(e)
	})
}

// each calls f for the records of e that are inside.
func (x *export) each(e *Entry) error {
	if e.Uncertain {
		return nil
	}
	for i := range e.Records {
		if r := &e.Records[i]; r.Time >= x.from && r.Time < x.to {
			if err := x.f(e, r); err != nil {
				return err
			}
		}
	}
	return nil
}
