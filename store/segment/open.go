package segment

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
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

// Open reads what is there behind after and calls replay for each record, in
// order; the payload is valid until replay returns. A record that was cut while it
// was written ends its segment; damage is reported, and reading goes on behind it. What was replayed is durable, also
// if the process before was killed between its write and its sync. Segments
// that have nothing behind after are left alone until somebody reads them.
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
	l := &Log{o: o, sealed: after}
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
	l.twins()
	l.limit()
	l.ended(o.End)
	for _, s := range l.live {
		if s.last <= after {
			continue
		}
		s.take(l.scan(s, s.last))
		if err := s.file.Sync(); err != nil { // what is read was not made durable by anyone yet
			o.Damaged(s.name, err)
			s.distrust = true
		}
	}
	if n := len(l.live); n > 0 && !l.live[n-1].distrust && !l.live[n-1].damaged {
		l.ends = End{l.live[n-1].mark.generation, l.live[n-1].last, l.live[n-1].end}
	}
	last, err := l.replay(after, replay)
	l.next = last + 1
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Epoch finds the epoch of the log in a directory when it is not known for sure: the
// likely one if a segment has it, else that of most segments, of the one begun last
// if that does not tell. One of another log may have got among them.
func Epoch(fs FS, likely uint64) (epoch uint64, ok bool) {
	names, err := fs.List()
	if err != nil {
		return 0, false
	}
	type found struct {
		segments int
		sequence uint64 // of the one begun last
	}
	all := map[uint64]found{}
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
		if h, valid := decodeHeader(b[:n]); valid {
			e := found{all[h.epoch].segments + 1, max(all[h.epoch].sequence, h.sequence)}
			all[h.epoch] = e
		}
		_ = f.Close()
	}
	if _, is := all[likely]; is {
		return likely, true
	}
	var most found
	for e, f := range all {
		if f.segments > most.segments || f.segments == most.segments && f.sequence > most.sequence {
			epoch, most, ok = e, f, true
		}
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

// examine looks at the header of one file. One without any is free; one of another
// log, which may be all that somebody has of it, is put aside.
func (l *Log) examine(name string) {
	f, err := l.o.FS.Open(name, Read)
	if err != nil {
		l.o.Damaged(name, err)
		return
	}
	size, err := f.Size()
	if err != nil {
		l.o.Damaged(name, err)
	}
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, 0)
	unread := err != nil && !errors.Is(err, io.EOF)
	if unread {
		l.o.Damaged(name, err)
	}
	h, valid := decodeHeader(b[:n])
	l.sequence = max(l.sequence, h.sequence)
	s := &segment{name: name, mark: h.mark, sequence: h.sequence, first: h.first, size: size, file: f, layout: layout{last: math.MaxUint64, end: size}}
	if !valid {
		valid = l.guess(s)
	}
	if valid && s.mark.epoch == l.o.Epoch {
		if int64(h.size) > size {
			l.o.Damaged(fmt.Sprintf("%s from byte %d to %d", name, size, h.size), errors.New("the file is shorter than it was"))
			s.damaged = true
		}
		l.live = append(l.live, s)
		return
	}
	_ = f.Close()
	if valid {
		l.orphan(s)
		return
	}
	if unread { // it may have much in it
		l.stays(s, l.putAside(s))
		return
	}
	l.giveBack(s)
}

// orphan puts a segment of another log aside.
func (l *Log) orphan(s *segment) {
	aside := fmt.Sprintf("%s.orphan-%016x-%d", s.name, s.mark.epoch, s.sequence)
	if err := l.o.FS.Rename(s.name, aside); err != nil {
		l.o.Log.Warn("a segment of another log could not be put aside, and stays where it is", "segment", s.name, "error", err)
		return
	}
	l.o.Log.Warn("a segment of another log was put aside; remove it if nobody needs it", "segment", s.name, "as", aside)
}

// guess takes from the first record of s what a damaged header does not say.
func (l *Log) guess(s *segment) bool {
	begin := make([]byte, recordHeader)
	if n, _ := s.file.ReadAt(begin, headerSpace); n < len(begin) || !looksLike(begin, l.o.Epoch) {
		return false
	}
	w := window{s: s, reuse: true}
	m := mark{l.o.Epoch, generation(begin)}
	number, _, what := decodeRecord(w.record(headerSpace, m), m)
	if w.err != nil {
		l.o.Damaged(s.name, w.err)
	}
	if what != record {
		return false
	}
	l.o.Damaged(s.name+" at byte 0", errors.New("the header is damaged"))
	s.mark, s.first, s.damaged = m, number, true
	return true
}

