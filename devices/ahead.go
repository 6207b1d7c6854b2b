package devices

import (
	"bufio"
	"sync"
)

// aheadSize is the most that one system call reads from a device's socket.
const aheadSize = 4 << 10

// ahead is what was read from the bare socket of a link and not taken yet. Its
// space is borrowed while there is something in it, so that a link at rest has none.
// The zero value is empty; all of it is the reader's.
type ahead struct {
	rest  []byte
	err   error
	space *[aheadSize]byte
	fill  func(fd uintptr) (done bool) // read, made once
}

var aheadSpaces = sync.Pool{New: func() any { return new([aheadSize]byte) }}

// read is what the runtime calls when the socket may have something. It says done,
// with bytes or an error, or that the wait goes on.
func (a *ahead) read(fd uintptr) (done bool) {
	a.space = aheadSpaces.Get().(*[aheadSize]byte)
	n, err := readNow(fd, a.space[:])
	if a.err = err; n > 0 {
		a.rest = a.space[:n]
		return true
	}
	a.drop()
	return n == 0
}

// take moves the next bytes into p.
func (a *ahead) take(p []byte) int {
	n := copy(p, a.rest)
	if a.rest = a.rest[n:]; len(a.rest) == 0 {
		a.drop()
	}
	return n
}

// drop gives the space back, with what is in it.
func (a *ahead) drop() {
	if a.space != nil {
		aheadSpaces.Put(a.space)
	}
	a.rest, a.space = nil, nil
}

// reader is the buffer through which the library reads. Over the bare socket it is for
// headers only, as much is read ahead below it; TLS wants larger reads.
func (g *guard) reader() *bufio.Reader {
	if g.raw != nil {
		return bufio.NewReaderSize(g, 64)
	}
	return bufio.NewReaderSize(g, 512)
}
