// Package cbor reads and writes single CBOR data items (RFC 8949) where they
// lie, without reflection and without memory of its own.
//
// It is for code that walks a message by hand, such as the protocol's decoder.
// Only what the protocol allows exists here: definite lengths and no tags. A
// reader never runs past its bytes, whatever they are.
package cbor

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// Major is the major type of a data item (RFC 8949 §3.1).
type Major uint8

// Major types. Simple holds bools, null and floats.
const (
	Uint   Major = 0
	Neg    Major = 1
	Bytes  Major = 2
	Text   Major = 3
	Array  Major = 4
	Map    Major = 5
	Tag    Major = 6
	Simple Major = 7
)

var majorNames = [8]string{
	"an unsigned integer", "a negative integer", "a byte string", "a text",
	"an array", "a map", "a tag", "a simple value or float",
}

// String names the type as a phrase that fits into an error message.
func (m Major) String() string { return majorNames[m&7] }

// What can be wrong with the bytes.
var (
	ErrTruncated = errors.New("cbor: the item ends before its length")
	ErrReserved  = errors.New("cbor: reserved or indefinite length")
	ErrUTF8      = errors.New("cbor: text is not UTF-8")
)

// TypeError says that another type of item was there than the one asked for.
type TypeError struct{ Want, Got Major }

func (e *TypeError) Error() string {
	return "cbor: " + e.Got.String() + " where " + e.Want.String() + " was expected"
}

// Head is the beginning of a data item: its type and argument (RFC 8949 §3).
// For a Simple, Info tells what Arg is: a simple value, or the bits of a float.
type Head struct {
	Major Major
	Info  uint8 // 0 to 27
	Arg   uint64
}

// The Info of a Simple head that is a bool or a float (RFC 8949 §3.3).
const (
	InfoFalse   = 20
	InfoTrue    = 21
	InfoFloat16 = 25
	InfoFloat32 = 26
	InfoFloat64 = 27
)

// Reader is a place in a message. It is a small value: copy it to come back.
type Reader struct {
	b   []byte
	off int
}

// NewReader reads b from offset on.
func NewReader(b []byte, offset int) Reader { return Reader{b, offset} }

// Offset is where the next item begins.
func (r *Reader) Offset() int { return r.off }

// Done reports whether everything has been read.
func (r *Reader) Done() bool { return r.off >= len(r.b) }

// Peek is the type of the next item. At the end it is Simple.
func (r *Reader) Peek() Major {
	if r.Done() {
		return Simple
	}
	return Major(r.b[r.off] >> 5)
}

// Head reads the beginning of the next item. The content of a string and the
// items of an array or map come after it.
func (r *Reader) Head() (Head, error) {
	if r.Done() {
		return Head{}, ErrTruncated
	}
	first := r.b[r.off]
	h := Head{Major: Major(first >> 5), Info: first & 0x1f}
	rest := r.b[r.off+1:]
	switch {
	case h.Info < 24:
		h.Arg = uint64(h.Info)
		r.off++
		return h, nil
	case h.Info > 27:
		return Head{}, ErrReserved
	}
	size := 1 << (h.Info - 24)
	if len(rest) < size {
		return Head{}, ErrTruncated
	}
	switch size {
	case 1:
		h.Arg = uint64(rest[0])
	case 2:
		h.Arg = uint64(binary.BigEndian.Uint16(rest))
	case 4:
		h.Arg = uint64(binary.BigEndian.Uint32(rest))
	case 8:
		h.Arg = binary.BigEndian.Uint64(rest)
	}
	r.off += 1 + size
	return h, nil
}

// take reads a head of the wanted type; of another type nothing is read.
func (r *Reader) take(want Major) (uint64, error) {
	if r.Done() {
		return 0, ErrTruncated
	}
	if got := r.Peek(); got != want {
		return 0, &TypeError{want, got}
	}
	h, err := r.Head()
	return h.Arg, err
}

// Uint reads an unsigned integer.
func (r *Reader) Uint() (uint64, error) { return r.take(Uint) }

// Bytes reads a byte string. It is part of the message, not a copy.
func (r *Reader) Bytes() ([]byte, error) {
	n, err := r.take(Bytes)
	if err != nil {
		return nil, err
	}
	return r.content(n)
}

// Text reads a text, which must be UTF-8. It is part of the message, not a copy.
func (r *Reader) Text() ([]byte, error) {
	n, err := r.take(Text)
	if err != nil {
		return nil, err
	}
	s, err := r.content(n)
	if err == nil && !utf8.Valid(s) {
		return nil, ErrUTF8
	}
	return s, err
}

func (r *Reader) content(n uint64) ([]byte, error) {
	if n > uint64(len(r.b)-r.off) {
		return nil, ErrTruncated
	}
	s := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return s, nil
}

// Array reads the head of an array: how many items follow. Each takes a byte at
// least, so the number never exceeds what is left of the message.
func (r *Reader) Array() (int, error) {
	n, err := r.take(Array)
	return r.count(n, 1, err)
}

// Map reads the head of a map: how many pairs follow.
func (r *Reader) Map() (int, error) {
	n, err := r.take(Map)
	return r.count(n, 2, err)
}

func (r *Reader) count(n uint64, bytesEach int, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	if n > uint64((len(r.b)-r.off)/bytesEach) {
		return 0, ErrTruncated
	}
	return int(n), nil
}

// Skip passes over one item with all that is in it. Texts in it must be UTF-8.
// It goes through the items in a row, so nesting costs no stack.
func (r *Reader) Skip() error {
	for pending := 1; pending > 0; pending-- {
		h, err := r.Head()
		if err != nil {
			return err
		}
		switch h.Major {
		case Bytes, Text:
			s, err := r.content(h.Arg)
			if err != nil {
				return err
			}
			if h.Major == Text && !utf8.Valid(s) {
				return ErrUTF8
			}
		case Array, Map:
			each := 1
			if h.Major == Map {
				each = 2
			}
			n, err := r.count(h.Arg, each, nil)
			if err != nil {
				return err
			}
			pending += n * each
		case Tag:
			pending++
		}
	}
	return nil
}
