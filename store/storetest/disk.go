package storetest

import (
	"math/rand/v2"
	"sync"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// Disk records what a program does to one file, and builds from it the images
// that a power cut could leave. What was synced is there; of what was not, each
// write may be there, be lost, or be torn at any sector.
type Disk struct {
	mu   sync.Mutex
	base []byte
	ops  []op
}

// op is one of: a write, a new size, a sync (both zero).
type op struct {
	off  int64
	data []byte
	size int64
}

// NewDisk begins with a file whose content is on disk.
func NewDisk(content []byte) *Disk { return &Disk{base: append([]byte(nil), content...)} }

// Write records a write. The bytes are copied.
func (d *Disk) Write(b []byte, off int64) { d.add(op{off: off, data: append([]byte(nil), b...)}) }

// Resize records that the file got longer.
func (d *Disk) Resize(size int64) { d.add(op{size: size}) }

// Sync records that everything before it is on disk.
func (d *Disk) Sync() { d.add(op{}) }

func (d *Disk) add(o op) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ops = append(d.ops, o)
}

// Len is how many operations were recorded.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ops)
}

// Cuts calls f with images of a cut before each operation and behind the last
// one, `each` of them for every place: all kept, all lost, and the others at
// random. f may keep the image.
func (d *Disk) Cuts(each int, r *rand.Rand, f func(at int, image []byte)) {
	synced := append([]byte(nil), d.base...)
	var pending []op
	for at := 0; ; at++ {
		for i := range each {
			image := append([]byte(nil), synced...)
			for _, o := range pending {
				image = o.survive(image, i, r)
			}
			f(at, image)
		}
		if at == len(d.ops) {
			return
		}
		if o := d.ops[at]; o.size != 0 || o.data != nil {
			pending = append(pending, o)
			continue
		}
		for _, o := range pending {
			synced = o.apply(synced)
		}
		pending = pending[:0]
	}
}

// survive applies what a power cut leaves of o.
func (o op) survive(image []byte, how int, r *rand.Rand) []byte {
	switch {
	case how == 0:
		return o.apply(image)
	case how == 1:
		return image
	case o.size != 0 || r.IntN(3) == 0:
		if r.IntN(2) == 0 {
			return o.apply(image)
		}
		return image
	}
	for from := 0; from < len(o.data); from += sector {
		if r.IntN(2) == 0 {
			part := o.data[from:min(from+sector, len(o.data))]
			image = op{off: o.off + int64(from), data: part}.apply(image)
		}
	}
	return image
}

func (o op) apply(image []byte) []byte {
	if need := max(o.size, o.off+int64(len(o.data))); need > int64(len(image)) {
		image = append(image, make([]byte, need-int64(len(image)))...)
	}
	copy(image[o.off:], o.data)
	return image
}
