package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"
)

// checkErrors is how many findings Check reports at most.
const checkErrors = 20

// Check walks through everything in the file and reports what breaks one of the
// invariants in FORMAT.md. The store may be in use, but commits wait until the
// walk is over.
func (s *Store) Check() error {
	s.tails.RLock()
	head := s.tails.durable
	s.tails.RUnlock()
	w := walk{}
	err := s.file.exclusive(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			w.found("file: %v", err)
		}
		w.log(tx.Bucket(bucketLog).Cursor())
		if s.segments != nil {
			s.checkUnsealed(&w)
		}
		if w.blocks > 0 && w.end-1 < head {
			w.found("the log ends at %d, but entries up to %d were acknowledged", w.end-1, head)
		}
		checkpoint := keyBlock(tx.Bucket(bucketMeta).Get(keyCheckpoint))
		if checkpoint > w.end-1 && w.blocks > 0 {
			w.found("the checkpoint is at %d, behind the end of the log at %d", checkpoint, w.end-1)
		}
		w.devices(tx.Bucket(bucketDevices))
		w.cursors(tx.Bucket(bucketCursors), max(head, w.end-1))
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if strings.HasPrefix(string(name), tablePrefix) {
				w.table(string(name), b)
			}
			return nil
		})
	})
	if err != nil {
		w.found("%v", err)
	}
	if len(w.findings) == 0 {
		return nil
	}
	return fmt.Errorf("check store %s: %w", s.file.path, errors.Join(w.findings...))
}

// walk collects what Check finds.
type walk struct {
	findings []error
	blocks   int
	end      Position // behind the last block
	offset   uint64   // bytes up to there
	latest   int64    // ms
}

func (w *walk) found(format string, args ...any) {
	if len(w.findings) < checkErrors {
		w.findings = append(w.findings, fmt.Errorf(format, args...))
	}
}

// checkUnsealed walks through the records that are not in the database.
func (s *Store) checkUnsealed(w *walk) {
	behind, _ := s.unsealedFrom(w.end)
	for _, l := range behind {
		payload, err := s.segments.Read(l.number)
		if err == nil {
			err = eachPart(payload, func(p *part) error {
				if p.kind == partBlock {
					w.block(p.pos, p.value)
				}
				return nil
			})
		}
		if err != nil {
			w.found("record %d: %v", l.number, err)
		}
	}
}

func (w *walk) log(c *bolt.Cursor) {
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if len(k) != 8 {
			w.found("block %x: the key is no position", k)
			continue
		}
		w.block(keyBlock(k), v)
	}
}

// block is the next one of the log.
func (w *walk) block(at Position, v []byte) {
	h, _, err := unpackHeader(v)
	entries, uerr := unpack(at, v)
	switch {
	case err != nil || uerr != nil:
		w.found("block %d: %v", at, errors.Join(err, uerr))
		return
	case at < w.end || at == 0:
		w.found("block %d begins before %d, where the one before it ends", at, w.end)
	case h.offset < w.offset:
		w.found("block %d says that %d bytes are before it, but %d are", at, h.offset, w.offset)
	case w.blocks > 0 && h.latest < w.latest:
		w.found("block %d: the latest receipt falls from %d to %d", at, w.latest, h.latest)
	}
	for _, e := range entries {
		if e.Received > h.latest || earliest(e) < h.earliest {
			w.found("entry %d is outside of what block %d says", e.Pos, at)
		}
	}
	w.blocks++
	w.end, w.offset, w.latest = at+Position(len(entries)), h.offset+uint64(len(v)), h.latest
}

func (w *walk) devices(b *bolt.Bucket) {
	_ = b.ForEach(func(k, v []byte) error {
		if _, err := decodeDevice(string(k), v); err != nil {
			w.found("device %s: %v", k, err)
		}
		return nil
	})
}

func (w *walk) cursors(b *bolt.Bucket, head Position) {
	_ = b.ForEach(func(k, v []byte) error {
		if len(v) != 8 || keyBlock(v) > head {
			w.found("cursor %s: %x is behind the end of the log at %d", k, v, head)
		}
		return nil
	})
}

func (w *walk) table(name string, b *bolt.Bucket) {
	_ = b.ForEach(func(k, v []byte) error {
		row, err := unsealRow(v)
		if err == nil {
			err = cbor.Wellformed(row)
		}
		if err != nil {
			w.found("%s, key %s: %v", name, k, err)
		}
		return nil
	})
}
