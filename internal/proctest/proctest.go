// Package proctest is what tests need of programs that run beside them: a place to
// listen, what they said, and to wait for what they do.
package proctest

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// Transcript keeps what a program or a logger writes, and may be read meanwhile. Its
// zero value is empty.
type Transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *Transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was written so far.
func (l *Transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Until waits for something that another process does. It polls, because there is
// nothing to wait on, and fails after a time that no healthy machine needs.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
		<-tick.C
	}
}

// FreeAddress is one of the loopback that nobody listens on.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
