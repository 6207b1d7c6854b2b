package store

import (
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	retainEvery = time.Hour
	spare       = 64 << 20 // bytes above the budget that removing may use
	dropAtOnce  = 512      // blocks in one transaction, so that commits do not wait long
)

// plausible is before any time at which this version can run. A Pi without a
// clock starts in the past; retention waits until the time is known.
var plausible = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// dropOld removes a bounded number of blocks whose entries are older than
// Options.Retain and says when to look again.
func (s *Store) dropOld(now time.Time) (again time.Duration) {
	if s.retain <= 0 || now.Before(plausible) {
		return retainEvery
	}
	limit := now.Add(-s.retain).UnixMilli()
	n, _, err := s.dropBlocks(func(h blockHeader) bool { return h.received < limit })
	if err != nil {
		s.log.Error("old entries could not be removed; trying again in an hour", "error", err)
	}
	if n == dropAtOnce {
		return time.Second
	}
	return retainEvery
}

// makeRoom removes the oldest blocks because the budget for the file is spent.
func (s *Store) makeRoom() error {
	s.file.allow(spare) // removing needs a few pages, too
	n, entries, err := s.dropBlocks(func(blockHeader) bool { return true })
	s.file.allow(0)
	if err == nil && n == 0 {
		err = errors.New("the store's space is used up, and not by history")
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	first := s.health.Dropped == 0
	s.health.Dropped += uint64(entries)
	s.mu.Unlock()
	if first {
		s.log.Warn("the store's space is used up: the oldest entries are removed from now on", "bytes", s.file.options.MaxSize)
	}
	return nil
}

// dropBlocks removes blocks from the beginning of the log while old holds, but
// never the last one, which says where the log ends.
func (s *Store) dropBlocks(old func(blockHeader) bool) (blocks, entries int, err error) {
	err = s.file.update(func(tx *bolt.Tx) error {
		entries = 0
		log := tx.Bucket(bucketLog)
		var keys [][]byte // deleting while iterating would skip some
		c := log.Cursor()
		last, _ := c.Last()
		end := keyBlock(last)
		for k, v := c.First(); k != nil && keyBlock(k) < end && len(keys) < dropAtOnce; k, v = c.Next() {
			h, _, err := unpackHeader(v)
			if err == nil && !old(h) {
				break
			}
			keys = append(keys, append([]byte(nil), k...))
			entries += h.count
		}
		for _, k := range keys {
			if err := log.Delete(k); err != nil {
				return err
			}
		}
		blocks = len(keys)
		return nil
	})
	return blocks, entries, err
}
