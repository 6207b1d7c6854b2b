package segment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
)

// setAside is how many damaged segments are kept for whoever wants to look.
const setAside = 4

// begin makes the next record the first of a segment.
func (l *Log) begin(payload int) error {
	l.making.Lock()
	defer l.making.Unlock()
	size := max(l.o.Size, headerSpace+padded(recordHeader+payload, mostBlock))
	l.end()
	if !l.makeRoom(size) {
		return ErrFull
	}
	name, err := l.take(size)
	if err != nil {
		return err
	}
	l.sequence++
	h := header{mark: mark{l.o.Epoch, rand.Uint64()}, sequence: l.sequence, first: l.next, size: uint64(size)}
	out, read, err := l.use(name, &h)
	if err != nil {
		_ = l.o.FS.Remove(name) // it held nothing, and is not trusted again
		return err
	}
	s := &segment{name: name, mark: h.mark, sequence: h.sequence, first: h.first, size: size, file: read, open: true, scanned: true, layout: layout{last: h.first - 1, end: headerSpace}}
	l.out, l.begun, l.block, l.at = out, s, int(h.block), headerSpace
	l.mu.Lock()
	l.live = append(l.live, s)
	l.stats.Begun++
	l.mu.Unlock()
	return nil
}

// use opens a segment in the best way that works, which is found out by writing
// its header.
func (l *Log) use(name string, h *header) (out, read File, err error) {
	for _, way := range []struct {
		how   Mode
		block int
	}{
		{Direct, leastBlock},
		{Direct, mostBlock},   // sectors of 4 KiB
		{Buffered, mostBlock}, // whole pages, so that the system rewrites no acknowledged ones
	} {
		if out, err = l.o.FS.Open(name, way.how); err != nil {
			if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) {
				continue
			}
			return nil, nil, err
		}
		h.block = uint32(way.block)
		b := aligned(nil, way.block)
		encodeHeader(b, *h)
		if err = l.write(out, b, 0); err == nil {
			break
		}
		_ = out.Close()
		if !errors.Is(err, syscall.EINVAL) {
			return nil, nil, err
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if read, err = l.o.FS.Open(name, Read); err != nil {
		return nil, nil, errors.Join(err, out.Close())
	}
	return out, read, nil
}

// take returns a segment that nothing is in. The caller holds making.
func (l *Log) take(size int64) (name string, err error) {
	if n := len(l.free); n > 0 && size == l.o.Size {
		name, l.free = l.free[n-1], l.free[:n-1]
		return name, nil
	}
	return l.make(size)
}

// make writes a new segment full of zeros. They are really written: a system
// that only notes them would write about each sector twice later. The file gets
// its name when it is whole. The caller holds making.
func (l *Log) make(size int64) (name string, err error) {
	name = segmentName(l.names + 1)
	f, err := l.o.FS.Create(name + newSuffix)
	if err != nil {
		return "", err
	}
	b := aligned(nil, zeros)
	for off := int64(0); off < size && err == nil; off += int64(len(b)) {
		_, err = f.WriteAt(b[:min(size-off, int64(len(b)))], off)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = l.o.FS.Rename(name+newSuffix, name)
	}
	if err == nil {
		err = l.o.FS.SyncDir()
	}
	if err != nil {
		_ = l.o.FS.Remove(name + newSuffix)
		return "", fmt.Errorf("preallocate %s: %w", name, err)
	}
	l.names++
	l.mu.Lock()
	l.stats.Written += uint64(size)
	l.stats.Made += uint64(size)
	l.mu.Unlock()
	return name, nil
}

// Prepare makes a free segment if there is none, so that the goroutine that
// appends need not.
func (l *Log) Prepare() error {
	l.making.Lock()
	defer l.making.Unlock()
	if len(l.free) > 0 {
		return nil
	}
	name, err := l.make(l.o.Size)
	if err != nil {
		return err
	}
	l.free = append(l.free, name)
	return nil
}

// Release says that records up to passed are not wanted any more, and that those
// up to sealed are durable elsewhere. Segments of which both is true may be used
// again, apart from the one being written. What is only sealed is kept while the
// budget allows.
func (l *Log) Release(passed, sealed uint64) {
	l.making.Lock()
	defer l.making.Unlock()
	l.mu.Lock()
	l.sealed = max(l.sealed, sealed)
	to := min(passed, l.sealed)
	l.mu.Unlock()
	l.remove(func(s *segment) bool { return s.last <= to })
}

// makeRoom drops segments until one of size bytes fits into the budget: the
// oldest, and none that is not sealed. The caller holds making.
func (l *Log) makeRoom(size int64) bool {
	for {
		l.mu.RLock()
		used, sealed := l.bytes(), l.sealed
		var oldest *segment
		if len(l.live) > 0 {
			oldest = l.live[0]
		}
		l.mu.RUnlock()
		if oldest == nil || used+size <= l.o.Budget {
			return true
		}
		if l.remove(func(s *segment) bool { return s == oldest && s.last <= sealed }) == 0 {
			return false
		}
		l.mu.Lock()
		l.stats.Dropped++
		l.mu.Unlock()
	}
}

// remove takes those segments out of the log that are not written to, and gives
// their files back, or lets the last reader do that. The caller holds making.
func (l *Log) remove(which func(*segment) bool) (n int) {
	l.mu.Lock()
	var unread []*segment
	l.live = slices.DeleteFunc(l.live, func(s *segment) bool {
		if s.open || !which(s) {
			return false
		}
		n++
		if s.gone = true; s.readers == 0 {
			unread = append(unread, s)
		}
		return true
	})
	l.mu.Unlock()
	for _, s := range unread {
		_ = s.file.Close()
		l.giveBack(s)
	}
	return n
}

// giveBack frees a segment that is not live any more. The caller holds making.
func (l *Log) giveBack(s *segment) {
	var err error
	switch {
	case s.damaged && l.damaged < setAside:
		err = l.putAside(s)
	case s.distrust || s.damaged || s.size != l.o.Size || len(l.free) >= spares:
		err = l.o.FS.Remove(s.name)
	default:
		l.free = append(l.free, s.name)
	}
	l.stays(s, err)
}

// putAside keeps a segment under another name.
func (l *Log) putAside(s *segment) error {
	l.damaged++
	return l.o.FS.Rename(s.name, fmt.Sprintf("%s.damaged-%d", s.name, s.sequence))
}

// stays tells of a segment that could not be put away, if so.
func (l *Log) stays(s *segment, err error) {
	if err != nil {
		l.o.Log.Warn("a used segment of the log could not be put away", "segment", s.name, "error", err)
	}
}
