package store

import (
	"encoding/binary"

	"github.com/hearthgate/hearthgate/protocol"
)

// A commit is one record of the log's files (package segment): entries, changes
// to tables, cursors, and what else must survive of the batch. FORMAT.md draws
// it.

// Parts of a record.
const (
	partBlock     = 1 + iota // a block of entries
	partRow                  // of a table
	partNoRow                // one that was deleted
	partCursor               // of a reader
	partNoCursor             // one that was removed
	partBoots                // of a device, as a hello named them
	partForgotten            // a device
)

// A forgotten device, in the order of the batch.
type forgotten struct {
	device string
	blocks int // of the batch that come before it
}

// bootsWrite is which boots a device has, the most recently named first.
type bootsWrite struct {
	device string
	boots  []boot
}

// appendBatch encodes the batch in hand.
func (c *committer) appendBatch(b []byte) []byte {
	rest := c.batch.forgotten
	for i, bl := range c.pack.blocks {
		for ; len(rest) > 0 && rest[0].blocks <= i; rest = rest[1:] {
			b = appendText(append(b, partForgotten), rest[0].device)
		}
		b = binary.AppendUvarint(append(b, partBlock), uint64(bl.first))
		b = binary.AppendUvarint(b, uint64(bl.to-bl.from))
		b = append(b, c.pack.buf[bl.from:bl.to]...)
	}
	for _, f := range rest {
		b = appendText(append(b, partForgotten), f.device)
	}
	for i := range c.batch.items {
		it := &c.batch.items[i]
		switch {
		case it.table == nil:
		case it.value == nil:
			b = appendText(appendText(append(b, partNoRow), it.table.name), it.key)
		default:
			b = appendText(appendText(append(b, partRow), it.table.name), it.key)
			b = append(binary.AppendUvarint(b, uint64(len(it.value))), it.value...)
		}
	}
	for _, w := range c.batch.cursors {
		if w.remove {
			b = appendText(append(b, partNoCursor), w.name)
		} else {
			b = binary.AppendUvarint(appendText(append(b, partCursor), w.name), uint64(w.pos))
		}
	}
	for _, w := range c.batch.boots {
		b = binary.AppendUvarint(appendText(append(b, partBoots), w.device), uint64(len(w.boots)))
		for _, bt := range w.boots {
			b = binary.AppendUvarint(append(b, bt.id[:]...), bt.staged)
		}
	}
	return b
}

// A part of a record. Which fields are set depends on its kind.
type part struct {
	kind  byte
	name  string // of a table, a reader or a device
	key   string
	value []byte // of a row, or the block; shared with the record
	pos   Position
	boots []boot
}

// eachPart takes a record apart, in order.
func eachPart(payload []byte, f func(p *part) error) error {
	for len(payload) > 0 {
		p, n, ok := readPart(payload)
		if !ok {
			return errDamaged
		}
		if err := f(&p); err != nil {
			return err
		}
		payload = payload[n:]
	}
	return nil
}

// readPart reads the part at the beginning of b, which has n bytes.
func readPart(b []byte) (p part, n int, ok bool) {
	r := byteReader{b: b}
	p.kind = r.byte()
	switch p.kind {
	case partBlock:
		p.pos = Position(r.uvarint())
		p.value = r.bytes()
	case partRow:
		p.name, p.key = string(r.bytes()), string(r.bytes())
		p.value = r.bytes()
	case partNoRow:
		p.name, p.key = string(r.bytes()), string(r.bytes())
	case partCursor:
		p.name = string(r.bytes())
		p.pos = Position(r.uvarint())
	case partNoCursor, partForgotten:
		p.name = string(r.bytes())
	case partBoots:
		p.name = string(r.bytes())
		for n := r.uvarint(); n > 0 && !r.bad; n-- {
			bt := boot{}
			copy(bt.id[:], r.take(uint64(len(protocol.Boot{}))))
			bt.last = r.uvarint()
			bt.durable, bt.staged = bt.last, bt.last
			p.boots = append(p.boots, bt)
		}
		r.bad = r.bad || len(p.boots) > bootsRemembered
	default:
		r.bad = true
	}
	return p, len(b) - len(r.b), !r.bad
}

// byteReader is reader for bytes that are shared, not copied. Once something is
// wrong it is bad and reads zeros.
type byteReader struct {
	b   []byte
	bad bool
}

func (r *byteReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	t := r.b[:n:n]
	r.b = r.b[n:]
	return t
}

func (r *byteReader) byte() byte {
	if t := r.take(1); t != nil {
		return t[0]
	}
	return 0
}

func (r *byteReader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *byteReader) bytes() []byte { return r.take(r.uvarint()) }
