package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A process is a server under measurement, on a core of its own.
type process struct {
	cmd   *exec.Cmd
	log   string
	began time.Time
	ended chan struct{}
	watch string // where perf writes what it sees in a window, "" = nowhere

	watching sync.WaitGroup // perf, whose file is whole only when it has ended
}

// startProcess starts a server on that core. Its output goes to a file, whose
// end is shown when the server fails.
func startProcess(core, log string, args ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{
		cmd:   exec.Command("taskset", append([]string{"-c", core}, args...)...),
		log:   log,
		ended: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // an interrupted run leaves nothing behind
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// listening waits until each of the addresses accepts.
func (p *process) listening(addresses ...string) error {
	for _, a := range addresses {
		for {
			c, err := net.Dial("tcp", a)
			if err == nil {
				c.Close()
				break
			}
			if err := p.wait(time.Millisecond); err != nil {
				return fmt.Errorf("waiting for %s: %w", a, err)
			}
		}
	}
	return nil
}

// maxStart is how long a server may take until it listens.
const maxStart = 2 * time.Minute

// wait lets d pass. The error is the server's own last words, if it has ended
// or never gets ready.
func (p *process) wait(d time.Duration) error {
	select {
	case <-time.After(d):
		if time.Since(p.began) < maxStart {
			return nil
		}
	case <-p.ended:
	}
	words, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s: %s", p.cmd.Args[3], bytes.TrimSpace(words[max(0, len(words)-600):]))
}

// stop ends the server and waits for it: SIGTERM, and SIGKILL after 20 s.
func (p *process) stop() {
	p.watching.Wait()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		p.kill()
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// window is called when a measurement of that length begins.
func (p *process) window(d time.Duration) {
	if p.watch == "" {
		return
	}
	perf := exec.Command("perf", "record", "-q", "-e", "cpu-clock", "-F", "997", "-g", "-o", p.watch,
		"-p", strconv.Itoa(p.pid()), "--", "sleep", strconv.Itoa(int(d.Seconds())))
	perf.Stdout, perf.Stderr = os.Stderr, os.Stderr
	if err := perf.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "perf:", err)
		return
	}
	p.watching.Go(func() { perf.Wait() })
}

// quiet waits until the server has nothing to do: below 2 % of its core for a
// second. One that never rests gets half a minute.
func (p *process) quiet() {
	for range 30 {
		used := p.cpu()
		time.Sleep(time.Second)
		if p.cpu()-used <= 20*time.Millisecond {
			return
		}
	}
}

// cpu is the CPU time, user and system, that a process has used (proc(5), stat
// fields 14 and 15; the clock tick is 10 ms on each Linux that Go runs on).
func cpu(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	if errors.Join(err1, err2) != nil {
		return 0
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// rss is the resident memory of the process in KiB.
func (p *process) rss() float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.pid()))
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(string(fields[1]))
	return float64(pages*os.Getpagesize()) / 1024
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) cpu() time.Duration { return cpu(p.pid()) }

// freeAddress is a loopback address that nothing listens on. Its port is below
// those that the kernel gives to clients (ip_local_port_range begins at 32768),
// since one of theirs in TIME_WAIT would keep a server from listening.
func freeAddress() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", 20000+rand.IntN(12000)))
		if err == nil {
			defer l.Close()
			return fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port), nil
		}
	}
	return "", errors.New("no free port between 20000 and 32000")
}
