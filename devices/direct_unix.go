//go:build unix

package devices

import (
	"errors"
	"io"
	"syscall"
)

// canDirect says that sockets can be written and read without waiting.
const canDirect = true

// writeNow writes what a socket takes without waiting: Go's are non-blocking.
func writeNow(fd uintptr, b []byte) int {
	n, err := syscall.Write(int(fd), b)
	if err != nil {
		return 0
	}
	return n
}

// readNow reads what has arrived. Its n is -1 if that is nothing yet.
func readNow(fd uintptr, b []byte) (n int, err error) {
	for {
		switch n, err = syscall.Read(int(fd), b); {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return -1, nil
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
