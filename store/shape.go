package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// The database's library trusts its pages: a wrong offset in one shows in what is
// read, which is guarded against, or as a fault, which is caught. But a small bucket
// is no page: it stands as a value inside another page, the library copies it to
// the heap, and a wrong offset in the copy makes a pointer to anywhere in the heap,
// over which the runtime ends the process. So the shape of small buckets, and of what
// leads to them, is looked at before the library uses them.
//
// A page is a header (number, kind, count of elements, pages that follow), the
// elements of 16 bytes, and what they point to. The value of a bucket is the number of
// its first page and a counter; if that number is 0 a page follows in the value itself.

const (
	pageHeader  = 16 // number of 8 bytes, kind of 2, count of 2, pages that follow of 4
	pageElement = 16 // in leaves: flags, place from here on, lengths of key and value, of 4 each
	pageBranch  = 1  // kinds
	pageLeaf    = 2
	isBucket    = 1 // flag of an element
	bucketHead  = 16
	mostPages   = 256 // that are read at once
	deepest     = 32
)

// shape looks at the buckets of a database, and notes what would make them sound.
type shape struct {
	file  io.ReaderAt
	page  int64 // size, bytes
	mends []mend
}

// mend is bytes to write over some of a file.
type mend struct {
	where string
	at    int64
	bytes []byte
}

// shapeOf looks at the file at path, which is open as db.
func shapeOf(db *bolt.DB, path string) (*shape, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &shape{file: f, page: int64(db.Info().PageSize)}
	err = db.View(func(tx *bolt.Tx) error {
		s.tree(uint64(tx.Cursor().Bucket().Root()), "", 0)
		return nil
	})
	return s, err
}

