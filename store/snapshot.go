package store

import (
	"context"
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
	write func(*Copy) error
	begun atomic.Bool // or given up by who asked
	done  chan error
}

// Snapshot calls write, from another goroutine, with a copy of everything that was
// committed before the call: a store of its own. The copy comes at the pace of
// write, while sealing waits, so write must go to a local file.
func (s *Store) Snapshot(ctx context.Context, write func(*Copy) error) error {
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
		return n.write(&Copy{s, tx, n.ctx})
	})
	if err != nil && n.ctx.Err() != nil {
		return n.ctx.Err() // the library does not wrap it
	}
	return err
}

// A Copy is of everything that was committed at a moment: the database, and then
// what the log has for readers. It is valid in the call that it is handed to.
type Copy struct {
	s   *Store
	tx  *bolt.Tx
	ctx context.Context
}

// Size of the database.
func (c *Copy) Size() int64 { return c.tx.Size() }

// WriteTo writes the database.
func (c *Copy) WriteTo(w io.Writer) (int64, error) {
	return c.tx.WriteTo(writer(func(b []byte) (int, error) {
		if err := c.wanted(); err != nil {
			return 0, err
		}
		return w.Write(b)
	}))
}

// wanted says whether somebody still waits for it.
func (c *Copy) wanted() error {
	select {
	case <-c.s.done:
		return ErrClosed
	default:
		return c.ctx.Err()
	}
}

type writer func(b []byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
