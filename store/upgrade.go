package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/segment"
	bolt "go.etcd.io/bbolt"
)

// upgrade brings a file of an older version up to this one, of which a copy is
// kept; one of a newer version it refuses. It also makes durable what a killed
// process may have left in the system's memory alone: what is read here decides
// what may be overwritten.
func (s *Store) upgrade() error {
	var format []byte
	begun, placed := false, false
	err := s.file.view(func(tx *bolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			format = append(format, meta.Get(keyFormat)...)
			begun = meta.Get(keyUpgrade) != nil
			placed = meta.Get(keyPlace) != nil
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(format) != 1:
		return fmt.Errorf("%w: format %x", errCorrupt, format)
	case placed && (format[0] < fileFormat || format[0] > mostFormat):
		s.file.damage("the format in meta", fmt.Errorf("it says %d, which did not know of a place of the log", format[0]))
		return s.file.update(func(tx *bolt.Tx) error {
			return errors.Join(tx.Bucket(bucketMeta).Put(keyFormat, []byte{fileFormat}), putCopy(tx))
		})
	case format[0] > fileFormat:
		return fmt.Errorf("format %x was written by a newer version of the gateway; install that one", format)
	case format[0] == fileFormat:
		return s.file.sync()
	}
	kept := s.file.path + fmt.Sprintf(".format-%d", format[0])
	if !begun { // else it is not what it was, and its copy is there
		if err := s.file.copyTo(kept); err != nil {
			s.log.Error("no copy of the store in its older format could be kept; it is upgraded all the same", "error", err)
		}
	}
	s.log.Info("the store is brought to a newer format", "from", format[0], "to", fileFormat, "copy", kept)
	u := upgrading{s: s}
	if err := u.do(); err != nil {
		return fmt.Errorf("upgrade from format %d: %w", format[0], err)
	}
	return nil
}

// mostFormat is the highest format that can be of a newer version; beyond it is a
// bit that flipped.
const mostFormat = 15

// keyUpgrade says that an upgrade is under way.
var keyUpgrade = []byte("upgrade")

// Of formats 1 and 2.
var (
	olderBucketLog     = []byte("log")
	olderKeyCheckpoint = []byte("checkpoint")
)

// upgrading turns blocks and records of formats 1 and 2 into history, and what
// readers have not read yet into records. What came before the last checkpoint
// it does in transactions of bounded size, each of which removes what it has
// done; the rest, which devices are brought up to date by, in the last one.
type upgrading struct {
	s          *Store
	checkpoint Position // devices are as of it
	sealed     Position // the last entry in blocks; 0: wherever they end
	record     uint64   // the last of the log's files that is sealed
	unread     Position // readers need what is behind it
	number     uint64   // of the record made last
	end        Position // of the last entry so far
	rest       []*Entry // to be done last
	tables     []part   // likewise
}

// blocksAtOnce is how many blocks one transaction turns into history.
const blocksAtOnce = 4096

func (u *upgrading) do() error {
	s := u.s
	err := s.file.update(func(tx *bolt.Tx) error {
		if err := createBuckets(tx); err != nil {
			return err
		}
		_, err := tx.CreateBucketIfNotExists(olderBucketLog)
		return errors.Join(err, tx.Bucket(bucketMeta).Put(keyUpgrade, []byte{1}))
	})
	if err == nil {
		err = s.file.view(u.load)
	}
	for more := true; more && err == nil; {
		err = u.withRoom(func(tx *bolt.Tx) (err error) {
			more, err = u.blocks(tx)
			return err
		})
	}
	if err == nil {
		err = s.file.view(u.lastBlocks)
	}
	if err == nil {
		err = u.files()
	}
	if err == nil {
		err = u.withRoom(u.finish)
	}
	return err
}

// withRoom is a transaction for which the oldest history makes room if need be.
func (u *upgrading) withRoom(f func(tx *bolt.Tx) error) error {
	for number := u.number; ; u.number = number {
		err := u.s.file.update(f)
		if err == nil || !overBudget(err) {
			return err
		}
		if err := u.s.makeRoom(); err != nil {
			return err
		}
	}
}

// load reads what the older version kept.
func (u *upgrading) load(tx *bolt.Tx) error {
	s := u.s
	meta := tx.Bucket(bucketMeta)
	u.checkpoint = keyPosition(meta.Get(olderKeyCheckpoint))
	if v := meta.Get(keySealed); len(v) == 16 {
		u.sealed, u.record = keyPosition(v[:8]), keyNumber(v[8:])
	}
	if v := meta.Get(keyLog); len(v) == 8 {
		s.logEpoch = binary.BigEndian.Uint64(v)
	}
	clear(s.devices)
	clear(s.cursors)
	clear(s.tables)
	if err := errors.Join(s.loadDevices(tx), s.loadCursors(tx), s.loadTables(tx)); err != nil {
		return err
	}
	u.unread = ^Position(0)
	for _, c := range s.cursors {
		u.unread = min(u.unread, c.pos)
		u.end = max(u.end, c.pos)
	}
	k, _ := tx.Bucket(bucketRecords).Cursor().Last()
	u.number = keyNumber(k)
	u.end = max(u.end, u.checkpoint, u.sealed)
	return nil
}

// blocks turns some that lie before the checkpoint into history.
func (u *upgrading) blocks(tx *bolt.Tx) (more bool, err error) {
	log := tx.Bucket(olderBucketLog)
	var keys [][]byte
	var batch history.Batch
	c := log.Cursor()
	for k, v := c.First(); k != nil && len(keys) < blocksAtOnce; k, v = c.Next() {
		entries, err := readOlderBlock(keyPosition(k), v)
		if err != nil {
			u.s.file.damage(fmt.Sprintf("block %x of the log", k), err)
		} else if n := len(entries); n > 0 && entries[n-1].Pos > u.checkpoint {
			break
		}
		keys = append(keys, append([]byte(nil), k...))
		if err := u.take(tx, &batch, entries); err != nil {
			return false, err
		}
	}
	return len(keys) == blocksAtOnce, errors.Join(batch.Put(tx), deleteAll(log, keys))
}

// take adds entries that follow each other to the history, and makes a record of
// what is unread.
func (u *upgrading) take(tx *bolt.Tx, batch *history.Batch, entries []*Entry) error {
	w := entryWriter{}
	var first *Entry
	for _, e := range entries {
		addToHistory(batch, e)
		if e.Pos <= u.unread {
			continue
		}
		if first == nil {
			first, w.prev = e, e.Received
		}
		w.add(e)
	}
	if first == nil {
		return nil
	}
	payload := appendEntries(recordBegin(first.Pos, 0, first.Received), w.b)
	b := tx.Bucket(bucketRecords)
	offset := uint64(0)
	if _, v := b.Cursor().Last(); v != nil {
		before, payload, _ := openRecord(v)
		offset = before + uint64(len(payload))
	}
	u.number++
	return b.Put(numberKey(u.number), sealRecord(offset, payload))
}

// lastBlocks brings devices up to date with those behind the checkpoint.
func (u *upgrading) lastBlocks(tx *bolt.Tx) error {
	c := tx.Bucket(olderBucketLog).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		entries, err := readOlderBlock(keyPosition(k), v)
		if err != nil {
			u.s.file.damage(fmt.Sprintf("block %x of the log", k), err)
			u.end = max(u.end, keyPosition(k)+olderEntriesPerBlock)
			continue
		}
		u.replay(entries)
	}
	return nil
}

