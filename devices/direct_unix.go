//go:build unix

package devices

import "syscall"

const canWriteNow = true

// writeNow writes what a socket takes without waiting: Go's are non-blocking.
func writeNow(fd uintptr, b []byte) int {
	n, err := syscall.Write(int(fd), b)
	if err != nil {
		return 0
	}
	return n
}
