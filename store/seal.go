package store

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/hearthgate/hearthgate/store/segment"
	bolt "go.etcd.io/bbolt"
)

// Sealing moves what the log's files hold into the database, so that they can
// be used again: rarely, and in large transactions. It is done by a goroutine of
// its own, which is then the only one that writes to the database, so that
// commits never wait for it.

const (
	sealBytes    = 4 << 20   // of records that are not sealed start it
	sealAfter    = time.Hour // since the last time does, too
	sealAtOnce   = 8 << 20   // bytes of records in one transaction
	packAtOnce   = 256 << 10 // bytes of records whose entries are in memory at a time
	mostUnsealed = 192 << 20 // commits wait above this; it leaves room for one of the largest
	tooFar       = 1000 * time.Hour
)

// keySealed says how far: the position of the last entry in the bucket log (0:
// wherever that ends), and the number of the record as of which everything else
// is.
var keySealed = []byte("sealed")

// A sealing is what the sealer is asked for. One that failed is tried again.
type sealing struct {
	record uint64   // up to which
	head   Position // the last entry in it
	states []stateWrite
	leave  bool // the log goes on in the database

	snapshots []*snapshot // to be made afterwards
	empty     bool        // nothing has to be moved for them
}

// sealer is what the goroutine that seals keeps to itself.
type sealer struct {
	record uint64 // everything but entries is in the database as of it
	read   uint64 // entries are up to here
	pack   packer
	failed *sealing // was not done when the store was closed
	asked  chan *sealing
	stop   chan struct{}
	done   chan struct{}
}

// sealIfDue hands the sealer what was logged since the last time. The caller is
// the committer, with no batch in hand: states are of what is durable.
func (s *Store) sealIfDue(now time.Time) {
	c := &s.committer
	if s.segments == nil || !c.retryAt.IsZero() || s.sealBusy.Load() {
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
	job := &sealing{record: s.segments.Next() - 1, head: c.last}
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
	if s.segments == nil || s.committer.unsealed == 0 || s.sealBusy.Load() {
		return tooFar
	}
	return time.Until(s.committer.sealedSince.Add(sealAfter))
}

// logFull reports whether commits have to wait for the sealer, because the
// log's files have used up their budget.
func (s *Store) logFull() bool { return s.segments != nil && s.segments.Stats().Bytes > s.mostUnsealed }

// runSealer is the sealer's goroutine.
func (s *Store) runSealer() {
	defer close(s.seal.done)
	s.prepare()
	retain := time.NewTimer(time.Minute)
	defer retain.Stop()
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
		case now := <-retain.C:
			retain.Reset(s.dropOld(now))
		case <-s.seal.stop:
			return
		}
	}
}

// prepare makes a free segment so that the committer need not.
func (s *Store) prepare() {
	if err := s.segments.Prepare(); err != nil {
		s.log.Warn("no segment could be prepared for the log", "error", err)
	}
}

// sealUntilDone tries until it works or the store is closed.
func (s *Store) sealUntilDone(job *sealing) bool {
	for first := true; ; first = false {
		err := s.trySeal(job)
		s.mu.Lock()
		s.health.SealErr = ""
		if err != nil {
			s.health.SealErr = err.Error()
		}
		s.mu.Unlock()
		if err == nil {
			return true
		}
		if first {
			s.log.Error("the log cannot be sealed into the database; it grows until that works", "error", err)
		}
		select {
		case <-s.seal.stop:
			return false
		case <-time.After(retryEvery):
		}
		s.reopen(err)
	}
}

// reopen opens the database anew after an error other than one of space: see
// retry.
func (s *Store) reopen(after error) {
	if noSpace(after) {
		return
	}
	if err := s.file.close(); err != nil {
		s.log.Warn("close the file after an error", "error", err)
	}
	if err := s.file.open(); err != nil {
		s.log.Warn("open the file after an error", "error", err)
	}
}

