//go:build unix

package broker

import (
	"net"
	"syscall"
)

// socket writes to a TCP connection without waiting, which net.Conn cannot do.
type socket struct {
	raw   syscall.RawConn
	write func(fd uintptr) // made once
	batch []byte
	n     int
}

// socketOf returns nil for what is no TCP connection.
func socketOf(c net.Conn) *socket {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw: raw}
	s.write = func(fd uintptr) { s.n, _ = syscall.Write(int(fd), s.batch) } // an error comes again at the next write
	return s
}

// writeNow says how many bytes of batch the socket took at once. Nobody else may
// write at the time.
func (s *socket) writeNow(batch []byte) int {
	s.batch, s.n = batch, 0
	_ = s.raw.Control(s.write) // that it is closed, likewise
	s.batch = nil
	return max(s.n, 0)
}
