package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A snapshot is a copy of the database that somebody asked for. It is made by
// the sealer right after a sealing: then the database has everything that was
// committed, and nobody writes to it, so that no page is kept from being used
// again however long the copy takes. Commits go on meanwhile.
type snapshot struct {
	ctx   context.Context
	write func(size int64, db io.WriterTo) error
	begun atomic.Bool // or given up by who asked
	done  chan error
}

// Snapshot calls write, from another goroutine, with a copy of the database that
// has everything committed before the call: a store of its own. The copy comes at
// the pace of write, while sealing waits, so write must go to a local file.
func (s *Store) Snapshot(ctx context.Context, write func(size int64, db io.WriterTo) error) error {
	n := &snapshot{ctx: ctx, write: write, done: make(chan error, 1)}
	s.mu.Lock()
	s.snapshots = append(s.snapshots, n)
	s.mu.Unlock()
	s.signal()
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		var gaveUp error
		select {
		case err := <-n.done:
			return err
		case <-ctx.Done():
			gaveUp = ctx.Err()
		case <-s.done:
			gaveUp = ErrClosed
		case <-tick.C:
			gaveUp = s.cannotSeal()
		}
		if gaveUp != nil && n.begun.CompareAndSwap(false, true) {
			return gaveUp
		}
		if gaveUp != nil {
			return <-n.done
		}
	}
}

// cannotSeal is why a snapshot would have to wait for a disk that fails.
func (s *Store) cannotSeal() error {
	switch h := s.Health(); {
	case !h.Healthy:
		return fmt.Errorf("the store cannot write: %s", h.Err)
	case h.SealErr != "":
		return fmt.Errorf("the log cannot be sealed: %s", h.SealErr)
	}
	return nil
}

// takeSnapshots hands over what was asked for.
func (s *Store) takeSnapshots() []*snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := s.snapshots
	s.snapshots = nil
	return wanted
}

// makeSnapshots is the sealer's part.
func (s *Store) makeSnapshots(wanted []*snapshot) {
	for _, n := range wanted {
		if n.begun.CompareAndSwap(false, true) {
			n.done <- s.copyOut(n)
		}
	}
}

func (s *Store) copyOut(n *snapshot) error {
	err := s.file.view(func(tx *bolt.Tx) error {
		return n.write(tx.Size(), copying{tx, n.ctx, s.done})
	})
	if err != nil && n.ctx.Err() != nil {
		return n.ctx.Err() // the library does not wrap it
	}
	return err
}

// copying is a copy that ends early when nobody wants it any more.
type copying struct {
	tx     *bolt.Tx
	ctx    context.Context
	closed <-chan struct{}
}

func (c copying) WriteTo(w io.Writer) (int64, error) {
	return c.tx.WriteTo(writer(func(b []byte) (int, error) {
		select {
		case <-c.closed:
			return 0, ErrClosed
		case <-c.ctx.Done():
			return 0, c.ctx.Err()
		default:
			return w.Write(b)
		}
	}))
}

type writer func(b []byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// Renew gives the store in dir, which nobody has open, a new epoch, because it
// was restored: positions beyond the backup are used for other entries now.
func Renew(dir string) error {
	return closedStore(dir, func(f *file) error {
		if err := f.open(); err != nil {
			return err
		}
		err := f.update(func(tx *bolt.Tx) error {
			return errors.Join(tx.Bucket(bucketMeta).Put(keyEpoch, []byte(newEpoch())), putLogEpoch(tx, newLogEpoch()))
		})
		return errors.Join(err, f.close())
	})
}
