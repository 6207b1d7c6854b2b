package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// terminal is a pseudo-terminal: what is typed into person is read from program,
// and the other way round.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { _ = person.Close() })
	var unlock, number int32
	size := [4]uint16{24, 60, 0, 0}
	for _, call := range []struct {
		request uintptr
		value   unsafe.Pointer
	}{{syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)}, {syscall.TIOCGPTN, unsafe.Pointer(&number)}, {syscall.TIOCSWINSZ, unsafe.Pointer(&size)}} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), call.request, uintptr(call.value)); errno != 0 {
			t.Fatal(errno)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// shown is what a terminal shows of a command.
func shown(t *testing.T, args ...string) string {
	t.Helper()
	person, program := terminal(t)
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(""))
	root.SetOut(io.Discard)
	root.SetErr(program)
	must(t, root.ExecuteContext(t.Context()))
	must(t, program.Close())
	text, _ := io.ReadAll(person) // EIO is the end
	return string(text)
}

// A person sees how far it is, nobody else does, and nothing of it stays.
func TestProgress(t *testing.T) {
	data, backup := spoken(t, 300)
	file := filepath.Join(t.TempDir(), "home.jsonl")
	restored := filepath.Join(t.TempDir(), "restored")
	for _, c := range []struct {
		says string
		args []string
	}{
		{"Saving", []string{"backup", backup, "--data", data}},
		{"Verifying", []string{"backup", "--verify", backup}},
		{"Verifying", []string{"restore", backup, "--data", restored}},
		{"Exporting", []string{"export", "--format", "jsonl", "-o", file, "--data", data}},
		{"Importing", []string{"import", file, "--data", data}},
	} {
		text := shown(t, c.args...)
		if !strings.Contains(text, "\r"+c.says+"  ") || !strings.HasSuffix(text, "\r\x1b[K") {
			t.Errorf("%v shows %q", c.args, text)
		}
		for line := range strings.SplitSeq(strings.ReplaceAll(text, "\x1b[K", ""), "\r") {
			if len([]rune(line)) >= 60 {
				t.Errorf("%v: wider than the terminal: %q", c.args, line)
			}
		}
		if c.args[0] == "restore" {
			must(t, os.RemoveAll(restored))
		}
		if text := shown(t, append(c.args, "--quiet")...); text != "" {
			t.Errorf("%v --quiet shows %q", c.args, text)
		}
		if c.args[0] == "restore" {
			must(t, os.RemoveAll(restored))
		}
		if _, errs, err := typed(t, "", c.args...); err != nil || errs != "" {
			t.Errorf("%v for a script: %q %v", c.args, errs, err)
		}
	}
}

func TestProgressSaysHowLong(t *testing.T) {
	began := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	p := &progress{width: 60, what: "Saving", of: 100 << 20, at: 25 << 20, began: began}
	if line := p.line(began.Add(10 * time.Second)); !strings.Contains(line, " 25 %  25.0 MB of 100.0 MB  30s left") {
		t.Errorf("%q", line)
	}
	p.of = 0
	if line := p.line(began); line != "Saving  25.0 MB" {
		t.Errorf("%q", line)
	}
}

func TestATerminalIsKnown(t *testing.T) {
	_, program := terminal(t)
	if width, ok := columns(program); !ok || width != 60 {
		t.Errorf("the terminal is %d wide, %v", width, ok)
	}
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer func() { _ = null.Close() }()
	r, w, err := os.Pipe()
	must(t, err)
	defer func() { _, _ = r.Close(), w.Close() }()
	for _, f := range []any{null, r, w, &bytes.Buffer{}, strings.NewReader("")} {
		if isTerminal(f) {
			t.Errorf("%v is taken for a terminal", f)
		}
	}
}

// A person is asked before a device is forgotten; a script is not.
func TestRemovingADeviceAsksAPerson(t *testing.T) {
	data := newHome(t)
	for _, id := range []string{"kitchen", "hall", "attic"} {
		mustType(t, "device", "add", id, "--data", data)
	}
	remove := func(answer string, args ...string) error {
		person, program := terminal(t)
		_, err := io.WriteString(person, answer)
		must(t, err)
		root := rootCommand()
		root.SetArgs(append([]string{"device", "remove", "--data", data}, args...))
		root.SetIn(program)
		root.SetOut(io.Discard)
		root.SetErr(program)
		return root.ExecuteContext(t.Context())
	}
	if err := remove("n\n", "kitchen"); err == nil {
		t.Error("it was removed although the person said no")
	}
	if err := remove("\n", "kitchen"); err == nil {
		t.Error("it was removed although the person said nothing")
	}
	if out := mustType(t, "device", "list", "--data", data); !strings.Contains(out, "kitchen") {
		t.Error(out)
	}
	must(t, remove("y\n", "kitchen"))
	must(t, remove("", "hall", "--yes"))
	if out := mustType(t, "device", "remove", "attic", "--data", data); !strings.Contains(out, "store.retain") {
		t.Error(out)
	}
	if out := mustType(t, "device", "list", "--data", data); !strings.Contains(out, "No devices") {
		t.Error(out)
	}
}
