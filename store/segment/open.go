package segment

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

const newSuffix = ".new"

func segmentName(n int) string { return fmt.Sprintf("log-%04d.seg", n) }

// IsName reports whether a file of this name is a segment.
func IsName(name string) bool {
	_, ok := nameNumber(name)
	return ok
}

// nameNumber is the number in the name of a segment.
func nameNumber(name string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(name, "log-")
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, ".seg"); !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0 && segmentName(n) == name
}

// Open reads what is there and calls replay for each record behind after, in
// order. A record that was cut while it was written ends its segment; damage is
// reported, and reading goes on behind it. What was replayed is durable, also
// if the process before was killed between its write and its sync.
//
// Nothing is written: the first record begins a segment, so that none is ever
// written behind what another process left.
func Open(o Options, after uint64, replay func(number uint64, payload []byte) error) (*Log, error) {
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Damaged == nil {
		o.Damaged = func(string, error) {}
	}
	l := &Log{o: o}
	names, err := l.list()
	if err != nil {
		return nil, fmt.Errorf("list the log's segments: %w", err)
	}
	for _, name := range names {
		l.examine(name)
	}
	slices.SortFunc(l.live, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.sequence, b.sequence))
	})
	l.cutSuperseded()
	last, err := l.replay(after, replay)
	l.next = last + 1
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.Release(after)
	return l, nil
}

// Epoch finds the epoch of the log in a directory, that of the segment begun
// last, when it is not known from elsewhere.
func Epoch(fs FS) (epoch uint64, ok bool) {
	names, err := fs.List()
	if err != nil {
		return 0, false
	}
	var sequence uint64
	for _, name := range names {
		if _, is := nameNumber(name); !is {
			continue
		}
		f, err := fs.Open(name, Read)
		if err != nil {
			continue
		}
		b := make([]byte, headerSize)
		n, _ := f.ReadAt(b, 0)
		if h, valid := decodeHeader(b[:n]); valid && h.sequence > sequence {
			epoch, sequence, ok = h.epoch, h.sequence, true
		}
		_ = f.Close()
	}
	return epoch, ok
}

// list returns the names of all segments and removes what was never finished.
func (l *Log) list() (names []string, err error) {
	all, err := l.o.FS.List()
	for _, name := range all {
		if unfinished, is := strings.CutSuffix(name, newSuffix); is {
			if _, ours := nameNumber(unfinished); ours {
				_ = l.o.FS.Remove(name)
			}
		}
		if n, ours := nameNumber(name); ours {
			names = append(names, name)
			l.names = max(l.names, n)
		}
		if strings.Contains(name, ".seg.damaged-") {
			l.damaged++
		}
	}
	return names, err
}

// examine finds the records of one file. One without any is free.
func (l *Log) examine(name string) {
	f, err := l.o.FS.Open(name, Read)
	if err != nil {
		l.o.Damaged(name, err)
		return
	}
	b, err := readAll(f)
	if err != nil {
		l.o.Damaged(name, err)
	}
	h, valid := decodeHeader(b)
	l.sequence = max(l.sequence, h.sequence)
	s := &segment{name: name, mark: h.mark, sequence: h.sequence, first: h.first, size: int64(len(b)), file: f}
	block := int(h.block)
	if !valid { // its first record knows what is missing
		block = leastBlock
		if len(b) > headerSpace {
			s.mark, valid = markOf(b[headerSpace:], l.o.Epoch)
		}
		if valid {
			l.o.Damaged(name+" at byte 0", errors.New("the header is damaged"))
			s.damaged = true
		}
	}
	if valid && s.mark.epoch == l.o.Epoch {
		l.scan(s, b, block)
	}
	if len(s.records) > 0 || s.first > 0 && valid && s.mark.epoch == l.o.Epoch {
		if err := f.Sync(); err != nil { // what is read was not made durable by anyone yet
			l.o.Damaged(name, err)
			s.distrust = true
		}
		l.live = append(l.live, s)
		return
	}
	_ = f.Close()
	l.giveBack(s)
}

// readAll reads a file; a part that cannot be read is zeros, and reported.
func readAll(f File) (b []byte, err error) {
	size, err := f.Size()
	if err != nil || size > 1<<30 {
		return nil, errors.Join(err, fmt.Errorf("a segment of %d bytes", size))
	}
	b = make([]byte, size)
	if n, rerr := f.ReadAt(b, 0); n == len(b) || errors.Is(rerr, io.EOF) {
		return b, nil
	}
	for off := 0; off < len(b); off += mostBlock {
		part := b[off:min(off+mostBlock, len(b))]
		if n, rerr := f.ReadAt(part, int64(off)); n < len(part) {
			clear(part)
			err = cmp.Or(err, rerr)
		}
	}
	return b, err
}

// scan finds the records in b, the content of s.
func (l *Log) scan(s *segment, b []byte, block int) {
	for off := headerSpace; off < len(b); {
		number, payload, what := decodeRecord(b[off:], s.mark)
		if what == record && (len(s.records) == 0 || number == s.last()+1) {
			if s.first == 0 {
				s.first = number
			}
			s.records = append(s.records, place{number, uint32(off), uint32(len(payload))})
			off += int(padded(recordHeader+len(payload), block))
			continue
		}
		at := l.resume(s, b, off)
		if at < 0 {
			if what == torn {
				l.o.Log.Info("a record that was not finished was cut off", "segment", s.name, "byte", off)
			}
			return
		}
		s.damaged = true
		l.o.Damaged(fmt.Sprintf("%s from byte %d to %d", s.name, off, at), errors.New("no record can be read there"))
		number, payload, _ = decodeRecord(b[at:], s.mark)
		if s.first == 0 {
			s.first = number
		}
		s.records = append(s.records, place{number, uint32(at), uint32(len(payload))})
		off = at + int(padded(recordHeader+len(payload), block))
	}
}

// resume finds the next record behind a place at which there is none, -1 when
// there is no more: the end of the segment.
func (l *Log) resume(s *segment, b []byte, off int) int {
	for off = (off/leastBlock + 1) * leastBlock; off < len(b); off += leastBlock {
		number, _, what := decodeRecord(b[off:], s.mark)
		if what == record && (len(s.records) == 0 || number > s.last()) {
			return off
		}
	}
	return -1
}

// cutSuperseded drops records that were given up: a segment that was begun later
// has another one of their number.
func (l *Log) cutSuperseded() {
	for i := len(l.live) - 2; i >= 0; i-- {
		s, next := l.live[i], l.live[i+1]
		for len(s.records) > 0 && s.last() >= next.first {
			s.records = s.records[:len(s.records)-1]
		}
		if next.first < s.first { // cannot be, but must not hide the next
			s.first = next.first
		}
	}
}

// replay calls f for the records behind after and returns the last number.
func (l *Log) replay(after uint64, f func(number uint64, payload []byte) error) (last uint64, err error) {
	last = after
	for _, s := range l.live {
		for _, p := range s.records {
			if p.number <= last {
				continue
			}
			if p.number != last+1 && last > 0 {
				l.o.Damaged(fmt.Sprintf("records %d to %d of the log", last+1, p.number-1), errors.New("they are missing"))
			}
			b, err := l.Read(p.number)
			if err != nil {
				l.o.Damaged(fmt.Sprintf("record %d of the log", p.number), err)
				last = p.number
				continue
			}
			if err := f(p.number, b); err != nil {
				return last, err
			}
			last = p.number
		}
	}
	return last, nil
}
