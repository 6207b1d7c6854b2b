package store

import (
	"errors"
	"fmt"
	"os"

	"github.com/hearthgate/hearthgate/store/segment"
	bolt "go.etcd.io/bbolt"
)

// The log lies in one of two places, LogIn, and meta says in which. A start that
// wants the other one copies what is still needed there, under the same numbers,
// before it says so and removes the old. A place that is not the one in meta is a
// copy that was cut off, and counts for nothing.

var keyPlace = []byte("place")

// copyAtOnce is how many bytes of records one transaction takes over.
const copyAtOnce = 1 << 20

// openLog opens the log where it is and reads what is not sealed yet.
func (s *Store) openLog() error {
	open := s.openFiles
	if s.place == InBolt {
		if err := s.clear(Files); err != nil {
			return err
		}
		open = s.openBucket
	}
	if err := open(s.seal.record, s.replayRecord); err != nil {
		return err
	}
	s.words.resume(s.file.damaged.Load() > 0) // of the database, too
	return nil
}

// settleLog lets go of what nobody needs of the log, and moves it to where it is
// wanted.
func (s *Store) settleLog() {
	s.release()
	if s.place == s.logIn {
		return
	}
	if err := s.moveLog(); err != nil {
		s.log.Error("the log could not be moved to where store.log wants it, and stays where it is", "error", err)
	}
}

func (s *Store) openFiles(after uint64, replay func(uint64, []byte) error) error {
	l, err := segment.Open(segment.Options{
		FS: s.fs, Epoch: s.logEpoch, Size: s.segmentSize, Budget: s.logBudget, End: s.seal.end, Log: s.log, Damaged: s.file.damage,
	}, after, replay)
	if err == nil {
		s.journal = l
	}
	return err
}

func (s *Store) openBucket(after uint64, replay func(uint64, []byte) error) error {
	l, err := openBucketLog(s.file, after, s.logBudget, s.makeRoom, s.recordDamaged, replay)
	if err == nil {
		s.committer.next += Position(l.lost)
		s.journal = l
	}
	return err
}

// moveLog copies the log to the other place and goes on there.
func (s *Store) moveLog() error {
	old := s.journal
	from := min(s.passed(), s.seal.record) + 1
	all, err := old.Extents()
	if err != nil {
		return err
	}
	if len(all) > 0 {
		from = max(from, all[0].First)
	}
	if s.logIn == Files {
		err = s.moveToFiles(old, from)
	} else {
		err = s.moveToBucket(old, from)
	}
	if err == nil {
		err = s.file.update(func(tx *bolt.Tx) error { return putPlace(tx, s.logIn) })
	}
	if err != nil {
		if s.journal != old {
			err = errors.Join(err, s.journal.Close())
		}
		s.journal = old
		return err
	}
	s.place = s.logIn
	return errors.Join(old.Close(), s.clear(InBolt-s.logIn))
}

func (s *Store) moveToFiles(old journal, from uint64) error {
	if err := s.clear(Files); err != nil {
		return err
	}
	if err := s.openFiles(from-1, func(uint64, []byte) error { return nil }); err != nil {
		return err
	}
	s.journal.Release(0, s.seal.record)
	put := func(payload []byte) error {
		_, err := s.journal.Append(payload)
		return err
	}
	err := s.copyRecords(old, from, func(number uint64, payload []byte) error {
		pos, _ := position(payload)
		for s.journal.Next() < number { // one that was damaged
			if err := put(recordBegin(pos, 0, 0)); err != nil {
				return err
			}
		}
		return put(payload)
	})
	for err == nil && s.journal.Next() < old.Next() {
		err = put(recordBegin(s.committer.next, 0, 0))
	}
	return err
}

func (s *Store) moveToBucket(old journal, from uint64) error {
	if err := s.clear(InBolt); err != nil {
		return err
	}
	offset := uint64(0)
	var page [][]byte
	var first uint64
	bytes := 0
	flush := func() error {
		err := s.file.update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketRecords)
			for i, payload := range page {
				if payload == nil {
					continue
				}
				if err := b.Put(numberKey(first+uint64(i)), sealRecord(offset, payload)); err != nil {
					return err
				}
				offset += uint64(len(payload))
			}
			return nil
		})
		page, bytes = nil, 0
		return err
	}
	err := s.copyRecords(old, from, func(number uint64, payload []byte) error {
		if len(page) == 0 {
			first = number
		}
		for first+uint64(len(page)) < number {
			page = append(page, nil)
		}
		page = append(page, payload)
		if bytes += len(payload); bytes < copyAtOnce {
			return nil
		}
		return flush()
	})
	if err == nil && len(page) > 0 {
		err = flush()
	}
	if err != nil {
		return err
	}
	l, err := openBucketLog(s.file, s.seal.record, s.logBudget, s.makeRoom, s.recordDamaged, func(uint64, []byte) error { return nil })
	if err != nil {
		return err
	}
	l.next = old.Next()
	s.journal = l
	return nil
}

func (s *Store) copyRecords(old journal, from uint64, put func(number uint64, payload []byte) error) (err error) {
	serr := old.Scan(from, func(number uint64, payload []byte) bool {
		err = put(number, payload)
		return err == nil
	})
	return errors.Join(err, serr)
}

// clear removes what is in a place that is not the one of the log.
func (s *Store) clear(place LogIn) error {
	if place == InBolt {
		return s.file.update(func(tx *bolt.Tx) error {
			if err := tx.DeleteBucket(bucketRecords); err != nil {
				return err
			}
			_, err := tx.CreateBucket(bucketRecords)
			return err
		})
	}
	names, err := s.fs.List()
	if err != nil {
		return fmt.Errorf("list the log's files: %w", err)
	}
	for _, name := range names {
		if segment.IsName(name) {
			if rerr := s.fs.Remove(name); !errors.Is(rerr, os.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}
	return err
}

func putPlace(tx *bolt.Tx, place LogIn) error {
	return errors.Join(tx.Bucket(bucketMeta).Put(keyPlace, []byte{byte(place)}), putCopy(tx))
}
