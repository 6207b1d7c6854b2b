package store

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/hearthgate/hearthgate/protocol"
)

// What formats 1 and 2 wrote, to have files of them.

const (
	blockFormat  = 1
	blockBody    = 960
	blockEntries = 4000
)

type blockHeader struct {
	count    int
	offset   uint64
	latest   int64
	received int64
	earliest int64
}

// packer puts entries into blocks.
type packer struct {
	buf    []byte // sealed blocks, one behind the other
	blocks []sealed
	body   []byte // of the open block
	head   blockHeader
	first  Position
	prev   int64 // Received of the entry before
}

type sealed struct {
	first    Position
	from, to int // in buf
}

// reset begins a batch behind offset bytes of log whose latest receipt is latest.
func (p *packer) reset(offset uint64, latest int64) {
	p.buf, p.blocks, p.body = p.buf[:0], p.blocks[:0], p.body[:0]
	p.head = blockHeader{offset: offset, latest: latest}
}

// add puts e, whose position is set, behind the entries before it.
func (p *packer) add(e *Entry) {
	if p.head.count == 0 {
		p.begin(e)
	}
	before := len(p.body)
	p.body = appendEntry(p.body, e, p.prev)
	if p.head.count > 0 && (len(p.body) > blockBody || p.head.count == blockEntries) {
		p.body = p.body[:before]
		p.seal()
		p.begin(e)
		p.body = appendEntry(p.body, e, p.prev)
	}
	p.prev = e.Received
	p.head.count++
	p.head.latest = max(p.head.latest, e.Received)
	p.head.earliest = min(p.head.earliest, earliest(e))
}

func (p *packer) begin(e *Entry) {
	p.first, p.prev = e.Pos, e.Received
	p.head.received, p.head.earliest = e.Received, e.Received
}

// seal ends the open block, if there is one.
func (p *packer) seal() {
	if p.head.count == 0 {
		return
	}
	from := len(p.buf)
	b := append(p.buf, 0, 0, 0, 0, blockFormat)
	b = binary.AppendUvarint(b, uint64(p.head.count))
	b = binary.AppendUvarint(b, p.head.offset)
	b = binary.AppendVarint(b, p.head.latest)
	b = binary.AppendVarint(b, p.head.received)
	b = binary.AppendVarint(b, p.head.earliest)
	b = append(b, p.body...)
	binary.LittleEndian.PutUint32(b[from:], crc32.Checksum(b[from+4:], castagnoli))
	p.buf = b
	p.blocks = append(p.blocks, sealed{p.first, from, len(b)})
	p.head.offset += uint64(len(b) - from)
	p.head.count = 0
	p.body = p.body[:0]
}

func appendEntry(b []byte, e *Entry, prev int64) []byte {
	at := len(b) + 1
	b = append(b, byte(e.Kind), 0)
	b = appendText(b, e.Device)
	b = binary.AppendVarint(b, e.Received-prev)
	var has byte
	if e.Boot != (protocol.Boot{}) {
		has |= hasBoot
		b = append(b, e.Boot[:]...)
	}
	if e.Seq != 0 {
		has |= hasSeq
		b = binary.AppendUvarint(b, e.Seq)
	}
	if e.Command != 0 {
		has |= hasCommand
		b = binary.AppendUvarint(b, e.Command)
	}
	if e.Uncertain {
		has |= isUncertain
	}
	if e.Presence != (PresenceChange{}) {
		has |= hasPresence
		b = appendPresence(b, e.Presence)
	}
	if e.Step != 0 {
		has |= hasStep
		b = binary.AppendVarint(b, e.Step)
	}
	if len(e.Records) > 0 {
		has |= hasRecords
		b = binary.AppendUvarint(b, uint64(len(e.Records)))
		for i := range e.Records {
			b = appendRecord(b, &e.Records[i], e.Received)
		}
	}
	b[at] = has
	return b
}

func appendRecord(b []byte, r *protocol.Record, received int64) []byte {
	head := byte(r.Value.Kind())
	if r.Unit != "" {
		head |= recordUnit
	}
	if r.Unfit {
		head |= recordUnfit
	}
	if r.Late {
		head |= recordLate
	}
	if r.Absolute {
		head |= recordAbsolute
	}
	b = append(b, head)
	b = appendText(b, r.Name)
	if r.Unit != "" {
		b = appendText(b, r.Unit)
	}
	b = binary.AppendVarint(b, r.Time-received*1e6)
	return appendValue(b, r.Value)
}
