package devices

import (
	"crypto/tls"
	"math"
	"net"
	"testing"

	"github.com/hearthgate/hearthgate/protocol"
)

// frame is a client's frame header with a mask of zeroes, and n payload bytes.
func frame(first byte, length []byte, n int) []byte {
	return append(append(append([]byte{first}, length...), 0, 0, 0, 0), make([]byte, n)...)
}

func TestFrameHeadersThatMustNotPass(t *testing.T) {
	small := frame(0x82, []byte{0x80 | 5}, 5)
	fragments := func(n int) (b []byte) {
		b = frame(0x02, []byte{0x80 | 1}, 1)
		for range n {
			b = append(b, frame(0x00, []byte{0x80}, 0)...)
		}
		return b
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		good  int // bytes before the header that is refused
		code  protocol.CloseCode
	}{
		{"a small frame", small, len(small), 0},
		{"two in one read", append(small, small...), 2 * len(small), 0},
		{"unmasked is the library's to refuse", []byte{0x82, 1, 9}, 3, 0},
		{"16 bits", frame(0x82, []byte{0xfe, 0x01, 0x00}, 256), 8 + 256, 0},
		{"64 bits, small", frame(0x82, []byte{0xff, 0, 0, 0, 0, 0, 0, 0, 3}, 3), 14 + 3, 0},
		{"at the limit", frame(0x82, []byte{0xff, 0, 0, 0, 0, 0, 0, 0x04, 0x00}, 1024), 14 + 1024, 0},
		{"one above the limit", frame(0x82, []byte{0xff, 0, 0, 0, 0, 0, 0, 0x04, 0x01}, 1025), 0, protocol.CloseTooBig},
		{"top bit set", frame(0x82, []byte{0xff, 0x80, 0, 0, 0, 0, 0, 0, 1}, 0), 0, protocol.CloseFraming},
		{"all bits set", frame(0x82, []byte{0xff, 255, 255, 255, 255, 255, 255, 255, 255}, 0), 0, protocol.CloseFraming},
		{"2^32+5, which is 5 in 32 bits", frame(0x82, []byte{0xff, 0, 0, 0, 1, 0, 0, 0, 5}, 5), 0, protocol.CloseTooBig},
		{"2^63-1", frame(0x82, []byte{0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255}, 0), 0, protocol.CloseTooBig},
		{"a bad one after a good one", append(small, frame(0x82, []byte{0xff, 0x80, 0, 0, 0, 0, 0, 0, 1}, 0)...), len(small), protocol.CloseFraming},
		{"a bad control frame", frame(0x89, []byte{0xff, 0x80, 0, 0, 0, 0, 0, 0, 1}, 0), 0, protocol.CloseFraming},
		{"text", frame(0x81, []byte{0x80 | 5}, 5), 0, protocol.CloseText},
		{"fragments above the limit together", append(frame(0x02, []byte{0xfe, 0x02, 0x00}, 512), append(frame(0x00, []byte{0xfe, 0x02, 0x00}, 512), frame(0x80, []byte{0x81}, 1)...)...), 2 * (8 + 512), protocol.CloseTooBig},
		{"as many fragments as allowed", fragments(maxFragments - 1), 7 + 6*(maxFragments-1), 0},
		{"too many fragments", fragments(maxFragments), 7 + 6*(maxFragments-1), protocol.CloseTooBig},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int{math.MaxInt, 1, 3} {
				h := headers{limit: 1024}
				good, code := feed(&h, c.bytes, step)
				if code != c.code {
					t.Errorf("in steps of %d: code %d, want %d", step, code, c.code)
				}
				most := c.good
				if code != 0 { // of the header all but its last byte may pass
					h.header[0], h.header[1] = c.bytes[c.good], c.bytes[c.good+1]
					most += h.size() - 1
				}
				if good < c.good || good > most {
					t.Errorf("in steps of %d: %d bytes passed, want %d to %d", step, good, c.good, most)
				}
			}
		})
	}
}

// feed gives b to h in steps, as reads from a socket would.
func feed(h *headers, b []byte, step int) (good int, code protocol.CloseCode) {
	for len(b) > 0 {
		n := min(step, len(b))
		g, code := h.scan(b[:n])
		good += g
		if code != 0 {
			return good, code
		}
		b = b[n:]
	}
	return good, 0
}

func TestAMessageMayFollowAFragmentedOne(t *testing.T) {
	h := headers{limit: 10}
	for range 3 {
		for _, b := range [][]byte{frame(0x02, []byte{0x86}, 6), frame(0x89, []byte{0x88}, 8), frame(0x80, []byte{0x84}, 4)} {
			if _, code := h.scan(b); code != 0 {
				t.Fatalf("code %d: a control frame between fragments counts, or the sum is kept", code)
			}
		}
	}
}

// What a listener puts around its sockets is for strangers; a link reads and
// writes below it, but never below TLS.
func TestALinkIsBareButForTLS(t *testing.T) {
	socket, peer := net.Pipe()
	defer socket.Close()
	defer peer.Close()
	around := counted{socket}
	if got := bare(around); got != socket {
		t.Errorf("plain: got %T", got)
	}
	secure := tls.Server(around, &tls.Config{})
	if got := bare(secure); got != secure {
		t.Errorf("TLS: got %T", got)
	}
	if got := bare(socket); got != socket {
		t.Errorf("bare already: got %T", got)
	}
}

type counted struct{ net.Conn }

func (c counted) NetConn() net.Conn { return c.Conn }
