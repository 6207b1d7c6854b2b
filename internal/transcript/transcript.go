// Package transcript holds what a program or a logger writes, for tests that look at
// it meanwhile.
package transcript

import (
	"bytes"
	"sync"
)

// Buffer keeps all that is written to it. It may be written and read at once; its zero
// value is empty.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is all that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
