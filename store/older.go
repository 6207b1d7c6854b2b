package store

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/octets"
)

// What files of formats 1 and 2 had: blocks of entries in the bucket log, by the
// position of the first, and records of the log's files with such blocks in them.
// Only upgrade.go reads them; nothing writes them any more.

const (
	olderBlockFormat     = 1
	olderEntriesPerBlock = 4096 // at most
)

// olderBlock is what a block says before its entries.
type olderBlock struct {
	count    int
	received int64 // ms, of the first entry
}

// readOlderBlock takes a block apart. The entries share one copy of v.
func readOlderBlock(first Position, v []byte) ([]*Entry, error) {
	if len(v) < 5 || binary.LittleEndian.Uint32(v) != crc32.Checksum(v[4:], castagnoli) || v[4] != olderBlockFormat {
		return nil, errDamaged
	}
	r := olderReader{reader{s: string(v[5:])}}
	count := r.uvarint()
	_, _ = r.uvarint(), r.varint() // bytes of log before it, and the latest receipt
	h := olderBlock{count: int(count), received: r.varint()}
	_ = r.varint() // no record is older
	if r.bad || count > olderEntriesPerBlock || int(count) > len(r.s) {
		return nil, errDamaged
	}
	all := make([]*Entry, h.count)
	prev := h.received
	for i := range all {
		e := &Entry{Pos: first + Position(i)}
		r.entry(e, prev)
		prev = e.Received
		all[i] = e
	}
	if r.bad || len(r.s) != 0 {
		return nil, errDamaged
	}
	return all, nil
}

// olderReader reads entries with their names in full and no short decimals.
type olderReader struct{ reader }

func (r *olderReader) entry(e *Entry, prev int64) {
	e.Kind = Kind(r.byte())
	has := r.byte()
	e.Device = r.text()
	r.about(e, has, prev)
	if has&hasRecords == 0 {
		return
	}
	n := r.uvarint()
	if n > uint64(len(r.s)) { // a record is more than a byte: never allocate for a lie
		r.bad = true
		return
	}
	e.Records = make([]protocol.Record, n)
	for i := range e.Records {
		r.record(&e.Records[i], e.Received)
	}
}

func (r *olderReader) record(rec *protocol.Record, received int64) {
	head := r.byte()
	rec.Name = r.text()
	if head&recordUnit != 0 {
		rec.Unit = r.text()
	}
	rec.Unfit = head&recordUnfit != 0
	rec.Late = head&recordLate != 0
	rec.Absolute = head&recordAbsolute != 0
	rec.Time = received*1e6 + r.varint()
	rec.Value = r.value(protocol.Kind(head & 15))
}

// eachOlderPart takes a record of the log's files apart, in order.
func eachOlderPart(payload []byte, f func(p *part) error) error {
	r := octets.Reader{B: payload}
	for len(r.B) > 0 {
		var p part
		if p.kind = r.Byte(); p.kind == partEntries { // a block
			p.pos = Position(r.Uvarint())
			block := r.Section()
			if r.Bad {
				return errDamaged
			}
			var err error
			if p.entries, err = readOlderBlock(p.pos, block); err != nil {
				return err
			}
		} else {
			readPart(&r, &p)
		}
		if r.Bad || p.kind == partWords {
			return errDamaged
		}
		if err := f(&p); err != nil {
			return err
		}
	}
	return nil
}
