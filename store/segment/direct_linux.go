package segment

import (
	"os"
	"syscall"
)

// directFlags open a file for writes that go past the cache and return when
// they are durable.
const directFlags = syscall.O_DIRECT | syscall.O_DSYNC

// dataSync makes the content of f durable, not its times.
func dataSync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
