// Package proctest is what tests need of programs that run beside them: a place to
// listen, what they said, and to wait for what they do.
package proctest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
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

// Process is a program that runs until it is stopped, at the latest when its test ends.
type Process struct {
	Said *Transcript // on both outputs

	t     testing.TB
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended, after ended is closed
}

// Start starts a program. What it said is in the log of a test that failed.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Said: &Transcript{}, t: t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Said, p.Said
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v (make setup installs what the tests need)", cmd.Path, err)
	}
	go func() { p.err = cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("what %s said:\n%s", filepath.Base(cmd.Path), p.Said)
		}
	})
	return p
}

// End sends a signal and waits for the end; the error is that of [exec.Cmd.Wait].
func (p *Process) End(sig os.Signal) error {
	_ = p.cmd.Process.Signal(sig)
	return p.Wait()
}

// Kill ends it as a power cut would.
func (p *Process) Kill() { _ = p.End(syscall.SIGKILL) }

// Stop ends it as a service manager does.
func (p *Process) Stop() { _ = p.End(syscall.SIGTERM) }

// Pid is its number.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Wait waits for the end; the error is that of [exec.Cmd.Wait].
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}

// Running is true until the program ends.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Until waits for something that the program does. The test fails when it ends instead.
func (p *Process) Until(what string, ok func() bool) {
	p.t.Helper()
	Until(p.t, what, func() bool {
		running := p.Running() // asked first: what it did before its end counts
		if ok() {
			return true
		}
		if !running {
			p.t.Fatalf("%s: %s ended instead: %v", what, filepath.Base(p.cmd.Path), p.err)
		}
		return false
	})
}

// Answers waits until the program listens on a TCP address.
func (p *Process) Answers(address string) {
	p.t.Helper()
	p.Until("something listens on "+address, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
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