// twins leaves of several copies of one segment the one with the most records.
func (l *Log) twins() {
	for i := 0; i+1 < len(l.live); {
		a, b := l.live[i], l.live[i+1]
		if a.mark != b.mark || a.sequence != b.sequence {
			i++
			continue
		}
		less := i
		if l.scan(b, math.MaxUint64).last < l.scan(a, math.MaxUint64).last {
			less = i + 1
		}
		s := l.live[less]
		l.live = slices.Delete(l.live, less, less+1)
		_ = s.file.Close()
		l.giveBack(s)
	}
}

// limit ends segments where the next one begins: what is behind that in them
// was given up, and is in the next one. Between two that did not follow each other
// in their time others were let go of and used again, which is no damage.
func (l *Log) limit() {
	for i := len(l.live) - 2; i >= 0; i-- {
		s, next := l.live[i], l.live[i+1]
		s.last, s.gap = next.first-1, s.sequence+1 != next.sequence
	}
}

// ended takes from who closed the log where the newest segment ends, so that it
// need not be searched. A segment is never written to again by another process,
// so this holds for as long as it is the newest; that nothing lies behind the end
// is looked at all the same.
func (l *Log) ended(e End) {
	if len(l.live) == 0 {
		return
	}
	s := l.live[len(l.live)-1]
	if e.Generation != s.mark.generation || e.Last+1 < s.first || e.Off < headerSpace || e.Off > s.size || s.damaged {
		return
	}
	b := make([]byte, leastBlock)
	if n, err := s.file.ReadAt(b, e.Off); n < len(b) && !errors.Is(err, io.EOF) || carries(b, s.mark) {
		return
	}
	s.last, s.end = e.Last, e.Off
}

// scan finds the records of s up to number last and tells where they are. What
// lies between two whose numbers follow each other is padding. What the disk does
// not give is reported, and is no record.
func (l *Log) scan(s *segment, last uint64) (found layout) {
	w := window{s: s, reuse: true}
	cut := int64(0)
	found.last, found.end = s.first-1, headerSpace
	for off := int64(headerSpace); off+recordHeader <= s.size; {
		number, payload, what := decodeRecord(w.record(off, s.mark), s.mark)
		if what != record || number <= found.last {
			if what == torn && cut == 0 {
				cut = off
			}
			off += leastBlock
			continue
		}
		if number > last {
			cut = 0
			break
		}
		lost := number != found.last+1
		if lost {
			found.damaged = true
			l.o.Damaged(fmt.Sprintf("%s from byte %d to %d", s.name, found.end, off), errors.New("no record can be read there"))
		}
		n := padded(recordHeader+len(payload), leastBlock)
		found.add(number, off, n, lost)
		off, cut = off+n, 0
	}
	if w.err != nil { // what the disk does not give now may be of value yet
		found.damaged = true
		l.o.Damaged(s.name, w.err)
	}
	if cut > 0 {
		l.o.Log.Info("a record that was not finished was cut off", "segment", s.name, "byte", cut)
	}
	return found
}

// replay calls f for the records behind after and returns the last number.
func (l *Log) replay(after uint64, f func(number uint64, payload []byte) error) (last uint64, err error) {
	last = after
	for _, s := range l.live {
		if s.last <= after {
			continue
		}
		w := window{s: s, reuse: true}
		_, serr := l.walk(&w, s.place(after+1), s.last, func(number uint64, payload []byte) bool {
			if number <= last {
				return true
			}
			if number != last+1 && last > 0 {
				l.o.Damaged(fmt.Sprintf("records %d to %d of the log", last+1, number-1), errors.New("they are missing"))
			}
			last = number
			err = f(number, payload)
			return err == nil
		})
		if err != nil {
			return last, err
		}
		if serr != nil {
			l.o.Damaged(s.name, serr)
		}
		last = max(last, s.last)
	}
	return last, nil
}
