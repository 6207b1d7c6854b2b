package segment_test

import (
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hearthgate/hearthgate/store/segment"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// A disk on which headers can be written and records cannot: the tries use up
// neither the budget nor the numbers in names.
func TestTriesThatFailUseNothingUp(t *testing.T) {
	for what, fails := range map[string]func(what string, n int) bool{
		"records":  func(what string, n int) bool { return what == "write" && n%2 == 0 },
		"segments": func(what string, _ int) bool { return what == "create" || what == "open direct" },
	} {
		t.Run(what, func(t *testing.T) {
			d := segmenttest.New(nil)
			h := &history{}
			o := options(d, h)
			o.Budget = 5 * small
			l, err := segment.Open(o, 0, h.note(t, 0))
			if err != nil {
				t.Fatal(err)
			}
			write(t, l, 1, 20)
			writes := 0
			d.Fault = func(what string, _ string) error {
				if what == "write" {
					writes++
				}
				if fails(what, writes) {
					return syscall.EIO
				}
				return nil
			}
			failed := 0
			for range 200 {
				if err := l.Prepare(); err == nil && what == "records" {
					writes = 0 // of zeros
				}
				if _, err := l.Append([]byte("x")); err != nil {
					failed++
				}
			}
			d.Fault = nil
			if n := l.Stats().Bytes; n > 4*small || failed < 100 {
				t.Errorf("%d bytes are in use after %d tries that failed", n, failed)
			}
			if _, err := l.Append([]byte("y")); err != nil {
				t.Error(err)
			}
			names, _ := d.List()
			if what == "segments" && (len(names) > 4 || slices.Max(names) > "log-0009.seg") {
				t.Errorf("files %v", names)
			}
		})
	}
}

// badSector is a directory in which a part of one file ("" = each) cannot be read.
type badSector struct {
	segment.FS
	name     string
	from, to int64
}

func (d *badSector) Open(name string, how segment.Mode) (segment.File, error) {
	f, err := d.FS.Open(name, how)
	return &badFile{f, d, name}, err
}

type badFile struct {
	segment.File
	d    *badSector
	name string
}

func (f *badFile) ReadAt(b []byte, off int64) (int, error) {
	if (f.d.name == "" || f.d.name == f.name) && off < f.d.to && off+int64(len(b)) > f.d.from {
		return int(max(0, f.d.from-off)), syscall.EIO
	}
	return f.File.ReadAt(b, off)
}

// A sector that the disk does not give costs what is in it and no more, at the
// start and to a reader who comes later; a disk that gives nothing costs nothing.
func TestABadSectorCostsWhatIsInIt(t *testing.T) {
	disk := segmenttest.New(nil)
	l, _ := open(t, disk, 0)
	write(t, l, 1, 100)
	_ = l.Close()
	for from := int64(4096); from < small; from += 512 {
		d := &badSector{disk, "log-0002.seg", from, from + 512}
		sealed, h := open(t, d, 100)
		read := 0
		if err := sealed.Scan(1, func(uint64, []byte) bool { read++; return true }); err != nil || read < 90 || read < 100 && len(h.damaged) == 0 {
			t.Errorf("byte %d: a reader got %d, %v, damage %v", from, read, err, h.damaged)
		}
		_, h = open(t, d, 0)
		if len(h.payloads) < 90 || len(h.payloads) < 100 && len(h.damaged) == 0 {
			t.Errorf("byte %d: %d are replayed, damage %v", from, len(h.payloads), h.damaged)
		}
		// It goes bad while a reader is in it.
		d.to = from
		live, h := open(t, d, 0)
		d.to, read = from+512, 0
		if err := live.Scan(1, func(uint64, []byte) bool { read++; return true }); err != nil || read < 90 || read < 100 && len(h.damaged) == 0 {
			t.Errorf("byte %d: a reader got %d of what was there, %v, damage %v", from, read, err, h.damaged)
		}
	}
	d := &badSector{disk, "log-0002.seg", 0, 0}
	l, h := open(t, d, 0)
	d.to = small
	if err := l.Scan(1, func(uint64, []byte) bool { return true }); err == nil || len(h.damaged) > 0 {
		t.Errorf("a disk that is away: %v, damage %v", err, h.damaged)
	}
}

// What the disk does not give at a start is never written over: it may give it again.
func TestWhatCannotBeReadAtAStartIsSetAside(t *testing.T) {
	for what, bad := range map[string]badSector{
		"a file":            {name: "log-0002.seg", from: 0},
		"the end of a file": {name: "log-0002.seg", from: 10 << 10},
		"all files":         {from: 0},
	} {
		t.Run(what, func(t *testing.T) {
			disk := segmenttest.Reborn(nil)
			l, _ := open(t, disk, 0)
			write(t, l, 1, 150)
			_ = l.Close()
			before := disk.Content()
			d := bad
			d.FS, d.to = disk, small
			l, h := open(t, &d, 0)
			if len(h.damaged) == 0 {
				t.Error("nothing was said of it")
			}
			d.to = 0
			for range 200 { // all segments are used again
				if _, err := l.Append([]byte(payload(20))); err != nil {
					t.Fatal(err)
				}
				l.Release(l.Next()-1, l.Next()-1)
			}
			_ = l.Close()
			var after []string
			for _, content := range disk.Content() {
				after = append(after, string(content))
			}
			for name, content := range before {
				if (bad.name == "" || bad.name == name) && !slices.Contains(after, string(content)) {
					t.Errorf("%s is gone; there are %v", name, slices.Sorted(maps.Keys(disk.Content())))
				}
			}
		})
	}
}

// A place that is bad to the end of its segment cannot be told from a disk that is
// away, until the disk takes a record: then it is damage, and readers go on behind.
func TestAPlaceBadToTheEndOfItsSegment(t *testing.T) {
	const large = 256 << 10 // more than is read at once
	disk := segmenttest.Reborn(nil)
	start := func(fs segment.FS) (*segment.Log, *history) {
		h := &history{}
		o := options(fs, h)
		o.Size = large
		l, err := segment.Open(o, 0, h.note(t, 0))
		if err != nil {
			t.Fatal(err)
		}
		return l, h
	}
	l, _ := start(disk)
	write(t, l, 1, 400)
	_ = l.Close()
	for from := int64(4096); from < large-64<<10; from += 44 << 10 {
		d := &badSector{segmenttest.Reborn(disk.Content()), "log-0001.seg", 0, 0}
		l, h := start(d)
		d.from, d.to = from, large
		var got []uint64
		scan := func() error {
			got = nil
			return l.Scan(1, func(n uint64, _ []byte) bool { got = append(got, n); return true })
		}
		for range 3 {
			if err := scan(); err == nil || len(h.damaged) > 0 {
				t.Fatalf("byte %d: %v, damage %v", from, err, h.damaged)
			}
		}
		write(t, l, 401, 401)
		for range 2 {
			if err := scan(); err != nil || len(got) < 100 || slices.Max(got) != 401 || len(h.damaged) != 1 {
				t.Errorf("byte %d: a reader got %d, %v, damage %v", from, len(got), err, h.damaged)
			}
		}
	}
	// A disk that is away, comes back, and is away again.
	d := &badSector{disk, "log-0001.seg", 0, 0}
	l, h := start(d)
	for n := range 3 {
		d.to = large
		if err := l.Scan(1, func(uint64, []byte) bool { return true }); err == nil || len(h.damaged) > 0 {
			t.Errorf("a disk that is away: %v, damage %v", err, h.damaged)
		}
		d.to = 0
		if err := l.Scan(1, func(uint64, []byte) bool { return true }); err != nil || len(h.damaged) > 0 {
			t.Errorf("a disk that came back: %v, damage %v", err, h.damaged)
		}
		write(t, l, 401+n, 401+n)
	}
}

// A segment of another log lies in the directory: nothing of it is replayed, its
// space is not used, and it is there afterwards.
func TestASegmentOfAnotherLogIsPutAside(t *testing.T) {
	other := segmenttest.New(nil)
	o := options(other, &history{})
	o.Epoch++
	l, err := segment.Open(o, 0, func(uint64, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, 1, 200)
	_ = l.Close()
	disk := segmenttest.New(nil)
	if l, err = segment.Open(options(disk, &history{}), 0, func(uint64, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	write(t, l, 1, 100)
	_ = l.Close()
	image, foreign := disk.Content(), other.Content()
	newest := slices.Max(slices.Collect(maps.Keys(foreign)))
	image["log-0077.seg"] = foreign[newest]
	disk = segmenttest.New(image)
	if epoch, ok := segment.Epoch(disk, 0); !ok || epoch != o.Epoch-1 {
		t.Errorf("the log is taken for %x", epoch)
	}
	if epoch, ok := segment.Epoch(disk, o.Epoch); !ok || epoch != o.Epoch {
		t.Errorf("the likely log is taken for %x", epoch)
	}
	l, h := open(t, disk, 0)
	h.expect(t, 1, 100)
	if len(h.damaged) > 0 {
		t.Errorf("damage %v", h.damaged)
	}
	write(t, l, 101, 300)
	_ = l.Close()
	now := disk.Content()
	aside := 0
	for name, b := range now {
		if strings.HasPrefix(name, "log-0077.seg.orphan-") && slices.Equal(b, foreign[newest]) {
			aside++
		}
	}
	if aside != 1 || now["log-0077.seg"] != nil {
		t.Errorf("it is not put aside: %v", slices.Sorted(maps.Keys(now)))
	}
	_, h = open(t, segmenttest.New(now), 0)
	h.expect(t, 1, 300)
}

// Files that are there twice, one of them older, and files that lack their end.
func TestCopiesAndTruncatedFiles(t *testing.T) {
	disk := segmenttest.New(nil)
	l, _ := open(t, disk, 0)
	write(t, l, 1, 95)
	older := disk.Content()
	write(t, l, 96, 100)
	_ = l.Close()
	image := disk.Content()
	last := slices.Max(slices.Collect(maps.Keys(image)))
	for _, name := range []string{"log-0000.seg", "log-0001.seg", "log-0777.seg", "log-9999.seg"} {
		doubled := maps.Clone(image)
		first := doubled["log-0001.seg"]
		doubled[name] = slices.Clone(older[last])
		if name == "log-0001.seg" {
			doubled["log-0500.seg"] = first
		}
		_, h := open(t, segmenttest.New(doubled), 0)
		h.expect(t, 1, 100)
	}
	short := maps.Clone(image)
	short["log-0002.seg"] = short["log-0002.seg"][:9000]
	for _, after := range []uint64{0, 100} {
		l, h := open(t, segmenttest.New(short), after)
		read := 0
		if err := l.Scan(1, func(uint64, []byte) bool { read++; return true }); err != nil || read < 50 || read == 100 ||
			!strings.Contains(strings.Join(h.damaged, " "), "from byte 9000 to 16384") {
			t.Errorf("behind %d: read %d, %v, damage %v", after, read, err, h.damaged)
		}
	}
}

// Of two segments that were let go of, one is written anew and the other is not:
// what lay between is no damage at the next start.
func TestWhatWasLetGoOfIsNoDamage(t *testing.T) {
	disk := segmenttest.New(nil)
	h := &history{}
	o := options(disk, h)
	o.Budget = 4 * small
	l, err := segment.Open(o, 0, h.note(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	holes := 0
	for n := 1; n <= 600; n++ {
		write(t, l, n, n)
		if n%100 == 0 {
			l.Release(uint64(n), uint64(n))
		}
		l.Release(0, uint64(n))
		if n%7 > 0 {
			continue
		}
		again, h := open(t, segmenttest.New(disk.Content()), uint64(n))
		before := extents(again)[0].First - 1
		if err := again.Scan(before+1, func(number uint64, b []byte) bool {
			if string(b) != payload(int(number)) {
				t.Errorf("record %d is %.30q", number, b)
			}
			if number != before+1 {
				holes++
			}
			before = number
			return true
		}); err != nil || before != uint64(n) || len(h.damaged) > 0 {
			t.Fatalf("after %d: read up to %d, %v, damage %v", n, before, err, h.damaged)
		}
	}
	if holes == 0 {
		t.Error("there was nothing between")
	}
}

// extents are those of a log that is open.
func extents(l *segment.Log) []segment.Extent {
	all, err := l.Extents()
	if err != nil {
		panic(err)
	}
	return all
}
