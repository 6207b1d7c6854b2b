package rollup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/octets"
)

// Series is the rows of one series, in order.
type Series struct {
	Name string
	Rows []Row
}

const (
	// version is the first byte of packed rows. Those made before there was one are
	// a chunk, whose first byte is less.
	version   = 0x81
	sumLength = 4

	// What a damaged value can make a reader allocate.
	maxRows   = 1 << 17 // of a series
	maxSeries = 1 << 12
	maxName   = 1 << 10
)

var (
	errOrder   = errors.New("rollup: the rows of a series are not in order")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Column is the packed rows of one series.
type Column struct {
	Name   string
	Rows   int
	packed []byte
}

// Pack packs the rows of a series. span is theirs.
func Pack(s Series, span time.Duration) (Column, error) {
	if len(s.Rows) > maxRows || len(s.Name) > maxName {
		return Column{}, chunk.ErrTooLarge
	}
	for i := range s.Rows {
		if i > 0 && s.Rows[i].Start <= s.Rows[i-1].Start {
			return Column{}, fmt.Errorf("%w: %s", errOrder, s.Name)
		}
	}
	packed, err := packColumn(s.Rows, span)
	return Column{s.Name, len(s.Rows), packed}, err
}

// Unpack gives the rows back.
func (c Column) Unpack(span time.Duration) ([]Row, error) {
	return unpackColumn(c.packed, c.Rows, span)
}

// Join makes one value of columns, as a rule those of a device in a month.
func Join(columns []Column) ([]byte, error) {
	if len(columns) > maxSeries {
		return nil, chunk.ErrTooLarge
	}
	b := binary.AppendUvarint([]byte{version}, uint64(len(columns)))
	before := ""
	for _, c := range columns {
		shared := 0
		for shared < min(len(before), len(c.Name)) && before[shared] == c.Name[shared] {
			shared++
		}
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(c.Name)-shared))
		b = append(b, c.Name[shared:]...)
		b = binary.AppendUvarint(b, uint64(c.Rows))
		b = binary.AppendUvarint(b, uint64(len(c.packed)))
		before = c.Name
	}
	for _, c := range columns {
		b = append(b, c.packed...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// Open checks a value and cuts its columns apart, which keep its bytes. span is
// that of its rows.
func Open(b []byte, span time.Duration) ([]Column, error) {
	if isChunk(b) {
		return openChunk(b, span)
	}
	body, ok := checked(b)
	if !ok {
		return nil, chunk.ErrDamaged
	}
	if body[0] > version {
		return nil, fmt.Errorf("%w (version %d)", chunk.ErrNewer, body[0])
	}
	r := octets.Reader{B: body[1:]}
	columns := readColumns(&r)
	if body[0] != version || r.Bad || len(r.B) > 0 {
		return nil, chunk.ErrDamaged
	}
	return columns, nil
}

// readColumns reads what is behind the version.
func readColumns(r *octets.Reader) []Column {
	n := r.Uvarint()
	if n > maxSeries || n > uint64(len(r.B)) {
		r.Bad = true
		return nil
	}
	all, lengths := make([]Column, n), make([]uint64, n)
	before := ""
	for i := range all {
		shared := r.Uvarint()
		if shared > uint64(len(before)) || len(before) > maxName {
			r.Bad = true
			return nil
		}
		before = before[:shared] + string(r.Take(r.Uvarint()))
		rows := r.Uvarint()
		if rows > maxRows {
			r.Bad = true
			return nil
		}
		all[i], lengths[i] = Column{Name: before, Rows: int(rows)}, r.Uvarint()
	}
	for i := range all {
		all[i].packed = r.Take(lengths[i])
	}
	return all
}

func checked(b []byte) (body []byte, ok bool) {
	if len(b) < 1+sumLength {
		return nil, false
	}
	body = b[:len(b)-sumLength]
	return body, crc32.Checksum(body, castagnoli) == binary.LittleEndian.Uint32(b[len(body):])
}

// UnpackSeries gives back the rows of one series of a value, none for an unknown
// name, without decoding the others.
func UnpackSeries(b []byte, name string, span time.Duration) ([]Row, error) {
	if isChunk(b) {
		c, err := chunk.Open(b)
		if err != nil {
			return nil, err
		}
		return unpackRows(c, name, span)
	}
	columns, err := Open(b, span)
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		if c.Name == name {
			return c.Unpack(span)
		}
	}
	return nil, nil
}

// isChunk tells rows that were packed before there was a version of their own.
func isChunk(b []byte) bool { return len(b) > 0 && b[0] <= chunk.Version }
