// Package segmenttest is a disk in memory on which power is cut and writes fail.
package segmenttest

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/hearthgate/hearthgate/store/segment"
)

// Disk is a segment.FS in memory. It keeps a journal of all that is done to it,
// in order, from which Cuts builds what a power cut could leave: what was synced
// is there; of the rest, each write may be there, be lost, or be torn.
//
// A file that a program keeps elsewhere can be in the same journal: Put, Write
// and Sync say what becomes of it.
type Disk struct {
	// Fault, if set, is asked before each operation; its error is the
	// operation's. What names it: "open", "create", "read", "write", "sync",
	// "rename", "remove", "list" or "syncdir".
	Fault func(what, name string) error

	mu      sync.Mutex
	names   map[string]*node
	nodes   int
	base    Image
	first   map[string]int // nodes of base
	journal []op
	quiet   bool

	Writes, Syncs int   // so far
	Bytes         int64 // written
}

// Image is the content of a disk: name → bytes. It is not changed any more.
type Image map[string][]byte

// node is a file, whatever its name is.
type node struct {
	id   int
	data []byte
}

// op is one of the journal.
type op struct {
	node int // of a write or a sync; 0 = of the directory
	off  int64
	data []byte               // of a write
	size int64                // of a file that gets longer
	name func(map[string]int) // of a change of names
}

// New makes a disk with this content on it.
func New(content Image) *Disk {
	d := &Disk{names: map[string]*node{}, base: Image{}, first: map[string]int{}}
	for _, name := range slices.Sorted(maps.Keys(content)) {
		d.nodes++
		d.names[name] = &node{d.nodes, slices.Clone(content[name])}
		d.base[name], d.first[name] = content[name], d.nodes
	}
	return d
}

// Reborn is a disk with this content that keeps no journal.
func Reborn(content Image) *Disk {
	d := New(content)
	d.quiet = true
	return d
}

// Put says that a file kept elsewhere has this content, and that it is durable.
// It must come before everything else.
func (d *Disk) Put(name string, content []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nodes++
	d.names[name] = &node{d.nodes, nil}
	d.base[name], d.first[name] = slices.Clone(content), d.nodes
}

// Write says that a file kept elsewhere was written.
func (d *Disk) Write(name string, b []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(op{node: d.names[name].id, off: off, data: slices.Clone(b)})
}

// Resize says that a file kept elsewhere got longer.
func (d *Disk) Resize(name string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(op{node: d.names[name].id, size: size})
}

// Sync says that a file kept elsewhere was synced.
func (d *Disk) Sync(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(op{node: d.names[name].id})
}

// Len is how many operations are in the journal.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.journal)
}

// Content is what the files look like now, synced or not.
func (d *Disk) Content() Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	image := Image{}
	for name, n := range d.names {
		image[name] = slices.Clone(n.data)
	}
	return image
}

func (d *Disk) note(o op) {
	if !d.quiet {
		d.journal = append(d.journal, o)
	}
}

// begin asks for a fault and, if there is none, returns with mu held.
func (d *Disk) begin(what, name string) error {
	if f := d.Fault; f != nil {
		if err := f(what, name); err != nil {
			return err
		}
	}
	d.mu.Lock()
	return nil
}

