package segment_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hearthgate/hearthgate/store/segment"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

const (
	epoch = 0x1122334455667788
	small = 16 << 10 // so that segments change often
)

// history is what a log told when it was opened.
type history struct {
	payloads []string
	damaged  []string
}

// open opens the log on fs and notes what is replayed behind after.
func open(t *testing.T, fs segment.FS, after uint64) (*segment.Log, *history) {
	t.Helper()
	h := &history{}
	l, err := segment.Open(options(fs, h), after, h.note(t, after))
	if err != nil {
		t.Fatal(err)
	}
	return l, h
}

func options(fs segment.FS, h *history) segment.Options {
	return segment.Options{FS: fs, Epoch: epoch, Size: small, Damaged: func(what string, err error) {
		h.damaged = append(h.damaged, fmt.Sprint(what, ": ", err))
	}}
}

func (h *history) note(t *testing.T, after uint64) func(uint64, []byte) error {
	return func(number uint64, payload []byte) error {
		if number <= after {
			t.Errorf("record %d is replayed, which is not behind %d", number, after)
		}
		h.payloads = append(h.payloads, string(payload))
		return nil
	}
}

// payload of the n-th record: some are empty, some longer than sectors.
func payload(n int) string {
	return fmt.Sprint(n, " ") + strings.Repeat("x", n*n%23*97)
}

func write(t *testing.T, l *segment.Log, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if number, err := l.Append([]byte(payload(n))); err != nil || number != uint64(n) {
			t.Fatalf("record %d got number %d, %v", n, number, err)
		}
	}
}

// expect wants the records from and to, and those between, and no damage.
func (h *history) expect(t *testing.T, from, to int) {
	t.Helper()
	var want []string
	for n := from; n <= to; n++ {
		want = append(want, payload(n))
	}
	if !slices.Equal(h.payloads, want) || len(h.damaged) > 0 {
		t.Errorf("%d records, want %d to %d; damage: %v", len(h.payloads), from, to, h.damaged)
	}
}

