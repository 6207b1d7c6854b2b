package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"

	"github.com/hearthgate/hearthgate/protocol"
)

// A block is a run of entries as one value of the file. FORMAT.md draws it; a
// test decodes the examples there.

const (
	blockFormat  = 1
	blockBody    = 960  // bytes of entries: with its header and key four blocks fill a page of 4 KiB
	blockEntries = 4000 // below entriesPerBlock
	// entriesPerBlock is an upper bound that positions may rely on: behind a
	// last block that cannot be read the log goes on this much further.
	entriesPerBlock = 4096
)

// What an entry has, the second byte of its encoding.
const (
	hasBoot = 1 << iota
	hasSeq
	hasRecords
	hasCommand
	isUncertain
	hasPresence
	hasStep
)

// The upper half of a record's first byte; the lower is the kind of its value.
const (
	recordUnit = 1 << (iota + 4)
	recordUnfit
	recordLate
	recordAbsolute
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("checksum or structure is wrong")

// blockHeader is what a block says before its entries.
type blockHeader struct {
	count    int
	offset   uint64 // bytes of all blocks before it
	latest   int64  // ms, the latest Received up to and with this block: never falls
	received int64  // ms, of the first entry
	earliest int64  // ms, no record in it is older
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

// earliest is the oldest time of an entry's records in ms, rounded down.
func earliest(e *Entry) int64 {
	t := e.Received
	for i := range e.Records {
		t = min(t, floorDiv(e.Records[i].Time, 1e6))
	}
	return t
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
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

func appendPresence(b []byte, p PresenceChange) []byte {
	b = appendText(b, string(p.State))
	b = binary.AppendVarint(b, p.Since)
	b = appendText(b, p.Cause)
	return binary.AppendVarint(b, p.NextWake)
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

func appendValue(b []byte, v protocol.Value) []byte {
	switch v.Kind() {
	case protocol.None:
		return b
	case protocol.Str:
		return appendText(b, v.AsText())
	case protocol.Float16:
		return binary.LittleEndian.AppendUint16(b, uint16(v.Bits()))
	case protocol.Float32:
		return binary.LittleEndian.AppendUint32(b, uint32(v.Bits()))
	case protocol.Float64:
		return binary.LittleEndian.AppendUint64(b, v.Bits())
	}
	return binary.AppendUvarint(b, v.Bits())
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// unpack reads a block. The entries share one copy of v.
func unpack(first Position, v []byte) ([]*Entry, error) {
	h, body, err := unpackHeader(v)
	if err != nil {
		return nil, err
	}
	return unpackBody(first, h, body)
}

func unpackBody(first Position, h blockHeader, body []byte) ([]*Entry, error) {
	r := reader{s: string(body)}
	all := make([]Entry, h.count)
	out := make([]*Entry, h.count)
	prev := h.received
	for i := range all {
		e := &all[i]
		e.Pos = first + Position(i)
		r.entry(e, prev)
		prev = e.Received
		out[i] = e
	}
	if r.bad || len(r.s) != 0 {
		return nil, errDamaged
	}
	return out, nil
}

// unpackHeader checks a block and reads what stands before its entries.
func unpackHeader(v []byte) (h blockHeader, body []byte, err error) {
	if len(v) < 5 || binary.LittleEndian.Uint32(v) != crc32.Checksum(v[4:], castagnoli) || v[4] != blockFormat {
		return h, nil, errDamaged
	}
	const fields = 5 * binary.MaxVarintLen64
	r := reader{s: string(v[5:min(len(v), 5+fields)])}
	before := len(r.s)
	count := r.uvarint()
	h = blockHeader{count: int(count), offset: r.uvarint(), latest: r.varint(), received: r.varint(), earliest: r.varint()}
	body = v[5+before-len(r.s):]
	if r.bad || count > entriesPerBlock || int(count) > len(body) {
		return h, nil, errDamaged
	}
	return h, body, nil
}

// reader takes a block's body apart. Once something is wrong it is bad and
// reads zeros; it never panics.
type reader struct {
	s   string
	bad bool
}

func (r *reader) entry(e *Entry, prev int64) {
	e.Kind = Kind(r.byte())
	has := r.byte()
	e.Device = r.text()
	e.Received = prev + r.varint()
	if has&hasBoot != 0 {
		copy(e.Boot[:], r.take(len(e.Boot)))
	}
	if has&hasSeq != 0 {
		e.Seq = r.uvarint()
	}
	if has&hasCommand != 0 {
		e.Command = r.uvarint()
	}
	e.Uncertain = has&isUncertain != 0
	if has&hasPresence != 0 {
		e.Presence = r.presence()
	}
	if has&hasStep != 0 {
		e.Step = r.varint()
	}
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

func (r *reader) presence() PresenceChange {
	return PresenceChange{State: PresenceState(r.text()), Since: r.varint(), Cause: r.text(), NextWake: r.varint()}
}

func (r *reader) record(rec *protocol.Record, received int64) {
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

func (r *reader) value(k protocol.Kind) protocol.Value {
	switch k {
	case protocol.None:
		return protocol.Value{}
	case protocol.Str:
		return protocol.Text(r.text())
	case protocol.Float16:
		return protocol.MakeValue(k, r.fixed(2), "")
	case protocol.Float32:
		return protocol.MakeValue(k, r.fixed(4), "")
	case protocol.Float64:
		return protocol.MakeValue(k, r.fixed(8), "")
	case protocol.Boolean, protocol.Uint, protocol.Neg:
		return protocol.MakeValue(k, r.uvarint(), "")
	}
	r.bad = true
	return protocol.Value{}
}

// take is the next n bytes, none if there are fewer.
func (r *reader) take(n int) string {
	if n < 0 || n > len(r.s) {
		r.bad, r.s = true, ""
		return ""
	}
	t := r.s[:n]
	r.s = r.s[n:]
	return t
}

func (r *reader) byte() byte {
	if t := r.take(1); t != "" {
		return t[0]
	}
	return 0
}

func (r *reader) fixed(n int) (bits uint64) {
	t := r.take(n)
	for i := len(t) - 1; i >= 0; i-- {
		bits = bits<<8 | uint64(t[i])
	}
	return bits
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > math.MaxInt32 {
		r.bad = true
		return ""
	}
	return r.take(int(n))
}

func (r *reader) uvarint() (x uint64) {
	for shift := 0; shift < 64; shift += 7 {
		c := r.byte()
		x |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if shift == 63 && c > 1 {
				r.bad = true
			}
			return x
		}
	}
	r.bad = true
	return 0
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}
