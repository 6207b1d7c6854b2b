package store

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// The library takes the list of free pages as it stands: with a wrong count it reads on
// behind it, and what it reads there it writes over, or it asks for more memory than there
// is. So the list is looked at before anything is written.

const (
	pageFree    = 0x10 // a kind
	metaFree    = 32   // where the page after its header has the number of the list
	metaPages   = 40   // and how many pages are in use or free
	metaChanges = 48   // and the number of the transaction
	manyFree    = 1<<16 - 1
)

// freeList looks at the free pages of a file as of a transaction that has changed nothing.
func freeList(tx *bolt.Tx) error {
	f, err := os.Open(tx.DB().Path())
	if err != nil {
		return err
	}
	defer f.Close()
	id := uint64(tx.ID())
	if tx.Writable() {
		id-- // it is as of the one before
	}
	return freePages(f, int64(tx.DB().Info().PageSize), id)
}

// freePages looks at the list that was written by a transaction.
func freePages(f io.ReaderAt, page int64, id uint64) error {
	read := func(at, n int64) ([]byte, error) {
		b := make([]byte, n)
		_, err := f.ReadAt(b, at)
		return b, err
	}
	meta, err := read(int64(id%2)*page+pageHeader, metaChanges+8)
	if err != nil {
		return err
	}
	number, pages := binary.NativeEndian.Uint64(meta[metaFree:]), binary.NativeEndian.Uint64(meta[metaPages:])
	if number >= pages || binary.NativeEndian.Uint64(meta[metaChanges:]) != id {
		return nil // there is none
	}
	head, err := read(int64(number)*page, pageHeader+8)
	if err != nil {
		return err
	}
	kind, n := header(head)
	begin, count, follow := int64(pageHeader), uint64(n), uint64(binary.NativeEndian.Uint32(head[12:]))
	if count == manyFree {
		begin, count = begin+8, binary.NativeEndian.Uint64(head[pageHeader:])
	}
	if number+follow >= pages || kind != pageFree || count > pages || begin+8*int64(count) > int64(1+follow)*page {
		return fmt.Errorf("%w: page %d: the list of free pages is not one, or not as long as it says", errCorrupt, number)
	}
	list, err := read(int64(number)*page+begin, 8*int64(count))
	if err != nil {
		return err
	}
	for before := uint64(1); len(list) > 0; list = list[8:] { // 0 and 1 are never free
		free := binary.NativeEndian.Uint64(list)
		if free <= before || free >= pages {
			return fmt.Errorf("%w: page %d: %d cannot be in the list of free pages behind %d", errCorrupt, number, free, before)
		}
		before = free
	}
	return nil
}
