package protocol

import (
	"math"
	"strconv"

	"github.com/hearthgate/hearthgate/internal/cbor"
)

// fields is the body of a frame with the places of its keys. Its methods read
// one key each; an absent one gives the default. The first thing that is wrong
// stays in bad, and what is read after it is worth nothing, so a frame is read
// in one go and bad looked at in the end.
type fields struct {
	b      []byte
	typ    Type
	limits Limits
	body   int     // where the body map begins
	at     [15]int // where the value of each key begins, 0 = absent
	bad    *Refusal
}

func number[T int | uint64](n T) string { return strconv.FormatUint(uint64(n), 10) }

// key names a key of the frame as PROTOCOL.md does: hello.1.
func (f *fields) key(k int) string { return f.typ.String() + "." + number(k) }

func (f *fields) fail(code ErrorCode, why string) {
	if f.bad == nil {
		f.bad = &Refusal{Code: code, Message: why}
	}
}

func (f *fields) has(k int) bool { return f.at[k] != 0 }

func (f *fields) reader(k int) cbor.Reader { return cbor.NewReader(f.b, f.at[k]) }

// need refuses a frame that lacks one of the keys.
func (f *fields) need(keys ...int) {
	for _, k := range keys {
		if !f.has(k) {
			f.fail(Malformed, f.key(k)+" is missing")
		}
	}
}

func (f *fields) uint(k int, absent uint64) uint64 {
	if !f.has(k) {
		return absent
	}
	r := f.reader(k)
	u, err := r.Uint()
	if err != nil {
		f.fail(Malformed, f.key(k)+" is not an unsigned integer")
	}
	return u
}

// between reads a required number that has bounds.
func (f *fields) between(k int, low, high uint64) uint64 {
	f.need(k)
	u := f.uint(k, low)
	if u < low || u > high {
		f.fail(Malformed, f.key(k)+" is out of range")
	}
	return u
}

// time reads ms since 1970.
func (f *fields) time(k int) int64 {
	u := f.uint(k, 0)
	if u > math.MaxInt64 {
		f.fail(Malformed, f.key(k)+" is out of range")
	}
	return int64(u)
}

func (f *fields) text(k int) string {
	if !f.has(k) {
		return ""
	}
	r := f.reader(k)
	return f.readText(&r, k)
}

func (f *fields) readText(r *cbor.Reader, k int) string {
	s, err := r.Text()
	if err != nil {
		f.fail(Malformed, f.key(k)+" is not a text")
	}
	if len(s) > f.limits.Text {
		f.fail(TooLarge, f.key(k)+" has "+number(len(s))+" bytes, at most "+number(f.limits.Text))
		return ""
	}
	return string(s)
}

func (f *fields) bool(k int) bool {
	if !f.has(k) {
		return false
	}
	r := f.reader(k)
	v, err := readValue(&r)
	if err != nil || !v.IsBool() {
		f.fail(Malformed, f.key(k)+" is not a bool")
	}
	return v.AsBool()
}

// bytes reads a copy of a byte string, nil if it is absent.
func (f *fields) bytes(k int) []byte {
	if !f.has(k) {
		return nil
	}
	r := f.reader(k)
	s, err := r.Bytes()
	if err != nil {
		f.fail(Malformed, f.key(k)+" is not a byte string")
	}
	return append([]byte{}, s...)
}

// nonce reads a byte string of that length, nil if it is absent.
func (f *fields) nonce(k, length int) []byte {
	s := f.bytes(k)
	if s != nil && len(s) != length {
		f.fail(Malformed, f.key(k)+" has not "+number(length)+" bytes")
	}
	return s
}

// eight reads a byte string of 8 bytes, nil if it is absent.
func (f *fields) eight(k int) *[8]byte {
	if !f.has(k) {
		return nil
	}
	r := f.reader(k)
	return f.readEight(&r, k)
}

func (f *fields) readEight(r *cbor.Reader, k int) *[8]byte {
	s, err := r.Bytes()
	if err != nil || len(s) != 8 {
		f.fail(Malformed, f.key(k)+" is not a string of 8 bytes")
		return new([8]byte)
	}
	return (*[8]byte)(append([]byte{}, s...))
}

func (f *fields) boot(k int) *Boot { return (*Boot)(f.eight(k)) }

func (f *fields) hash(k int) *Hash { return (*Hash)(f.eight(k)) }

// list goes through an array, of at most that many items.
func (f *fields) list(k, most int, each func(r *cbor.Reader)) {
	if !f.has(k) {
		return
	}
	r := f.reader(k)
	n, err := r.Array()
	if err != nil {
		f.fail(Malformed, f.key(k)+" is not an array")
	}
	if n > most {
		f.fail(Malformed, f.key(k)+" has more than "+number(most)+" entries")
	}
	for i := 0; i < n && f.bad == nil; i++ {
		each(&r)
	}
}
