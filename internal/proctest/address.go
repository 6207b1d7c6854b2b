package proctest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddress is an address of the loopback for a program to listen on. Nobody who
// asks here, in this process or another, gets the same one while the test runs.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		// Below what systems give to outgoing connections, thousands of which come
		// and go while packages are tested at the same time.
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000))
		if reserve(t, address) {
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// reserve takes the UDP port of the same number, which nothing that is tested uses,
// as a sign to others; a program can listen on the TCP port.
func reserve(t testing.TB, address string) bool {
	sign, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		_ = sign.Close()
		return false
	}
	_ = l.Close()
	t.Cleanup(func() { _ = sign.Close() })
	return true
}