// Open is of segment.FS, as are the next ones.
func (d *Disk) Open(name string, how segment.Mode) (segment.File, error) {
	what := "open"
	if how == segment.Direct {
		what = "open direct"
	}
	if err := d.begin(what, name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n := d.names[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return &file{d, n, name}, nil
}

// Create is of segment.FS.
func (d *Disk) Create(name string) (segment.File, error) {
	if err := d.begin("create", name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	d.nodes++
	n := &node{id: d.nodes}
	d.names[name] = n
	d.note(op{name: func(names map[string]int) { names[name] = n.id }})
	return &file{d, n, name}, nil
}

// Rename is of segment.FS.
func (d *Disk) Rename(from, to string) error {
	if err := d.begin("rename", from); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if d.names[from] == nil {
		return fs.ErrNotExist
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	d.note(op{name: func(names map[string]int) {
		names[to] = names[from]
		delete(names, from)
	}})
	return nil
}

// Remove is of segment.FS.
func (d *Disk) Remove(name string) error {
	if err := d.begin("remove", name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.names, name)
	d.note(op{name: func(names map[string]int) { delete(names, name) }})
	return nil
}

// List is of segment.FS.
func (d *Disk) List() ([]string, error) {
	if err := d.begin("list", ""); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names)), nil
}

// SyncDir is of segment.FS.
func (d *Disk) SyncDir() error {
	if err := d.begin("syncdir", ""); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.note(op{})
	return nil
}

// file is a segment.File of a Disk.
type file struct {
	d    *Disk
	n    *node
	name string
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	if err := f.d.begin("read", f.name); err != nil {
		return 0, err
	}
	defer f.d.mu.Unlock()
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes half of b when it fails.
func (f *file) WriteAt(b []byte, off int64) (int, error) {
	err := f.d.begin("write", f.name)
	if err != nil {
		b = b[:len(b)/2]
		f.d.mu.Lock()
	}
	defer f.d.mu.Unlock()
	f.n.data = write(f.n.data, b, off)
	f.d.note(op{node: f.n.id, off: off, data: slices.Clone(b)})
	f.d.Writes++
	f.d.Bytes += int64(len(b))
	if err == io.ErrShortWrite { // what a system call may do without an error
		return len(b), nil
	}
	return len(b), err
}

func (f *file) Sync() error {
	if err := f.d.begin("sync", f.name); err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	f.d.note(op{node: f.n.id})
	f.d.Syncs++
	return nil
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *file) Close() error { return nil }

// write puts b at off into data, which gets longer if it must.
func write(data, b []byte, off int64) []byte {
	if need := int(off) + len(b); need > len(data) {
		data = append(data, make([]byte, need-len(data))...)
	}
	copy(data[off:], b)
	return data
}

// state is what a replay of the journal knows: what is durable and what is not.
type state struct {
	names   map[string]int
	files   map[int][]byte
	renames []op         // not durable
	writes  map[int][]op // likewise, by file
}

// Cuts calls f with images of a cut before each operation and behind the last
// one, `each` of them for every place: all kept, all lost, and the others at
// random. f may keep the image.
func (d *Disk) Cuts(each int, r *rand.Rand, f func(at int, image Image)) {
	st := state{names: map[string]int{}, files: map[int][]byte{}, writes: map[int][]op{}}
	for name, id := range d.first {
		st.names[name], st.files[id] = id, d.base[name]
	}
	for at := 0; ; at++ {
		for i := range each {
			f(at, st.image(i, r))
		}
		if at == len(d.journal) {
			return
		}
		st.apply(d.journal[at])
	}
}

// apply takes the next operation of the journal in.
func (st *state) apply(o op) {
	switch {
	case o.name != nil:
		st.renames = append(st.renames, o)
	case o.node == 0:
		for _, o := range st.renames {
			o.name(st.names)
		}
		st.renames = nil
	case o.data != nil || o.size > 0:
		st.writes[o.node] = append(st.writes[o.node], o)
	default:
		content := slices.Clone(st.files[o.node])
		for _, w := range st.writes[o.node] {
			content = w.apply(content)
		}
		st.files[o.node] = content
		delete(st.writes, o.node)
	}
}

// image is what a cut leaves now. Names change in order, so of those that are
// not durable the first few are there.
func (st *state) image(how int, r *rand.Rand) Image {
	names := maps.Clone(st.names)
	kept := len(st.renames)
	switch {
	case how == 1:
		kept = 0
	case how > 1:
		kept = r.IntN(kept + 1)
	}
	for _, o := range st.renames[:kept] {
		o.name(names)
	}
	image := Image{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		id := names[name]
		content := st.files[id]
		if pending := st.writes[id]; len(pending) > 0 {
			content = slices.Clone(content)
			for _, o := range pending {
				content = o.survive(content, how, r)
			}
		}
		image[name] = content
	}
	return image
}

// survive applies what a power cut leaves of o.
func (o op) survive(content []byte, how int, r *rand.Rand) []byte {
	switch {
	case how == 0:
		return o.apply(content)
	case how == 1:
		return content
	case o.data == nil || r.IntN(3) == 0:
		if r.IntN(2) == 0 {
			return o.apply(content)
		}
		return content
	}
	unit := 512 // what a disk writes whole or not at all
	if how%2 == 0 {
		unit = 4096
	}
	for from := 0; from < len(o.data); {
		to := min(len(o.data), from+unit-(int(o.off)+from)%unit)
		if r.IntN(2) == 0 {
			content = write(content, o.data[from:to], o.off+int64(from))
		}
		from = to
	}
	return content
}

func (o op) apply(content []byte) []byte {
	if o.data != nil {
		return write(content, o.data, o.off)
	}
	if more := int(o.size) - len(content); more > 0 {
		content = append(content, make([]byte, more)...)
	}
	return content
}