// mendShape makes the small buckets of a file sound that was set aside: what cannot
// be reached in them repeats its neighbour. The file is not to be open.
func mendShape(path string) error {
	db, err := openBolt(path, bolt.Options{ReadOnly: true, Timeout: lockWait})
	if err != nil {
		return err
	}
	s, err := shapeOf(db, path)
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err != nil || len(s.mends) == 0 {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, m := range s.mends {
		if _, err := f.WriteAt(m.bytes, m.at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// err says what is wrong first, nil if nothing is.
func (s *shape) err() error {
	if len(s.mends) == 0 {
		return nil
	}
	return fmt.Errorf("%w: the bucket at byte %d, in %q", errCorrupt, s.mends[0].at, s.mends[0].where)
}

// read returns a page with those that follow it, nil if it is none: the library
// sees that as well.
func (s *shape) read(number uint64) []byte {
	head := make([]byte, pageHeader)
	at := int64(number) * s.page
	if number > 1<<40 {
		return nil
	}
	if _, err := s.file.ReadAt(head, at); err != nil || binary.NativeEndian.Uint64(head) != number {
		return nil
	}
	follow := binary.NativeEndian.Uint32(head[12:])
	if follow >= mostPages {
		return nil
	}
	b := make([]byte, (1+int64(follow))*s.page)
	if _, err := s.file.ReadAt(b, at); err != nil {
		return nil
	}
	return b
}

// tree looks at the buckets that are values of one, from its first page on.
func (s *shape) tree(number uint64, where string, depth int) {
	b := s.read(number)
	kind, count := header(b)
	switch {
	case depth > deepest:
	case kind == pageLeaf:
		s.leaf(b, count, place{int64(number) * s.page, where, depth})
	case kind == pageBranch && pageHeader+count*pageElement <= len(b):
		for i := range count {
			s.tree(binary.NativeEndian.Uint64(b[pageHeader+i*pageElement+8:]), where, depth+1)
		}
	}
}

// header is what a page is and how many elements it has.
func header(b []byte) (kind uint16, count int) {
	if len(b) < pageHeader {
		return 0, 0
	}
	return binary.NativeEndian.Uint16(b[8:]), int(binary.NativeEndian.Uint16(b[10:]))
}

// place is where in the file something stands, and in which bucket.
type place struct {
	at    int64
	where string
	depth int
}

// leaf looks at the elements of a page. Those that are not sound get a mend.
func (s *shape) leaf(b []byte, count int, p place) {
	sound := make([]bool, count)
	for i := range count {
		e, ok := elementAt(b, count, i)
		if ok && e.flags&isBucket != 0 {
			ok = s.bucket(b[e.value:e.end], place{p.at + e.value, p.where + "/" + string(b[e.key:e.value]), p.depth + 1})
		}
		sound[i] = ok
	}
	s.repeat(b, sound, p)
}

// bucket looks at a value that is a bucket, and reports whether it can be one.
func (s *shape) bucket(v []byte, p place) bool {
	if len(v) < bucketHead {
		return false
	}
	if first := binary.NativeEndian.Uint64(v); first != 0 {
		if s.holdsBuckets(first) {
			s.tree(first, p.where, p.depth)
		}
		return true
	}
	if len(v) < bucketHead+pageHeader {
		return false
	}
	s.small(v[bucketHead:], place{p.at + bucketHead, p.where, p.depth})
	return true
}

// small looks at the page in the value of a small bucket. What its elements point to
// begins right behind them, which says how many there are.
func (s *shape) small(b []byte, p place) {
	kind, count := header(b)
	right := 0
	if len(b) >= pageHeader+pageElement {
		right = int(min(binary.NativeEndian.Uint32(b[pageHeader+4:])/pageElement, 1<<16-1))
	}
	if fits := pageHeader+right*pageElement <= len(b); kind != pageLeaf || count > 0 && (count != right || !fits) {
		if !fits {
			right = 0
		}
		count = right
		fixed := binary.NativeEndian.AppendUint16(nil, pageLeaf)
		s.mends = append(s.mends, mend{p.where, p.at + 8, binary.NativeEndian.AppendUint16(fixed, uint16(count))})
	}
	sound := make([]bool, count)
	for i := range count {
		e, ok := elementAt(b, count, i)
		sound[i] = ok && e.flags&isBucket == 0
	}
	s.repeat(b, sound, p)
}

// element is one of a page: where its key and its value begin, and where that ends.
type element struct {
	flags           uint32
	key, value, end int64
}

// elementAt is the i-th of count elements, and whether it lies within its page.
func elementAt(b []byte, count, i int) (e element, ok bool) {
	at := pageHeader + i*pageElement
	if pageHeader+count*pageElement > len(b) {
		return e, false
	}
	field := func(n int) int64 { return int64(binary.NativeEndian.Uint32(b[at+4*n:])) }
	e.flags = uint32(field(0))
	e.key = int64(at) + field(1)
	e.value = e.key + field(2)
	e.end = e.value + field(3)
	return e, e.key >= int64(pageHeader+count*pageElement) && e.end <= int64(len(b))
}

// repeat lets the elements that are not sound be their neighbours once more; with no
// sound one the page is empty.
func (s *shape) repeat(b []byte, sound []bool, p place) {
	last := slices.Index(sound, true)
	for i, ok := range sound {
		switch {
		case ok:
			last = i
		case last < 0:
			s.mends = append(s.mends, mend{p.where, p.at + 10, []byte{0, 0}})
			return
		default:
			e := bytes.Clone(b[pageHeader+last*pageElement:][:pageElement])
			to := binary.NativeEndian.Uint32(e[4:]) + uint32((last-i)*pageElement)
			binary.NativeEndian.PutUint32(e[4:], to)
			s.mends = append(s.mends, mend{p.where, p.at + int64(pageHeader+i*pageElement), e})
		}
	}
}

// holdsBuckets reports whether the values of a bucket are buckets: its first is.
func (s *shape) holdsBuckets(number uint64) bool {
	for range deepest {
		b := s.read(number)
		switch kind, count := header(b); {
		case count == 0 || len(b) < pageHeader+pageElement:
			return false
		case kind == pageLeaf:
			return binary.NativeEndian.Uint32(b[pageHeader:])&isBucket != 0
		case kind == pageBranch:
			number = binary.NativeEndian.Uint64(b[pageHeader+8:])
		default:
			return false
		}
	}
	return false
}