func TestRecordsComeBackInOrder(t *testing.T) {
	for name, fs := range map[string]segment.FS{"in memory": segmenttest.New(nil), "on disk": segment.Dir(t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			l, h := open(t, fs, 0)
			h.expect(t, 1, 0)
			write(t, l, 1, 150)
			for n := 1; n <= 150; n++ {
				if b, err := l.Read(uint64(n)); err != nil || string(b) != payload(n) {
					t.Fatalf("record %d: %.20q, %v", n, b, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l, h = open(t, fs, 0)
			h.expect(t, 1, 150)
			write(t, l, 151, 160)
			big := strings.Repeat("b", 5*small) // has a segment of its own
			if n, err := l.Append([]byte(big)); err != nil || n != 161 {
				t.Fatal(n, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l, h = open(t, fs, 100)
			if n := len(h.payloads); n != 61 || h.payloads[0] != payload(101) || h.payloads[60] != big || len(h.damaged) > 0 {
				t.Errorf("%d records behind 100, damage: %v", n, h.damaged)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The files of the system: the smallest direct writes that the disk takes.
func TestAnAppendIsOneWriteOfWholeSectors(t *testing.T) {
	l, _ := open(t, segment.Dir(t.TempDir()), 0)
	defer l.Close()
	write(t, l, 1, 1)
	before := l.Stats()
	if _, err := l.Append(make([]byte, 400)); err != nil {
		t.Fatal(err)
	}
	after := l.Stats()
	if n := after.Written - before.Written; n != 512 && n != 4096 || after.Writes != before.Writes+1 {
		t.Errorf("%d bytes in %d writes", n, after.Writes-before.Writes)
	}

	d := segmenttest.New(nil)
	l, _ = open(t, d, 0)
	write(t, l, 1, 1)
	writes, syncs, size := d.Writes, d.Syncs, d.Bytes
	if _, err := l.Append(make([]byte, 1024-36)); err != nil {
		t.Fatal(err)
	}
	if d.Writes != writes+1 || d.Syncs != syncs+1 || d.Bytes != size+1024 {
		t.Errorf("%d writes of %d bytes and %d syncs", d.Writes-writes, d.Bytes-size, d.Syncs-syncs)
	}
}

// Where a disk has sectors of 4 KiB, or a file system no direct writes.
func TestTheSectorSizeIsFoundByTrying(t *testing.T) {
	for name, fault := range map[string]func(what, name string, size int) error{
		"no direct writes": func(what, _ string, _ int) error {
			if what == "open direct" {
				return syscall.EINVAL
			}
			return nil
		},
		"sectors of 4 KiB": func(what, _ string, size int) error {
			if what == "write" && size%4096 != 0 {
				return syscall.EINVAL
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := &sized{Disk: segmenttest.New(nil), fault: fault}
			l, _ := open(t, d, 0)
			write(t, l, 1, 40)
			_ = l.Close()
			_, h := open(t, d, 0)
			h.expect(t, 1, 40)
			size := l.Stats().Written
			l, _ = open(t, d, 0)
			write(t, l, 41, 41)
			before := l.Stats().Written
			write(t, l, 42, 42)
			if n := l.Stats().Written - before; n%4096 != 0 || size == 0 {
				t.Errorf("a record of %d bytes", n)
			}
		})
	}
}

// sized fails by the size of a write, too.
type sized struct {
	*segmenttest.Disk
	fault func(what, name string, size int) error
}

func (s *sized) Open(name string, how segment.Mode) (segment.File, error) {
	if how == segment.Direct {
		if err := s.fault("open direct", name, 0); err != nil {
			return nil, err
		}
	}
	f, err := s.Disk.Open(name, how)
	return sizedFile{f, s, name}, err
}

type sizedFile struct {
	segment.File
	s    *sized
	name string
}

func (f sizedFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.s.fault("write", f.name, len(b)); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func TestReleasedSegmentsAreUsedAgain(t *testing.T) {
	d := segmenttest.New(nil)
	l, _ := open(t, d, 0)
	for n := 1; n <= 2000; n++ {
		write(t, l, n, n)
		if n%20 == 0 {
			l.Release(uint64(n), uint64(n))
			if err := l.Prepare(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if names, _ := d.List(); len(names) > 5 {
		t.Errorf("%d files: %v", len(names), names)
	}
	if _, err := l.Read(1); !errors.Is(err, segment.ErrGone) {
		t.Errorf("reading a released record: %v", err)
	}
	_ = l.Close()
	_, h := open(t, d, 1990)
	h.expect(t, 1991, 2000)
	l, h = open(t, d, 2000)
	h.expect(t, 1, 0)
	write(t, l, 2001, 2001)
}

func TestStaleBytesAreNeverReplayed(t *testing.T) {
	d := segmenttest.New(nil)
	l, _ := open(t, d, 0)
	write(t, l, 1, 60)
	_ = l.Close()
	image := d.Content()
	for _, b := range image {
		clear(b[:56]) // no header: free, with stale records behind it
	}
	d = segmenttest.New(image)
	o := options(d, &history{})
	o.Epoch++ // a restored backup
	l, err := segment.Open(o, 0, func(n uint64, _ []byte) error { t.Errorf("record %d of another epoch", n); return nil })
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, 1, 3) // in a segment that is full of good records of the other
	_ = l.Close()
	h := &history{}
	o.Damaged = options(d, h).Damaged
	if _, err := segment.Open(o, 0, h.note(t, 0)); err != nil {
		t.Fatal(err)
	}
	h.expect(t, 1, 3)
	if e, ok := segment.Epoch(d, 0); !ok || e != epoch+1 {
		t.Errorf("epoch %x", e)
	}
}

// What a device sent is no record, even if it looks like one.
func TestAPayloadThatLooksLikeARecordIsNone(t *testing.T) {
	d := segmenttest.New(nil)
	l, _ := open(t, d, 0)
	write(t, l, 1, 3)
	_ = l.Close()
	var forged []byte
	for _, b := range d.Content() {
		forged = append(forged, b[4096:4096+1024]...)
	}
	d = segmenttest.New(nil)
	l, _ = open(t, d, 0)
	if _, err := l.Append(append(make([]byte, 512-36), forged...)); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	image := d.Content()
	image["log-0001.seg"][4096+36]++ // so that it is looked for
	_, h := open(t, segmenttest.New(image), 0)
	if len(h.payloads) > 0 {
		t.Errorf("replayed %q", h.payloads)
	}
}

func TestDamageIsNamedAndReadingGoesOnBehindIt(t *testing.T) {
	d := segmenttest.New(nil)
	l, _ := open(t, d, 0)
	write(t, l, 1, 100)
	_ = l.Close()
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		image := d.Content()
		name := fmt.Sprintf("log-%04d.seg", 1+r.IntN(len(image)))
		b := slices.Clone(image[name])
		at := r.IntN(len(b))
		b[at] ^= 1 << r.IntN(8)
		image[name] = b
		reborn := segmenttest.New(image)
		l, h := open(t, reborn, 0)
		if lost := 100 - len(h.payloads); lost > 1 || lost == 1 && h.payloads[len(h.payloads)-1] == payload(100) && len(h.damaged) == 0 {
			t.Fatalf("bit %d of %s: %d lost, damage: %v", at, name, lost, h.damaged)
		}
		next := 1 + len(h.payloads)
		if len(h.damaged) > 0 {
			next = 101
		}
		if n, err := l.Append([]byte("on")); err != nil || n < uint64(next) {
			t.Fatalf("record %d, %v", n, err)
		}
		before, _ := reborn.List()
		l.Release(100, 100)
		if after, _ := reborn.List(); len(h.damaged) > 0 && slices.Equal(before, after) || len(after) != len(before) && len(h.damaged) == 0 && len(after) < 2 {
			t.Fatalf("damage %v: %v became %v", h.damaged, before, after)
		}
		_ = l.Close()
	}
	image := d.Content()
	clear(image["log-0002.seg"]) // a whole file
	_, h := open(t, segmenttest.New(image), 0)
	if len(h.damaged) != 1 || !strings.Contains(h.damaged[0], "records ") || len(h.payloads) < 50 {
		t.Errorf("%d records, damage %v", len(h.payloads), h.damaged)
	}
}

// Truncated files, whole sectors of garbage: never a panic, never a wrong record.
func TestAnyBytesCanBeOpened(t *testing.T) {
	d := segmenttest.New(nil)
	l, _ := open(t, d, 0)
	write(t, l, 1, 60)
	_ = l.Close()
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		image := d.Content()
		for name, b := range image {
			b = slices.Clone(b)
			for range r.IntN(3) {
				from := r.IntN(len(b))
				for i := from; i < min(len(b), from+r.IntN(2000)); i++ {
					b[i] = byte(r.Uint32())
				}
			}
			if r.IntN(3) == 0 {
				b = b[:r.IntN(len(b))]
			}
			image[name] = b
		}
		_, h := open(t, segmenttest.New(image), 0)
		n := 0
		for _, p := range h.payloads {
			for n++; n <= 60 && payload(n) != p; n++ {
			}
			if n > 60 {
				t.Fatalf("%.30q was never written there", p)
			}
		}
	}
}

func TestAFailedWriteIsTriedInAnotherSegment(t *testing.T) {
	for name, fails := range map[string]struct {
		what string
		err  error
	}{
		"write": {"write", syscall.EIO}, "sync": {"sync", syscall.EIO}, "no space": {"write", syscall.ENOSPC},
		"a short write": {"write", io.ErrShortWrite}, "read-only": {"write", syscall.EROFS},
	} {
		t.Run(name, func(t *testing.T) {
			d := segmenttest.New(nil)
			l, _ := open(t, d, 0)
			write(t, l, 1, 5)
			failing := 3
			d.Fault = func(what, _ string) error {
				if what == fails.what && failing > 0 {
					failing--
					return fails.err
				}
				return nil
			}
			for failing > 0 {
				if n, err := l.Append([]byte("never told")); err == nil {
					t.Fatalf("record %d is said to be durable", n)
				}
			}
			write(t, l, 6, 10)
			for n := 1; n <= 10; n++ {
				if b, err := l.Read(uint64(n)); err != nil || string(b) != payload(n) {
					t.Errorf("record %d: %.20q, %v", n, b, err)
				}
			}
			_, h := open(t, segmenttest.New(d.Content()), 0)
			h.expect(t, 1, 10)
			l.Release(10, 10)
			if names, _ := d.List(); len(names) > 2 || slices.Contains(names, "log-0001.seg") {
				t.Errorf("files afterwards: %v; the first one is not to be trusted", names)
			}
		})
	}
}

func TestNoSpaceForASegmentLeavesNothingBehind(t *testing.T) {
	d := segmenttest.New(nil)
	l, _ := open(t, d, 0)
	d.Fault = func(what, name string) error {
		if what == "write" && strings.HasSuffix(name, ".new") {
			return syscall.ENOSPC
		}
		return nil
	}
	for range 3 {
		if _, err := l.Append([]byte("x")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Append: %v", err)
		}
	}
	if names, _ := d.List(); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
	d.Fault = nil
	write(t, l, 1, 1)
}

func TestTheBudgetIsKept(t *testing.T) {
	d := segmenttest.New(nil)
	h := &history{}
	o := options(d, h)
	o.Budget = 3 * small
	l, err := segment.Open(o, 0, h.note(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for err == nil {
		n++
		_, err = l.Append(make([]byte, 3000))
	}
	if !errors.Is(err, segment.ErrFull) || l.Stats().Bytes > 3*small {
		t.Fatalf("after %d records and %d bytes: %v", n, l.Stats().Bytes, err)
	}
	l.Release(n-1, n-1)
	if number, err := l.Append(nil); err != nil || number != n {
		t.Errorf("record %d, %v", number, err)
	}
}

// What is sealed stays while somebody may want to read it and the budget allows;
// beyond it the oldest goes.
func TestWhatIsOnlySealedGoesWhenTheBudgetIsSpent(t *testing.T) {
	d := segmenttest.New(nil)
	h := &history{}
	o := options(d, h)
	o.Budget = 4 * small
	l, err := segment.Open(o, 0, h.note(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 400; n++ {
		write(t, l, n, n)
		l.Release(0, uint64(n))
		if st := l.Stats(); st.Bytes > o.Budget {
			t.Fatalf("%d bytes", st.Bytes)
		}
	}
	first := extents(l)[0].First
	if l.Stats().Dropped == 0 || first == 1 {
		t.Errorf("%+v, the first record is %d", l.Stats(), first)
	}
	if err := l.Scan(first-1, nil); !errors.Is(err, segment.ErrGone) {
		t.Errorf("what was dropped: %v", err)
	}
	_ = l.Close()
	l, h = open(t, d, 400)
	h.expect(t, 1, 0)
	next := int(first)
	if err := l.Scan(first, func(n uint64, b []byte) bool {
		if n != uint64(next) || string(b) != payload(next) {
			t.Errorf("record %d is %d, %.20q", next, n, b)
		}
		next++
		return true
	}); err != nil || next != 401 {
		t.Errorf("read up to %d, %v", next-1, err)
	}
	l.Release(400, 400)
	if n := len(extents(l)); n != 0 {
		t.Errorf("%d segments are left", n)
	}
}

// A reader inside of a segment can read it to its end, whatever becomes of it.
func TestAReaderIsNotDisturbedByARelease(t *testing.T) {
	d := segmenttest.New(nil)
	l, _ := open(t, d, 0)
	write(t, l, 1, 200)
	last := extents(l)[0].Last
	read := uint64(0)
	err := l.Scan(1, func(n uint64, b []byte) bool {
		if string(b) != payload(int(n)) {
			t.Errorf("record %d is %.20q", n, b)
		}
		if read = n; n == 1 {
			l.Release(200, 200)
			write(t, l, 201, 400)
		}
		return true
	})
	if read != last || !errors.Is(err, segment.ErrGone) {
		t.Errorf("read up to %d of %d, %v", read, last, err)
	}
	l.Release(400, 400)
	if names, _ := d.List(); len(names) > 3 {
		t.Errorf("files %v", names)
	}
}

// Days of a reader that is away cost disk, not memory.
func TestAMillionRecordsAreSmallInMemory(t *testing.T) {
	fs := segment.Dir(t.TempDir())
	o := segment.Options{FS: fs, Epoch: epoch, Size: 1 << 20}
	l, err := segment.Open(o, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 6000 {
		if _, err := l.Append(make([]byte, 300)); err != nil {
			t.Fatal(err)
		}
	}
	if n, bytes := l.Places(), l.Stats().Bytes; int64(n) > bytes/(16<<10) {
		t.Errorf("%d places of %d bytes", n, bytes)
	}
	_ = l.Close()
	l, err = segment.Open(o, 6000, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := l.Places(); n > 40 { // those of the last one
		t.Errorf("%d places of segments that nobody reads", n)
	}
	for _, n := range []uint64{1, 1500, 3333, 5999, 6000} {
		if _, err := l.Read(n); err != nil {
			t.Errorf("record %d: %v", n, err)
		}
	}
	_ = l.Close()
}

// Power is cut at every place of a log that is written, released and recycled.
func TestPowerCuts(t *testing.T) {
	d := segmenttest.New(nil)
	l, _ := open(t, d, 0)
	var acked, released []int // by length of the journal
	note := func(n []int, v int) []int {
		for len(n) < d.Len() {
			n = append(n, 0)
		}
		return append(n, v)
	}
	fill := func(n []int) []int {
		most := 0
		n = note(n, 0)
		for i := range n {
			most = max(most, n[i])
			n[i] = most
		}
		return n
	}
	for n := 1; n <= 150; n++ {
		write(t, l, n, n)
		acked = note(acked[:min(len(acked), d.Len())], n)
		if n%17 == 0 {
			released = note(released[:min(len(released), d.Len())], n)
			l.Release(uint64(n), uint64(n))
		}
		if n == 70 || n == 110 { // a record that fails
			d.Fault = func(what, _ string) error {
				if what == "sync" {
					return syscall.EIO
				}
				return nil
			}
			if _, err := l.Append([]byte("never told")); err == nil {
				t.Fatal("no error")
			}
			d.Fault = nil
		}
	}
	acked, released = fill(acked), fill(released)
	images := 0
	d.Cuts(10, rand.New(rand.NewPCG(1, 2)), func(at int, image segmenttest.Image) {
		images++
		after := released[at]
		l, h := open(t, segmenttest.Reborn(image), uint64(after))
		for i, p := range h.payloads {
			if n := after + 1 + i; p != payload(n) && !(p == "never told" && i == len(h.payloads)-1 && n > acked[at]) {
				t.Fatalf("cut %d: record %d is %.20q", at, n, p)
			}
		}
		if got := after + len(h.payloads); got < acked[at] || len(h.damaged) > 0 {
			t.Fatalf("cut %d of %d: %d were acknowledged, there are %d; damage: %v", at, d.Len(), acked[at], got, h.damaged)
		}
		if _, err := l.Append([]byte("on")); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d images", images)
}

// The examples in the document are what the package writes.
func TestTheDocumentsExamples(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	example := func(name string) []byte {
		m := regexp.MustCompile("(?s)```hex " + name + "\n(.*?)```").FindSubmatch(doc)
		if m == nil {
			t.Fatalf("FORMAT.md has no example %q", name)
		}
		var digits string
		for line := range strings.Lines(string(m[1])) {
			part, _, _ := strings.Cut(line, "   ")
			digits += strings.Join(strings.Fields(part), "")
		}
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	file := make([]byte, small)
	copy(file, example("segment"))
	copy(file[4096:], example("record"))
	l, h := open(t, segmenttest.New(segmenttest.Image{"log-0001.seg": file}), 0)
	if len(h.damaged) > 0 || len(h.payloads) != 1 || h.payloads[0] != "hello" || l.Next() != 8 {
		t.Errorf("the examples say %q, next is %d, damage %v", h.payloads, l.Next(), h.damaged)
	}
	if !bytes.Equal(segment.EncodeExample(), append(example("segment"), example("record")...)) {
		t.Errorf("this version writes\n%x", segment.EncodeExample())
	}
}

// Whoever closed a log knows where it ends, and the next one need not look. A note
// that is not true is not believed.
func TestAClosedLogIsNotSearched(t *testing.T) {
	d := segmenttest.New(nil)
	large := options(d, &history{})
	large.Size = 1 << 20 // so that searching it takes more than one read
	run := func(from, to int) segment.End {
		l, err := segment.Open(large, 0, func(uint64, []byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		write(t, l, from, to)
		_ = l.Close()
		return l.End()
	}
	first, closed := run(1, 20), run(21, 60)
	content := d.Content()

	again := func(end segment.End, image segmenttest.Image) (reads int, l *segment.Log) {
		t.Helper()
		d, h := segmenttest.New(image), &history{}
		d.Fault = func(what, _ string) error {
			if what == "read" {
				reads++
			}
			return nil
		}
		o := options(d, h)
		o.End = end
		l, err := segment.Open(o, 60, h.note(t, 60))
		if err != nil || len(h.damaged) > 0 {
			t.Fatal(err, h.damaged)
		}
		return reads, l
	}
	searched, l := again(segment.End{}, content)
	if l.End() != closed {
		t.Errorf("it ends at %+v, said was %+v", l.End(), closed)
	}
	known, l := again(closed, content)
	if known >= searched || l.End() != closed || l.Next() != 61 {
		t.Errorf("%d reads, %d without knowing; it ends at %+v, said was %+v", known, searched, l.End(), closed)
	}
	if b, err := l.Read(60); err != nil || string(b) != payload(60) {
		t.Errorf("record 60: %.20q, %v", b, err)
	}
	write(t, l, 61, 61)

	early := closed // in the right segment, but there is more
	early.Last, early.Off = closed.Last-1, closed.Off-int64(len(payload(60))+36+511)/512*512
	for what, end := range map[string]segment.End{"an older segment": first, "an earlier place": early, "a place behind the file": {closed.Generation, 60, 1 << 40}} {
		if n, l := again(end, content); n < searched || l.End() != closed {
			t.Errorf("%s: %d reads, it ends at %+v", what, n, l.End())
		}
	}

	l, _ = open(t, d, 60)
	write(t, l, 61, 61)
	d.Fault = func(what, _ string) error {
		if what == "sync" {
			return syscall.EIO
		}
		return nil
	}
	if _, err := l.Append([]byte("x")); err == nil || l.End() != (segment.End{}) {
		t.Errorf("%v: it ends at %+v, which nobody knows", err, l.End())
	}
}
