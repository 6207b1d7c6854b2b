package store

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// Blocks lie in the bucket "log" by the position of their first entry, so that
// finding an entry is one seek, and a gap is where keys leave one.

func blockKey(p Position) []byte { return binary.BigEndian.AppendUint64(nil, uint64(p)) }

// keyBlock is the position in a key, or in the value of a cursor.
func keyBlock(k []byte) Position {
	if len(k) != 8 {
		return 0
	}
	return Position(binary.BigEndian.Uint64(k))
}

// seekBlock finds the block that holds pos, or the first one behind it.
func seekBlock(c *bolt.Cursor, pos Position) (k, v []byte) {
	k, v = c.Seek(blockKey(pos))
	if k != nil && keyBlock(k) == pos {
		return k, v
	}
	if k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	if k == nil {
		return c.First()
	}
	if h, _, err := unpackHeader(v); err != nil || keyBlock(k)+Position(h.count) <= pos {
		return c.Next()
	}
	return k, v
}

// searchBlock finds the first block after from and up to head for which is
// holds, given that it holds for all behind that one. nil = for none.
func (s *Store) searchBlock(c *bolt.Cursor, from, head Position, is func(blockHeader) bool) (k, v []byte) {
	low, high := uint64(from), uint64(head)+1 // the block begins at low or behind it, and not behind high
	for low < high {
		mid := low + (high-low)/2
		k, v = c.Seek(blockKey(Position(mid)))
		h, _, err := unpackHeader(v)
		for k != nil && err != nil { // a damaged one says nothing: ask the next
			s.blockDamaged(keyBlock(k), err)
			k, v = c.Next()
			h, _, err = unpackHeader(v)
		}
		if k == nil || keyBlock(k) > head || is(h) {
			high = mid
		} else {
			low = uint64(keyBlock(k)) + 1
		}
	}
	return c.Seek(blockKey(Position(low)))
}

// walkBlocks calls f for the blocks from k on that begin at or before head, in
// order, until it says stop. Damaged ones are reported and left out.
func (s *Store) walkBlocks(c *bolt.Cursor, k, v []byte, head Position, f func(at Position, h blockHeader, body []byte) (stop bool)) {
	var end Position // behind the block before
	for ; k != nil; k, v = c.Next() {
		at := keyBlock(k)
		h, body, err := unpackHeader(v)
		switch {
		case err != nil:
			s.blockDamaged(at, err)
		case at > head || at < end: // written since, or a damaged key
		case f(at, h, body):
			return
		default:
			end = at + Position(h.count)
		}
	}
}

// stepOver is how far a reader goes on behind a place where the file's structure
// is damaged: less than a page holds, so that little is missed.
const stepOver = 64

// blockDamaged counts and reports a block, once.
func (s *Store) blockDamaged(at Position, err error) {
	if _, again := s.badBlocks.LoadOrStore(at, true); !again {
		s.file.damage("a block of the log", err)
	}
}
