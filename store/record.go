package store

import (
	"encoding/binary"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/octets"
)

// A commit is one record of the log: entries, changes to tables, cursors, and
// what else must survive of the batch. FORMAT.md draws it.

// recordFormat is the first byte of a record. Those of file formats 1 and 2
// begin with the kind of a part.
const recordFormat = 0x10

// Parts of a record.
const (
	partEntries   = 1 + iota // the next ones
	partRow                  // of a table
	partNoRow                // one that was deleted
	partCursor               // of a reader
	partNoCursor             // one that was removed
	partBoots                // of a device, as a hello named them
	partForgotten            // a device
	partWords                // that are defined
)

// A forgotten device, in the order of the batch.
type forgotten struct {
	device string
	at     int // bytes of entries that come before it
}

// bootsWrite is which boots a device has, the most recently named first.
type bootsWrite struct {
	device string
	boots  []boot
}

// appendBatch encodes the batch in hand.
func (c *committer) appendBatch(b []byte) []byte {
	b = append(b, recordBegin(c.next, c.words.edition, c.batch.received)...)
	if defined := c.words.inOrder; len(defined) > 0 {
		b = binary.AppendUvarint(append(b, partWords), uint64(c.words.next))
		b = binary.AppendUvarint(b, uint64(len(defined)))
		for _, text := range defined {
			b = appendText(b, text)
		}
	}
	from := 0
	for _, f := range c.batch.forgotten {
		b = appendEntries(b, c.entries.b[from:f.at])
		b = appendText(append(b, partForgotten), f.device)
		from = f.at
	}
	b = appendEntries(b, c.entries.b[from:])
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

// recordBegin is what a record begins with: the position of its first entry or of
// the next one, the edition of its words, and a receipt to count from.
func recordBegin(next Position, edition uint64, received int64) []byte {
	b := binary.AppendUvarint([]byte{recordFormat}, uint64(next))
	return binary.AppendVarint(binary.AppendUvarint(b, edition), received)
}

func appendEntries(b, entries []byte) []byte {
	if len(entries) == 0 {
		return b
	}
	return append(binary.AppendUvarint(append(b, partEntries), uint64(len(entries))), entries...)
}

// A part of a record. Which fields are set depends on its kind.
type part struct {
	kind    byte
	name    string // of a table, a reader or a device
	key     string
	value   []byte // of a row; shared with the record
	pos     Position
	boots   []boot
	entries []*Entry

	edition uint64 // of words
	number  uint32 // of the first
	texts   []string
}

// recordReader takes a record apart.
type recordReader struct {
	only    string                // device whose entries are wanted, "" = all
	mean    func(uint64) []string // the words of an edition
	missing int                   // words that were not known

	pos     Position // of the first entry, or the next one
	end     Position // behind the last
	edition uint64   // of its words
}

// position is that of the first entry of a record, or of the next one.
func position(payload []byte) (Position, bool) {
	if len(payload) == 0 || payload[0] != recordFormat {
		return 0, false
	}
	pos, n := binary.Uvarint(payload[1:])
	return Position(pos), n > 0 && pos > 0
}

// each calls f for the parts, in order. Entries of several parts follow each
// other.
func (rr *recordReader) each(payload []byte, f func(p *part) error) error {
	r := octets.Reader{B: payload}
	if r.Byte() != recordFormat {
		return errDamaged
	}
	rr.pos = Position(r.Uvarint())
	rr.edition = r.Uvarint()
	received := r.Varint()
	rr.end = rr.pos
	if r.Bad || rr.pos == 0 {
		return errDamaged
	}
	for len(r.B) > 0 {
		p := part{edition: rr.edition}
		if p.kind = r.Byte(); p.kind == partEntries {
			er := entryReader{reader: reader{s: string(r.Section())}, texts: rr.mean(rr.edition), only: rr.only}
			p.entries, rr.end, received = er.entries(rr.end, received)
			rr.missing += er.missing
			r.Bad = r.Bad || er.bad
		} else {
			readPart(&r, &p)
		}
		if r.Bad {
			return errDamaged
		}
		if err := f(&p); err != nil {
			return err
		}
	}
	return nil
}

// part reads what follows its kind, entries aside.
func readPart(r *octets.Reader, p *part) {
	switch p.kind {
	case partRow:
		p.name, p.key = string(r.Section()), string(r.Section())
		p.value = r.Section()
	case partNoRow:
		p.name, p.key = string(r.Section()), string(r.Section())
	case partCursor:
		p.name = string(r.Section())
		p.pos = Position(r.Uvarint())
	case partNoCursor, partForgotten:
		p.name = string(r.Section())
	case partBoots:
		p.name = string(r.Section())
		for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
			bt := boot{}
			copy(bt.id[:], r.Take(uint64(len(protocol.Boot{}))))
			bt.last = r.Uvarint()
			bt.durable, bt.staged = bt.last, bt.last
			p.boots = append(p.boots, bt)
		}
		r.Bad = r.Bad || len(p.boots) > bootsRemembered
	case partWords:
		first, n := r.Uvarint(), r.Uvarint()
		if r.Bad = r.Bad || first+n > mostWords || n > mostWords; r.Bad {
			return
		}
		p.number = uint32(first)
		for ; n > 0 && !r.Bad; n-- {
			p.texts = append(p.texts, string(r.Section()))
		}
	default:
		r.Bad = true
	}
}
