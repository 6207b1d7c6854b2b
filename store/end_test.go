package store_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment"
)

// counted is a directory that counts what is read of the log's files.
type counted struct {
	segment.FS
	mu   sync.Mutex
	read int
}

func (c *counted) Open(name string, how segment.Mode) (segment.File, error) {
	f, err := c.FS.Open(name, how)
	return countedFile{f, c}, err
}

// since is how many bytes were read since it was asked last.
func (c *counted) since() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, c.read = c.read, 0
	return n
}

type countedFile struct {
	segment.File
	c *counted
}

func (f countedFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.c.mu.Lock()
	f.c.read += n
	f.c.mu.Unlock()
	return n, err
}

// A store that was closed knows where its log ends: the next start does not look
// for it. One that was killed, or whose note is damaged or of before, is searched.
func TestAStoreThatWasClosedIsNotSearched(t *testing.T) {
	dir := t.TempDir()
	fs := &counted{FS: segment.Dir(dir)}
	seq := uint64(0)
	start := func(says int) (read int) {
		t.Helper()
		fs.since()
		s := open(t, store.Options{Dir: dir, Commit: 0, FS: fs})
		read = fs.since()
		if s.Head() != store.Position(seq) {
			t.Errorf("the log ends at %d, want %d", s.Head(), seq)
		}
		for range says {
			seq++
			sayNow(t, s, "a", seq)
		}
		end(t, s)
		return read
	}
	const little = 16 << 10
	start(50)
	for range 3 {
		if n := start(0); n > little {
			t.Errorf("%d bytes of the log were read after it was closed", n)
		}
	}
	start(20)
	if n := start(0); n > little {
		t.Errorf("%d bytes of the log were read after it was closed again", n)
	}
	closed := copyOf(t, dir)
	start(20)
	before, err := os.ReadFile(filepath.Join(closed, "gateway.db"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "gateway.db"), before, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := start(0); n < little { // the note is of before, the log is not
		t.Errorf("%d bytes of the log were read, and the database is an older one", n)
	}
	if n := start(0); n > little {
		t.Errorf("%d bytes of the log were read after that", n)
	}
}

// Closing does not wait until all of a large log is sealed: the next start goes on
// with it, and each frame is there once.
func TestClosingLeavesWhatTakesTooLong(t *testing.T) {
	o := store.Options{Dir: t.TempDir(), Commit: 0}
	for run := range uint64(3) {
		s, err := store.OpenHasty(o)
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(200) {
			sayNow(t, s, "a", run*200+n+1)
		}
		end(t, s)
	}
	s, err := store.OpenUnsealed(o) // as the last one left it
	if err != nil {
		t.Fatal(err)
	}
	if left := s.Unsealed(); left == 0 {
		t.Error("all of it was sealed")
	}
	end(t, s)
	s = open(t, o)
	if n := frames(t, s); n != 600 || s.Head() != 600 {
		t.Errorf("%d frames of 600, the log ends at %d", n, s.Head())
	}
	end(t, s)
}