// trySeal moves the records up to job's into the database, in transactions of
// bounded size. Only the last one counts for anything but entries.
func (s *Store) trySeal(job *sealing) error {
	if job.empty {
		return nil
	}
	for last := false; !last; {
		var sealed Position
		var read uint64
		err := s.file.update(func(tx *bolt.Tx) (err error) {
			if read, sealed, err = s.sealRecords(tx, job.record); err != nil {
				return err
			}
			if last = read == job.record; !last {
				return putSealed(tx, sealed, s.seal.record)
			}
			if err := putStates(tx, job.states, job.head); err != nil {
				return err
			}
			if job.leave {
				sealed = 0
			}
			return putSealed(tx, sealed, job.record)
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
		s.sealedUpTo(sealed, read)
	}
	s.seal.record = job.record
	s.segments.Release(job.record, job.record)
	return nil
}

// sealedUpTo lets readers find in the database what was moved there.
func (s *Store) sealedUpTo(pos Position, record uint64) {
	s.seal.read = record
	s.tails.Lock()
	defer s.tails.Unlock()
	s.tails.sealed = max(s.tails.sealed, pos)
	n := 0
	for n < len(s.tails.unsealed) && s.tails.unsealed[n].number <= record {
		n++
	}
	s.tails.unsealed = append([]logged(nil), s.tails.unsealed[n:]...)
}

func putSealed(tx *bolt.Tx, pos Position, record uint64) error {
	return tx.Bucket(bucketMeta).Put(keySealed, binary.BigEndian.AppendUint64(blockKey(pos), record))
}

// sealRecords moves a bounded number of records behind the last one that was
// moved, and says which was the last and where the sealed entries end.
func (s *Store) sealRecords(tx *bolt.Tx, to uint64) (last uint64, sealed Position, err error) {
	last, sealed = s.seal.read, s.sealedTo()
	bytes, held := 0, 0
	var entries []*Entry
	var offset uint64 // of the first of them
	flush := func() error {
		if len(entries) == 0 {
			return nil
		}
		sealed = entries[len(entries)-1].Pos
		err := s.sealEntries(tx, entries, offset)
		entries, held = entries[:0], 0
		return err
	}
	for last < to && bytes < sealAtOnce {
		payload, err := s.segments.Read(last + 1)
		if err != nil && !errors.Is(err, segment.ErrGone) { // a gap was reported at the start
			s.file.damage("a record of the log", err)
		}
		last++
		if err != nil {
			continue
		}
		bytes += len(payload)
		held += len(payload)
		err = eachPart(payload, func(p *part) error {
			switch p.kind {
			case partBlock:
				h, body, err := unpackHeader(p.value)
				if err != nil {
					return err
				}
				block, err := unpackBody(p.pos, h, body)
				if err != nil {
					return err
				}
				if p.pos <= s.sealedTo() { // by a sealing that was cut off
					return nil
				}
				if len(entries) == 0 {
					offset = h.offset
				}
				entries = append(entries, block...)
				return nil
			default:
				return p.put(tx)
			}
		})
		if errors.Is(err, errDamaged) {
			s.file.damage("a record of the log", err)
			err = nil
		}
		if err == nil && held > packAtOnce {
			err = flush()
		}
		if err != nil {
			return last, sealed, err
		}
	}
	return last, sealed, flush()
}

// put writes what is no entry into the database. Devices are not written one by
// one: their states are, all at the end.
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

// sealEntries puts entries behind those that are sealed; offset bytes of log
// came before the first. It is the one place that decides how sealed entries are
// kept.
func (s *Store) sealEntries(tx *bolt.Tx, entries []*Entry, offset uint64) error {
	log := tx.Bucket(bucketLog)
	log.FillPercent = 1 // keys only grow
	var latest int64
	if k, v := log.Cursor().Last(); k != nil {
		if h, _, err := unpackHeader(v); err == nil {
			offset, latest = max(offset, h.offset+uint64(len(v))), h.latest
		}
	}
	p := &s.seal.pack
	p.buf = make([]byte, 0, packAtOnce) // the transaction keeps what it was given
	p.reset(offset, latest)
	var next Position
	for _, e := range entries {
		if e.Pos != next { // a block's entries follow each other
			p.seal()
		}
		p.add(e)
		next = e.Pos + 1
	}
	p.seal()
	for _, bl := range p.blocks {
		if err := log.Put(blockKey(bl.first), p.buf[bl.from:bl.to]); err != nil {
			return err
		}
	}
	return nil
}

// sealAtTheEnd makes the next start quick. What cannot be sealed stays in the
// log's files and is replayed.
func (s *Store) sealAtTheEnd(clean bool) {
	if s.segments == nil {
		return
	}
	close(s.seal.stop)
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
		}
		job = last
	}
	if job == nil {
		return
	}
	if err := s.trySeal(job); err != nil {
		s.log.Warn("the log could not be sealed at the end; the next start reads it", "error", err)
	}
}
