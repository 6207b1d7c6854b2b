package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a contender's server.
type process struct {
	cmd   *exec.Cmd
	log   string
	input io.Closer // that ends it when closed, nil = a signal does
	ended chan struct{}
	once  sync.Once
}

// startProcess starts a server. Its words go to a file beside the disks.
func (b *bench) startProcess(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: fmt.Sprintf("%s/%s.log", b.dir, name), ended: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // an interrupted run leaves nothing behind
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		cmd.Wait()
		close(p.ended)
	}()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.processes = append(b.processes, p)
	return p, nil
}

// listening waits until the address accepts.
func (p *process) listening(address string) error {
	for range 3000 {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-p.ended:
			return fmt.Errorf("it ended: %s", p.words())
		}
	}
	return fmt.Errorf("nothing listens on %s after half a minute: %s", address, p.words())
}

// words are the last that the server said.
func (p *process) words() string {
	b, _ := os.ReadFile(p.log)
	return string(bytes.TrimSpace(b[max(0, len(b)-600):]))
}

// stop ends the server cleanly and waits for it; one that does not end within
// half a minute is killed.
func (p *process) stop() {
	p.once.Do(func() {
		if p.input != nil {
			p.input.Close()
		} else {
			p.cmd.Process.Signal(syscall.SIGTERM)
		}
		select {
		case <-p.ended:
		case <-time.After(30 * time.Second):
			p.cmd.Process.Kill()
			<-p.ended
		}
	})
}

// cpu is the time, user and system, that the process has used (proc(5), stat
// fields 14 and 15; the clock tick is 10 ms on each Linux that Go runs on).
func (p *process) cpu() time.Duration {
	select {
	case <-p.ended:
		return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	default:
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// handedOver is how many bytes the process made dirty or wrote directly.
func (p *process) handedOver() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(b), "\nwrite_bytes: ")
	count, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(count, 10, 64)
	return n
}

// freeAddress is a loopback address that nothing listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