func (u *upgrading) replay(entries []*Entry) {
	for _, e := range entries {
		if e.Pos > u.checkpoint {
			u.s.replayEntry(e)
		}
		u.end = max(u.end, e.Pos)
	}
	u.rest = append(u.rest, entries...)
}

// files brings everything up to date with what the log's files have.
func (u *upgrading) files() error {
	s := u.s
	names, err := s.fs.List()
	if err != nil || !slices.ContainsFunc(names, segment.IsName) {
		return err
	}
	sealed := u.sealed
	if sealed == 0 {
		sealed = u.end
	}
	l, err := segment.Open(segment.Options{FS: s.fs, Epoch: s.logEpoch, Log: s.log, Damaged: s.file.damage}, u.record, func(number uint64, payload []byte) error {
		err := eachOlderPart(payload, func(p *part) error {
			u.part(p, sealed)
			return nil
		})
		if err != nil {
			s.recordDamaged(number, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.Close()
}

func (u *upgrading) part(p *part, sealed Position) {
	s := u.s
	switch p.kind {
	case partEntries:
		if n := len(p.entries); n > 0 && p.entries[n-1].Pos > sealed {
			u.replay(p.entries)
		}
	case partForgotten:
		delete(s.devices, p.name)
	case partBoots:
		d := s.device(p.name)
		d.boots = d.boots[:0]
		for _, b := range p.boots {
			d.boots = append(d.boots, &b)
		}
	default:
		q := *p
		q.value = append([]byte(nil), p.value...)
		u.tables = append(u.tables, q)
	}
}

// finish does the rest, and says that it is done.
func (u *upgrading) finish(tx *bolt.Tx) error {
	var batch history.Batch
	for rest := u.rest; len(rest) > 0; {
		n := 1
		for n < len(rest) && n < olderEntriesPerBlock && rest[n].Pos == rest[n-1].Pos+1 {
			n++
		}
		if err := u.take(tx, &batch, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if err := batch.Put(tx); err != nil {
		return err
	}
	for i := range u.tables {
		if err := u.tables[i].put(tx); err != nil {
			return err
		}
	}
	states, err := u.states(tx)
	if err != nil {
		return err
	}
	meta := tx.Bucket(bucketMeta)
	return errors.Join(
		putStates(tx, states), tx.DeleteBucket(olderBucketLog), meta.Delete(olderKeyCheckpoint), meta.Delete(keyUpgrade),
		meta.Put(keyFormat, []byte{fileFormat}),
		putSealed(tx, u.end, u.number), putPlace(tx, InBolt), putLogEpoch(tx, newLogEpoch()))
}

// states are those of all devices, the forgotten among them.
func (u *upgrading) states(tx *bolt.Tx) (all []stateWrite, err error) {
	err = tx.Bucket(bucketDevices).ForEach(func(k, v []byte) error {
		if u.s.devices[string(k)] == nil {
			all = append(all, stateWrite{device: string(k)})
		}
		return nil
	})
	for id, d := range u.s.devices {
		all = append(all, stateWrite{id, d.encode()})
	}
	return all, err
}

// sync makes the file durable as it is.
func (f *file) sync() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.db.Sync()
}

// copyTo writes a copy of the file, which gets its name when it is whole.
func (f *file) copyTo(path string) error {
	tmp := path + ".new"
	err := f.view(func(tx *bolt.Tx) error { return tx.CopyFile(tmp, 0o600) })
	if err == nil {
		err = syncFile(tmp)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(path)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
