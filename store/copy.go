package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/hearthgate/hearthgate/store/octets"
	"github.com/hearthgate/hearthgate/store/segment"
	bolt "go.etcd.io/bbolt"
)

// What readers have not read is in the log alone, as entries: the history has its
// samples, but neither their order nor what is no sample. So a copy takes those
// records along, in pages, and a store that begins from it makes segments of them.

// pageBytes is about how many bytes of records are in a page.
const pageBytes = 1 << 20

// mostMissing is above how many records can be damaged, or let go of while they were
// copied: what the log's budget holds of the smallest.
const mostMissing = logBudget >> 9

// Log calls f with pages of the records of the log, oldest first, that some reader
// had not read when the copy was made. With the log in the database there are none:
// there they are part of that.
func (c *Copy) Log(f func(page []byte) error) error {
	if c.s.place == InBolt {
		return nil
	}
	sealed, last, err := getSealed(c.tx)
	if err != nil {
		return err
	}
	least := sealed
	err = c.tx.Bucket(bucketCursors).ForEach(func(_, v []byte) error {
		if len(v) == 8 {
			least = min(least, keyPosition(v))
		}
		return nil
	})
	if err != nil || least == sealed {
		return err
	}
	for from := uint64(0); ; {
		page, next, err := c.page(from, last, least+1)
		if err == nil {
			err = c.wanted()
		}
		if err != nil || len(page) == 0 {
			return err
		}
		if err := f(sealRow(page)); err != nil || next > last {
			return err
		}
		from = next
	}
}

// page are the records from one on (0: from where pos is), and the number of the
// one behind them.
func (c *Copy) page(from, last uint64, pos Position) (page []byte, next uint64, err error) {
	for {
		if from == 0 {
			all, i, _, err := c.s.find(pos)
			if err != nil || len(all) == 0 {
				return nil, 0, err
			}
			from = all[i].First
		}
		var before []byte // a record of which the next one shows whether it has pos in it
		err = c.s.journal.Scan(from, func(number uint64, payload []byte) bool {
			if begin, ok := position(payload); ok && begin <= pos {
				before = nil
			}
			if number > last || len(page)+len(before) >= pageBytes {
				return false
			}
			page, next = append(page, before...), number+1
			before = binary.BigEndian.AppendUint64(nil, number)
			before = append(binary.AppendUvarint(before, uint64(len(payload))), payload...)
			return true
		})
		page = append(page, before...)
		if !errors.Is(err, segment.ErrGone) {
			return page, next, err
		}
		if len(page) > 0 {
			return page, next, nil
		}
		from = 0 // the budget was spent meanwhile: go on with what is left
	}
}

// Renew makes a store of its own of a copy, whose database is in dir and whose log
// is in pages: with a new epoch, since positions behind the copy's end will be used
// for other entries now. It says which files it made. Nobody has dir open.
func Renew(dir string, pages iter.Seq2[[]byte, error]) (made []string, err error) {
	err = closedStore(dir, func(f *file) error {
		if err := f.open(); err != nil {
			return err
		}
		p := unpacking{fs: &unsynced{FS: segment.Dir(dir)}, epoch: newLogEpoch()}
		err := p.all(pages)
		made = p.fs.names
		if err == nil {
			err = f.update(func(tx *bolt.Tx) error {
				return errors.Join(tx.Bucket(bucketMeta).Put(keyEpoch, []byte(newEpoch())), putLogEpoch(tx, p.epoch), putEnd(tx, p.end))
			})
		}
		return errors.Join(err, f.close())
	})
	return made, err
}

// unpacking makes a log of the pages of a copy.
type unpacking struct {
	fs    *unsynced
	epoch uint64
	log   *segment.Log // nil: nothing came yet
	end   segment.End

	missing uint64 // records
}

func (p *unpacking) all(pages iter.Seq2[[]byte, error]) (err error) {
	for page, perr := range pages {
		if err = perr; err == nil {
			page, err = unsealRow(page)
		}
		if err == nil {
			err = p.page(page)
		}
		if err != nil {
			break
		}
	}
	if p.log != nil {
		p.end = p.log.End()
		err = errors.Join(err, p.log.Close())
	}
	if err != nil {
		return fmt.Errorf("the log of the copy: %w", err)
	}
	return p.fs.sync()
}

func (p *unpacking) page(page []byte) error {
	for r := (octets.Reader{B: page}); len(r.B) > 0; {
		head := r.Take(8)
		payload := r.Section()
		if r.Bad {
			return errDamaged
		}
		if err := p.record(binary.BigEndian.Uint64(head), payload); err != nil {
			return err
		}
	}
	return nil
}

func (p *unpacking) record(number uint64, payload []byte) (err error) {
	if p.log == nil {
		if number == 0 {
			return errDamaged
		}
		o := segment.Options{FS: p.fs, Epoch: p.epoch, Budget: 1 << 50}
		if p.log, err = segment.Open(o, number-1, func(uint64, []byte) error { return nil }); err != nil {
			return err
		}
	}
	if number < p.log.Next() {
		return errDamaged
	}
	if p.missing += number - p.log.Next(); p.missing > mostMissing {
		return errDamaged
	}
	for p.log.Next() < number { // one that was damaged
		pos, _ := position(payload)
		if _, err := p.log.Append(recordBegin(pos, 0, 0)); err != nil {
			return err
		}
	}
	_, err = p.log.Append(payload)
	return err
}

// unsynced is a directory in which nothing is durable until sync: a log that is
// made at once need not sync each record.
type unsynced struct {
	segment.FS
	names []string
}

func (u *unsynced) Create(name string) (segment.File, error) {
	f, err := u.FS.Create(name)
	return unsyncedFile{f}, err
}

func (u *unsynced) Open(name string, how segment.Mode) (segment.File, error) {
	if how == segment.Direct {
		how = segment.Buffered
	}
	f, err := u.FS.Open(name, how)
	return unsyncedFile{f}, err
}

func (u *unsynced) Rename(from, to string) error {
	u.names = append(u.names, to)
	return u.FS.Rename(from, to)
}

func (u *unsynced) SyncDir() error { return nil }

func (u *unsynced) sync() error {
	for _, name := range u.names {
		f, err := u.FS.Open(name, segment.Buffered)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return u.FS.SyncDir()
}

type unsyncedFile struct{ segment.File }

func (unsyncedFile) Sync() error { return nil }
