package main

import (
	"net"
	"sync"
	"testing"
	"time"
)

// When the bad weather ends nothing hangs any more, not even a link of which the
// fault strikes at that moment.
func TestNothingHangsAfterTheCalm(t *testing.T) {
	for range 20_000 {
		c := newChaos(1, false)
		ours, theirs := net.Pipe()
		f := &faulty{Conn: ours, chaos: c, ended: make(chan struct{}), timer: time.NewTimer(time.Hour)}
		c.links[f] = true
		var both sync.WaitGroup
		both.Go(func() { f.fail(1) })
		both.Go(c.calm)
		both.Wait()
		select {
		case <-f.ended:
		default:
			if f.dark.Load() {
				t.Fatal("a half-open link stays")
			}
		}
		f.Close()
		theirs.Close()
	}
}
