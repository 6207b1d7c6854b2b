package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/segment"
	bolt "go.etcd.io/bbolt"
)

// Sealing takes what the log has into the history and the other buckets, so that
// the log's space can be used again once all readers are through: rarely, and in
// large transactions. A goroutine of its own does it, so that commits to the log's
// files never wait for the database. It keeps the history in order, too: keep.go.

const (
	sealBytes    = 4 << 20   // of records that are not sealed start it
	sealAfter    = time.Hour // since the last time does, too
	sealAtOnce   = 5 << 20   // bytes of records in one transaction
	sealsAtClose = 5 * time.Second
	mostUnsealed = 192 << 20 // commits wait above this; it leaves room for one of the largest
	tooFar       = 1000 * time.Hour
)

// keySealed says how far: the position of the last entry that is in the history,
// and the number of the record as of which everything else is.
var keySealed = []byte("sealed")

// A sealing is what the sealer is asked for. One that failed is tried again.
type sealing struct {
	record uint64   // up to which
	head   Position // the last entry in it
	states []stateWrite
	words  []word
	end    segment.End // of the log, when nothing will be appended any more

	snapshots []*snapshot // to be made afterwards
	empty     bool        // nothing has to be moved for them
}

// sealer is what the goroutine that seals keeps to itself.
type sealer struct {
	record  uint64      // everything but entries is in the database as of it
	read    uint64      // entries are up to here
	pos     Position    // the last of them
	end     segment.End // that is in the database
	keep    keeping
	failed  *sealing                  // was not done when the store was closed
	closing atomic.Pointer[time.Time] // how long it may go on, once the store is closed
	asked   chan *sealing
	stop    chan struct{}
	done    chan struct{}
}

// sealIfDue hands the sealer what was logged since the last time. The caller is
// the committer, with no batch in hand: states are of what is durable.
func (s *Store) sealIfDue(now time.Time) {
	c := &s.committer
	if !c.retryAt.IsZero() || s.sealBusy.Load() {
		return
	}
	wanted := s.takeSnapshots()
	if len(wanted) == 0 && (c.unsealed == 0 || c.unsealed < s.sealBytes && now.Sub(c.sealedSince) < sealAfter) {
		return
	}
	s.sealBusy.Store(true)
	job := &sealing{empty: true}
	if c.unsealed > 0 {
		job = s.sealing()
	}
	job.snapshots = wanted
	s.seal.asked <- job
	c.sealedSince = now
}

// sealing makes what the sealer needs to know from what the committer knows.
func (s *Store) sealing() *sealing {
	c := &s.committer
	job := &sealing{record: s.journal.Next() - 1, head: c.last, words: c.words.save()}
	for _, id := range c.unforgotten {
		job.states = append(job.states, stateWrite{device: id})
	}
	c.unforgotten = nil
	job.states = s.takeStates(job.states)
	c.unsealed = 0
	return job
}

// sealFor is the time until sealing is due if nothing more is logged.
func (s *Store) sealFor() time.Duration {
	if s.committer.unsealed == 0 || s.sealBusy.Load() {
		return tooFar
	}
	return time.Until(s.committer.sealedSince.Add(sealAfter))
}

// logFull reports whether commits have to wait for the sealer, because what is in
// the log alone has used up its budget.
func (s *Store) logFull() bool { return s.journal.Stats().Unsealed > s.mostUnsealed }

// runSealer is the sealer's goroutine.
func (s *Store) runSealer() {
	defer close(s.seal.done)
	s.prepare()
	keep := time.NewTimer(time.Minute)
	defer keep.Stop()
	for {
		select {
		case job := <-s.seal.asked:
			if !s.sealUntilDone(job) {
				s.seal.failed = job
				return
			}
			s.makeSnapshots(job.snapshots)
			s.prepare()
			s.sealBusy.Store(false)
			s.signal()
		case now := <-keep.C:
			keep.Reset(s.keepHistory(now))
		case <-s.seal.stop:
			return
		}
	}
}

// prepare makes a free segment so that the committer need not.
func (s *Store) prepare() {
	if err := s.journal.Prepare(); err != nil {
		s.log.Warn("no segment could be prepared for the log", "error", err)
	}
}

