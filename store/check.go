package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/segment"
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
		w.pages(tx)
		pos, record, err := getSealed(tx)
		if err != nil {
			w.found("meta: %v", err)
		}
		w.end = pos + 1
		s.checkLog(&w, tx, record)
		if w.end-1 < head {
			w.found("the log ends at %d, but entries up to %d were acknowledged", w.end-1, head)
		}
		history.Check(tx, func(where string, err error) { w.found("history: %s: %v", where, err) })
		w.words(tx)
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
	end      Position // behind the last entry
}

func (w *walk) found(format string, args ...any) {
	if len(w.findings) < checkErrors {
		w.findings = append(w.findings, fmt.Errorf(format, args...))
	}
}

// checkLog walks through the records. Positions grow, and what follows the last
// sealed record follows the last sealed entry.
func (s *Store) checkLog(w *walk, tx *bolt.Tx, sealed uint64) {
	log := s.journal
	if b, ok := log.(*bucketLog); ok {
		log = b.within(tx)
	}
	for err := segment.ErrGone; errors.Is(err, segment.ErrGone); { // what was sealed may be released meanwhile
		var all []segment.Extent
		if all, err = log.Extents(); err != nil {
			w.found("log: %v", err)
			return
		}
		if len(all) == 0 {
			return
		}
		l := logWalk{w: w, sealed: sealed, sealedEnd: w.end, rr: recordReader{mean: s.words.of}}
		if err = log.Scan(all[0].First, l.record); err != nil && !errors.Is(err, segment.ErrGone) {
			w.found("log: %v", err)
		}
		w.end = max(w.end, l.end)
	}
}

// logWalk goes through the records of the log.
type logWalk struct {
	w         *walk
	sealed    uint64   // the last record that is
	sealedEnd Position // behind the last entry that is
	rr        recordReader
	before    uint64   // number of the record before
	end       Position // behind its entries
}

func (l *logWalk) record(number uint64, payload []byte) bool {
	err := l.rr.each(payload, func(*part) error { return nil })
	switch {
	case err != nil || l.rr.missing > 0:
		l.w.found("record %d: %v, %d words are missing", number, err, l.rr.missing)
		l.rr.missing = 0
	case l.rr.pos < l.end:
		l.w.found("record %d begins at %d, before %d, where the one before it ends", number, l.rr.pos, l.end)
	case l.before >= l.sealed && l.before > 0 && number != l.before+1:
		l.w.found("records %d to %d are missing", l.before+1, number-1)
	case number <= l.sealed && l.rr.end > l.sealedEnd:
		l.w.found("record %d is sealed, but not its entries up to %d", number, l.rr.end-1)
	}
	l.end, l.before = max(l.end, l.rr.end), number
	return true
}

func (w *walk) words(tx *bolt.Tx) {
	err := newWords().load(tx, func(what string, err error) { w.found("%s: %v", what, err) })
	if err != nil {
		w.found("words: %v", err)
	}
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
		if len(v) != 8 || keyPosition(v) > head {
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
