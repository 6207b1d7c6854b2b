package store

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// The library's check walks through the pages of a file in a goroutine of its own, where
// nobody catches a fault: a page that lies nowhere, or has itself among those below it,
// would end the process. So the way to all pages is looked at before.

// tree is the pages of a file.
type tree struct {
	file io.ReaderAt
	size int64 // of the file
	page int64 // of a page
	seen map[uint64]bool
}

// walkable says what would keep one from walking through the file of a transaction.
func walkable(tx *bolt.Tx) error {
	if err := freeList(tx); err != nil {
		return err
	}
	f, err := os.Open(tx.DB().Path())
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	t := &tree{file: f, size: info.Size(), page: int64(tx.DB().Info().PageSize), seen: map[uint64]bool{}}
	return t.walk(uint64(tx.Cursor().Bucket().Root()), true)
}

// walk goes through a page and what is below it. Pages that have nothing below them and
// are no bucket's first need not be remembered: no way leads in circles through them.
func (t *tree) walk(number uint64, first bool) error {
	kind, at, elements, end, err := t.read(number)
	if err != nil {
		return err
	}
	if first || kind == pageBranch {
		if t.seen[number] {
			return fmt.Errorf("page %d is in two places", number)
		}
		t.seen[number] = true
	}
	for i := 0; i < len(elements); i += pageElement {
		e := elements[i:][:pageElement]
		here := int64(pageHeader + i)
		if kind == pageBranch {
			if here+field(e, 0)+field(e, 1) > end {
				return fmt.Errorf("page %d: a key lies outside", number)
			}
			err = t.walk(binary.NativeEndian.Uint64(e[8:]), false)
		} else if value := here + field(e, 1) + field(e, 2); value+field(e, 3) > end {
			return fmt.Errorf("page %d: a value lies outside", number)
		} else if field(e, 0)&isBucket != 0 {
			err = t.bucket(at + value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket goes through the pages of a bucket that is the value at a place in the file, if
// it has any.
func (t *tree) bucket(at int64) error {
	first := make([]byte, 8)
	if _, err := t.file.ReadAt(first, at); err != nil {
		return fmt.Errorf("byte %d: %w", at, err)
	}
	if number := binary.NativeEndian.Uint64(first); number != 0 {
		return t.walk(number, true)
	}
	return nil
}

// field is the n-th of an element.
func field(e []byte, n int) int64 { return int64(binary.NativeEndian.Uint32(e[4*n:])) }

// read is what a page is, where it begins in the file, its elements, and its length.
func (t *tree) read(number uint64) (kind uint16, at int64, elements []byte, end int64, err error) {
	fail := func(what string) (uint16, int64, []byte, int64, error) {
		return 0, 0, nil, 0, fmt.Errorf("page %d %s", number, what)
	}
	if number >= uint64(t.size/t.page) {
		return fail("is not in the file")
	}
	at = int64(number) * t.page
	head := make([]byte, pageHeader)
	if _, err := t.file.ReadAt(head, at); err != nil {
		return fail(err.Error())
	}
	end = (1 + int64(binary.NativeEndian.Uint32(head[12:]))) * t.page
	kind, count := header(head)
	switch {
	case binary.NativeEndian.Uint64(head) != number:
		return fail("says that it is another")
	case kind != pageBranch && kind != pageLeaf:
		return fail(fmt.Sprintf("is of kind %d", kind))
	case at+end > t.size || pageHeader+int64(count)*pageElement > end:
		return fail("is longer than it can be")
	}
	elements = make([]byte, count*pageElement)
	if _, err := t.file.ReadAt(elements, at+pageHeader); err != nil {
		return fail(err.Error())
	}
	return kind, at, elements, end, nil
}

// pages looks at the structure of a file.
func (w *walk) pages(tx *bolt.Tx) {
	if err := walkable(tx); err != nil {
		w.found("%s: %v", tx.DB().Path(), err)
		return
	}
	for err := range tx.Check() {
		w.found("%s: %v", tx.DB().Path(), err)
	}
}