// sealUntilDone tries until it works or the store is closed.
func (s *Store) sealUntilDone(job *sealing) bool {
	for first := true; ; first = false {
		err := s.trySeal(job)
		if errors.Is(err, errLater) {
			return false
		}
		s.mu.Lock()
		s.health.SealErr = ""
		if err != nil {
			s.health.SealErr = err.Error()
		}
		s.mu.Unlock()
		if err == nil {
			return true
		}
		if corrupt(err) && !errors.Is(err, errUnavailable) {
			s.condemn(err)
		}
		if first {
			s.log.Error("the log cannot be sealed into the database; it grows until that works", "error", err)
		}
		select {
		case <-s.seal.stop:
			return false
		case <-time.After(retryEvery):
		}
		if err := s.reopen(err); err != nil {
			s.log.Warn("open the file after an error", "error", err)
		}
	}
}

// reopen opens the database anew after an error other than one of space: what
// the library has in memory, and what the kernel made of pages that it could not
// write, is not to be trusted.
func (s *Store) reopen(after error) error {
	if noSpace(after) {
		return nil
	}
	return s.file.reopen()
}

// trySeal takes the records up to job's into the database, in transactions of
// bounded size. Only the last one counts for anything but entries.
func (s *Store) trySeal(job *sealing) error {
	if job.empty {
		return nil
	}
	for last := false; !last; {
		var to sealedTo
		records, end, err := s.unsealedRecords(job.record) // not in the transaction: who reads in one that writes locks out who opens the file anew
		if err != nil {
			return err
		}
		err = s.file.update(func(tx *bolt.Tx) (err error) {
			if to, err = s.sealRecords(tx, records); err != nil {
				return err
			}
			if last = end; !last {
				return putSealed(tx, to.pos, s.seal.record)
			}
			to = sealedTo{job.record, max(to.pos, job.head)}
			return errors.Join(putStates(tx, job.states), s.words.put(tx, job.words), putSealed(tx, to.pos, job.record), putEnd(tx, job.end))
		})
		switch {
		case err != nil && overBudget(err):
			last = false
			if err := s.makeRoom(); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		s.seal.read, s.seal.pos = to.read, to.pos
		s.sealMoved.Store(true)
		s.tails.Lock()
		s.tails.sealed = to.pos
		s.tails.unsealed.drop(to.read)
		s.tails.Unlock()
		if !last && s.seal.late() {
			return errLater
		}
	}
	s.seal.record = job.record
	s.release()
	return s.dropWords()
}

// errLater: it is closing time.
var errLater = errors.New("the rest is sealed after the next start")

// sealedTo is how far a transaction came.
type sealedTo struct {
	read uint64   // the last record
	pos  Position // the last entry
}

func putSealed(tx *bolt.Tx, pos Position, record uint64) error {
	return errors.Join(tx.Bucket(bucketMeta).Put(keySealed, binary.BigEndian.AppendUint64(positionKey(pos), record)), putCopy(tx))
}

func getSealed(tx *bolt.Tx) (pos Position, record uint64, err error) {
	v := tx.Bucket(bucketMeta).Get(keySealed)
	if len(v) != 16 {
		return 0, 0, fmt.Errorf("%w: %s is %x", errCorrupt, keySealed, v)
	}
	return keyPosition(v[:8]), binary.BigEndian.Uint64(v[8:]), nil
}

// keyEnd is where the log ended when the store was closed. It is about a segment
// that is not written to again, so it need not be removed: when there is a newer
// one it says nothing.
var keyEnd = []byte("end")

func putEnd(tx *bolt.Tx, e segment.End) error {
	if e == (segment.End{}) {
		return nil
	}
	b := numberKey(e.Generation)
	b = binary.BigEndian.AppendUint64(b, e.Last)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Off))
	return tx.Bucket(bucketMeta).Put(keyEnd, sealRow(b))
}

// getEnd is zero when it is not there, or damaged: the log is searched for it then.
func getEnd(tx *bolt.Tx) (e segment.End) {
	b, err := unsealRow(tx.Bucket(bucketMeta).Get(keyEnd))
	if err != nil || len(b) != 24 {
		return e
	}
	return segment.End{Generation: binary.BigEndian.Uint64(b), Last: binary.BigEndian.Uint64(b[8:]), Off: int64(binary.BigEndian.Uint64(b[16:]))}
}

func positionKey(p Position) []byte { return numberKey(uint64(p)) }

// keyPosition is the position in the value of a cursor.
func keyPosition(v []byte) Position { return Position(keyNumber(v)) }

// A numbered is a record of the log.
type numbered struct {
	number  uint64
	payload []byte
}

