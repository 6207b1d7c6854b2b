// Package octets takes apart and puts together the bytes and bits that the formats of
// the store share.
package octets

import "encoding/binary"

// Reader takes bytes apart, which it shares and does not copy. Once something is wrong
// it is Bad, has no bytes left and reads zeros, so that a caller may ask once, at the
// end; it never panics.
type Reader struct {
	B   []byte // what is left
	Bad bool
}

// Take is the next n bytes, none if there are fewer.
func (r *Reader) Take(n uint64) []byte {
	if n > uint64(len(r.B)) {
		r.Bad, r.B = true, nil
		return nil
	}
	t := r.B[:n:n]
	r.B = r.B[n:]
	return t
}

// Byte is the next one.
func (r *Reader) Byte() byte {
	if t := r.Take(1); t != nil {
		return t[0]
	}
	return 0
}

// Uvarint is the next number, as encoding/binary writes it.
func (r *Reader) Uvarint() uint64 {
	x, n := binary.Uvarint(r.B)
	if n <= 0 {
		r.Bad, r.B = true, nil
		return 0
	}
	r.B = r.B[n:]
	return x
}

// Varint is the next number with a sign.
func (r *Reader) Varint() int64 {
	x := r.Uvarint()
	return int64(x>>1) ^ -int64(x&1)
}

// Section is bytes that say their length.
func (r *Reader) Section() []byte { return r.Take(r.Uvarint()) }
