package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// columns is how wide the terminal is that f writes to or reads from; ok is false
// if it is none, /dev/null among others.
func columns(f any) (width int, ok bool) {
	file, isFile := f.(*os.File)
	if !isFile {
		return 0, false
	}
	var size struct{ rows, columns, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, false
	}
	if size.columns == 0 { // a serial line does not know
		return 80, true
	}
	return int(size.columns), true
}

func isTerminal(f any) bool {
	_, ok := columns(f)
	return ok
}

// confirmed asks a person; where nobody can be asked the command line is enough.
func confirmed(in io.Reader, to io.Writer, question string) (bool, error) {
	if !isTerminal(in) {
		return true, nil
	}
	return asked(in, to, question)
}

func asked(in io.Reader, to io.Writer, question string) (bool, error) {
	fmt.Fprint(to, question, " [y/N] ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}
