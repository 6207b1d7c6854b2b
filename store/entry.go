package store

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
)

// The bytes of entries in the log; FORMAT.md draws them.

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

// Kinds of values besides those of the protocol: floats that are short decimals.
const (
	decimal32 = 8
	decimal64 = 9
)

// entryWriter encodes the entries of a batch.
type entryWriter struct {
	words *words
	b     []byte
	prev  int64 // receipt of the entry before
}

func (w *entryWriter) add(e *Entry) {
	b := append(w.b, byte(e.Kind), 0)
	at := len(b) - 1
	w.b = b
	w.word(e.Device, e.Device)
	b = binary.AppendVarint(w.b, e.Received-w.prev)
	w.prev = e.Received
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
	w.b = b
	if len(e.Records) > 0 {
		has |= hasRecords
		w.records(e)
	}
	w.b[at] = has
}

// records says how many there are and how long they are, so that who looks for
// another device need not look at them.
func (w *entryWriter) records(e *Entry) {
	from := len(w.b)
	before := e.Received * 1e6
	for i := range e.Records {
		w.record(e.Device, &e.Records[i], before)
		before = e.Records[i].Time
	}
	var head [2 * binary.MaxVarintLen64]byte
	h := binary.AppendUvarint(head[:0], uint64(len(e.Records)))
	h = binary.AppendUvarint(h, uint64(len(w.b)-from))
	w.b = slices.Insert(w.b, from, h...)
}

// word says a text that device used, by its number if it has one.
func (w *entryWriter) word(device, text string) {
	if n, ok := w.words.number(device, text); ok {
		w.b = binary.AppendUvarint(w.b, uint64(n)+1)
		return
	}
	w.b = appendText(append(w.b, 0), text)
}

// record says one; its time is the difference to the record before, or to the
// receipt.
func (w *entryWriter) record(device string, r *protocol.Record, before int64) {
	kind, short := shortFloat(r.Value)
	head := kind
	for _, f := range []struct {
		is   bool
		flag byte
	}{{r.Unit != "", recordUnit}, {r.Unfit, recordUnfit}, {r.Late, recordLate}, {r.Absolute, recordAbsolute}} {
		if f.is {
			head |= f.flag
		}
	}
	w.b = append(w.b, head)
	w.word(device, r.Name)
	if r.Unit != "" {
		w.word(device, r.Unit)
	}
	w.b = binary.AppendVarint(w.b, r.Time-before)
	if kind >= decimal32 {
		w.b = binary.AppendUvarint(w.b, short)
		return
	}
	w.b = appendValue(w.b, r.Value)
}

func appendPresence(b []byte, p PresenceChange) []byte {
	b = appendText(b, string(p.State))
	b = binary.AppendVarint(b, p.Since)
	b = appendText(b, p.Cause)
	return binary.AppendVarint(b, p.NextWake)
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

var powersOfTen = [4]float64{1, 10, 100, 1000}

// shortFloat is v as a decimal of up to three places, 4·m + places with m in
// zigzag, if that is v bit for bit and shorter than its bits. Else it is its
// kind.
func shortFloat(v protocol.Value) (kind byte, short uint64) {
	kind = byte(v.Kind())
	most := float64(1 << 40)
	switch v.Kind() {
	case protocol.Float32:
		most = 1 << 17
	case protocol.Float64:
	default:
		return kind, 0
	}
	f := v.AsFloat()
	for places, p := range powersOfTen {
		m := math.Round(f * p)
		if !(math.Abs(m) < most) {
			break
		}
		i := int64(m)
		short = (uint64(i<<1)^uint64(i>>63))<<2 | uint64(places)
		if got, ok := longFloat(v.Kind(), short); ok && got == v {
			return kind + decimal32 - byte(protocol.Float32), short
		}
	}
	return kind, 0
}

// longFloat is the value of a short one.
func longFloat(kind protocol.Kind, short uint64) (v protocol.Value, ok bool) {
	m := short >> 2
	if m>>42 != 0 { // more than is written, and all of it exact
		return v, false
	}
	f := float64(int64(m>>1)^-int64(m&1)) / powersOfTen[short&3]
	if kind == protocol.Float32 {
		return protocol.MakeValue(kind, uint64(math.Float32bits(float32(f))), ""), true
	}
	return protocol.Float(f), true
}

// entryReader takes the entries of a record apart.
type entryReader struct {
	reader
	texts   []string // what numbers mean
	missing int      // words that are not known: what uses them is left out
	only    string   // device, "" = all
}

// A batch has entries behind each other. Those that cannot be read for want of
// a word, or are not wanted, are left out; next is the position behind the last,
// and last its receipt.
func (r *entryReader) entries(first Position, received int64) (all []*Entry, next Position, last int64) {
	next = first
	e := &Entry{}
	for len(r.s) > 0 && !r.bad {
		*e = Entry{Pos: next}
		next++
		wanted := r.entry(e, received)
		received = e.Received
		if wanted && !r.bad {
			all, e = append(all, e), &Entry{}
		}
	}
	return all, next, received
}

func (r *entryReader) entry(e *Entry, prev int64) (wanted bool) {
	e.Kind = Kind(r.byte())
	has := r.byte()
	device, known := r.word()
	e.Device = device
	r.about(e, has, prev)
	wanted = known && (r.only == "" || device == r.only)
	if has&hasRecords != 0 {
		r.records(e, wanted)
	}
	return wanted
}

// about reads what an entry has besides its device and its records. It was
// received so long after prev.
func (r *reader) about(e *Entry, has byte, prev int64) {
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
}

func (r *entryReader) records(e *Entry, wanted bool) {
	n, size := r.uvarint(), r.uvarint()
	if size > uint64(len(r.s)) || n > size { // a record is more than a byte: never allocate for a lie
		r.bad = true
		return
	}
	if !wanted {
		r.take(int(size))
		return
	}
	behind := len(r.s) - int(size)
	e.Records = make([]protocol.Record, 0, n)
	before := e.Received * 1e6
	for ; n > 0 && !r.bad; n-- {
		var rec protocol.Record
		known := r.record(&rec, before)
		before = rec.Time
		if known {
			e.Records = append(e.Records, rec)
		}
	}
	r.bad = r.bad || len(r.s) != behind
}

func (r *entryReader) record(rec *protocol.Record, before int64) (known bool) {
	head := r.byte()
	rec.Name, known = r.word()
	if head&recordUnit != 0 {
		unit, ok := r.word()
		rec.Unit, known = unit, known && ok
	}
	rec.Unfit = head&recordUnfit != 0
	rec.Late = head&recordLate != 0
	rec.Absolute = head&recordAbsolute != 0
	rec.Time = before + r.varint()
	switch k := head & 15; k {
	case decimal32, decimal64:
		v, ok := longFloat(protocol.Kind(k-decimal32)+protocol.Float32, r.uvarint())
		rec.Value, r.bad = v, r.bad || !ok
	default:
		rec.Value = r.value(protocol.Kind(k))
	}
	return known
}

// word is a text, or not known.
func (r *entryReader) word() (text string, known bool) {
	n := r.uvarint()
	if n == 0 {
		return r.text(), true
	}
	if n <= uint64(len(r.texts)) && r.texts[n-1] != "" {
		return r.texts[n-1], true
	}
	if n > mostWords {
		r.bad = true
	}
	r.missing++
	return "", false
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