// unsealedRecords reads a bounded number of records behind the last one that was
// taken in, and says whether these are all.
func (s *Store) unsealedRecords(to uint64) (all []numbered, end bool, err error) {
	from := s.seal.read + 1
	x, err := s.journal.Extents()
	if err != nil {
		return nil, false, err
	}
	if len(x) > 0 && x[0].First > from {
		from = x[0].First // what was before is missing, as the start reported
	}
	bytes := 0
	end = true
	err = s.journal.Scan(from, func(number uint64, payload []byte) bool {
		if number > to || bytes >= s.sealAtOnce {
			end = number > to
			return false
		}
		all = append(all, numbered{number, payload})
		bytes += len(payload)
		return true
	})
	return all, end, err
}

// sealRecords takes records in. How far that was done already the transaction
// says: one that failed may have come to its end all the same.
func (s *Store) sealRecords(tx *bolt.Tx, records []numbered) (done sealedTo, err error) {
	sealed, _, err := getSealed(tx)
	if err != nil {
		return done, err
	}
	done = sealedTo{s.seal.read, max(s.seal.pos, sealed)}
	var batch history.Batch
	rr := recordReader{mean: s.words.of}
	for _, r := range records {
		err := rr.each(r.payload, func(p *part) error {
			for _, e := range p.entries {
				if e.Pos > sealed {
					addToHistory(&batch, e)
				}
			}
			return p.put(tx)
		})
		if errors.Is(err, errDamaged) {
			s.recordDamaged(r.number, err)
		} else if err != nil {
			return done, err
		}
		done = sealedTo{r.number, max(done.pos, rr.end-1)}
	}
	return done, batch.Put(tx)
}

// addToHistory adds what has a place there: records whose times are known.
func addToHistory(b *history.Batch, e *Entry) {
	if e.Uncertain || len(e.Records) == 0 {
		return
	}
	b.Add(e.Device, chunk.Frame{Received: e.Received, Boot: e.Boot, Seq: e.Seq, Command: e.Command, Records: e.Records})
}

// dropWords forgets those that no record uses any more.
func (s *Store) dropWords() error {
	first := s.seal.record + 1
	all, err := s.journal.Extents()
	if err != nil {
		return err
	}
	if len(all) > 0 {
		first = min(first, all[0].First)
	}
	gone := s.words.forget(first)
	if len(gone) == 0 {
		return nil
	}
	return s.file.update(func(tx *bolt.Tx) error { return dropWords(tx, gone) })
}

// put writes what is no entry into the database. Devices and words are not
// written one by one: all of them are at the end.
func (p *part) put(tx *bolt.Tx) error {
	switch p.kind {
	case partRow:
		return putTable(tx, p.name, p.key, p.value)
	case partNoRow:
		return putTable(tx, p.name, p.key, nil)
	case partCursor:
		return putCursor(tx, cursorWrite{name: p.name, pos: p.pos})
	case partNoCursor:
		return putCursor(tx, cursorWrite{name: p.name, remove: true})
	}
	return nil
}

// sealAtTheEnd makes the next start quick. What cannot be sealed, or takes too long,
// stays in the log's files and is replayed.
func (s *Store) sealAtTheEnd(clean bool) {
	s.stopSealer()
	<-s.seal.done
	job := s.seal.failed
	select {
	case job = <-s.seal.asked: // in the moment of closing
	default:
	}
	if clean && s.committer.unsealed > 0 { // else a batch is in the states that is not durable
		last := s.sealing()
		if job != nil {
			last.states = append(job.states, last.states...)
			last.words = append(job.words, last.words...)
		}
		job = last
	}
	if end := s.journal.End(); clean && end != s.seal.end {
		if job == nil { // all of it was sealed earlier
			job = &sealing{record: s.seal.record, head: s.seal.pos}
		}
		job.end = end
	}
	if job == nil {
		return
	}
	switch err := s.trySeal(job); {
	case errors.Is(err, errLater):
		s.log.Info("much of the log is not sealed yet; the next start goes on with that")
	case err != nil:
		s.log.Warn("the log could not be sealed at the end; the next start reads it", "error", err)
	}
}

// stopSealer lets the sealer end soon.
func (s *Store) stopSealer() {
	until := time.Now().Add(s.sealsAtClose)
	s.seal.closing.Store(&until)
	close(s.seal.stop)
}

// late reports whether the store is closed and has sealed for long enough.
func (l *sealer) late() bool {
	until := l.closing.Load()
	return until != nil && time.Now().After(*until)
}
