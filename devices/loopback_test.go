package devices_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// The tests here use real sockets and real TLS on the loopback address.

// certificate is a self-signed one.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// listen serves a hub on loopback and returns its address and tokens.
func listen(t testing.TB, secure bool, n int) (addr string, hub *devices.Hub, tokens []string) {
	t.Helper()
	s, err := store.Open(store.Options{Dir: t.TempDir(), Commit: -1})
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.Open(s, protocol.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	_, tokens, err = r.AddMany("d", n)
	if err != nil {
		t.Fatal(err)
	}
	c, err := command.New(command.Options{Store: s, Registry: r})
	if err != nil {
		t.Fatal(err)
	}
	hub = devices.New(devices.Options{Store: s, Registry: r, Commands: c})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: hub, ReadHeaderTimeout: 10 * time.Second}
	server.SetKeepAlivesEnabled(false)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if !secure {
			server.Serve(l)
			return
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{certificate(t)}}
		server.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() {
		hub.Shutdown(context.Background())
		server.Close()
		<-served
		c.Close()
		s.Close()
	})
	return l.Addr().String(), hub, tokens
}

// dial makes a link and says hello.
func dial(addr string, secure bool, token string) (net.Conn, *bufio.Reader, error) {
	var conn net.Conn
	var err error
	if secure {
		conn, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	} else {
		conn, err = net.Dial("tcp", addr)
	}
	if err != nil {
		return nil, nil, err
	}
	var request bytes.Buffer
	request.WriteString("GET /device HTTP/1.1\r\nHost: localhost\r\n")
	devicetest.Handshake(token).Write(&request)
	request.WriteString("\r\n")
	conn.Write(request.Bytes())
	r := bufio.NewReaderSize(conn, 512)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, nil, fmt.Errorf("%s", answer.Status)
	}
	conn.Write(devicetest.WebSocketFrame(true, devicetest.OpBinary, protocol.Append(nil, devicetest.Hello(1))))
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, err
	}
	_, err = io.CopyN(io.Discard, r, int64(head[1]))
	return conn, r, err
}

// A device that is still sending when it is closed must learn why: a socket
// that is closed with unread data is reset, and the close frame lost with it.
func TestTheCloseCodeArrives(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "ws", true: "wss"}[secure], func(t *testing.T) {
			addr, _, tokens := listen(t, secure, 1)
			conn, r, err := dial(addr, secure, tokens[0])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			sent := make(chan error)
			go func() {
				_, err := conn.Write(devicetest.WebSocketFrame(true, devicetest.OpBinary, make([]byte, 300_000)))
				sent <- err
			}()
			if err := <-sent; err != nil {
				t.Errorf("sending: %v", err)
			}
			head := make([]byte, 4)
			if _, err := io.ReadFull(r, head); err != nil {
				t.Fatalf("no close frame: %v", err)
			}
			if code := int(head[2])<<8 | int(head[3]); head[0] != 0x88 || code != int(protocol.CloseTooBig) {
				t.Errorf("got % x", head)
			}
		})
	}
}

// What a socket has arrives in pieces of any size, and is read ahead of the frames.
// Frames from some bytes to more than one reading takes, their fragments and pings
// among them, come out whole.
func TestFramesInAnyPieces(t *testing.T) {
	addr, _, tokens := listen(t, false, 1)
	conn, r, err := dial(addr, false, tokens[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	random := mathrand.New(mathrand.NewPCG(1, 2))
	const frames = 40
	var stream []byte
	for seq := uint64(1); seq <= frames; seq++ {
		f := &protocol.Telemetry{Seq: seq}
		for range random.IntN(8) {
			f.Records = append(f.Records, protocol.Record{Name: "note", Value: protocol.Text(strings.Repeat("x", random.IntN(1024)))})
		}
		b := protocol.Append(nil, f)
		cut := random.IntN(len(b))
		stream = append(stream, devicetest.WebSocketFrame(false, devicetest.OpBinary, b[:cut])...)
		stream = append(stream, devicetest.WebSocketFrame(true, devicetest.OpPing, b[:min(cut, 125)])...)
		stream = append(stream, devicetest.WebSocketFrame(true, devicetest.OpContinuation, b[cut:])...)
	}
	sent := make(chan error, 1)
	go func() {
		for len(stream) > 0 {
			n := min(len(stream), 1<<random.IntN(14))
			if _, err := conn.Write(stream[:n]); err != nil {
				sent <- err
				return
			}
			stream = stream[n:]
		}
		sent <- nil
	}()
	for acked, pongs := uint64(0), 0; acked < frames || pongs < frames; {
		head := make([]byte, 2)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, head[1])
		if _, err := io.ReadFull(r, body); err != nil {
			t.Fatal(err)
		}
		if head[0] == 0x80|devicetest.OpPong {
			pongs++
			continue
		}
		f, err := protocol.Decode(body, protocol.Limits{})
		ack, ok := f.(protocol.Ack)
		if err != nil || !ok || ack.Seq <= acked || ack.Seq > frames {
			t.Fatalf("after %d: %x %v", acked, body, err)
		}
		acked = ack.Seq
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// BenchmarkIdleLink measures the memory that a link at rest holds: heap and
// stacks in use, after a collection, of a gateway whose devices live in another
// process. LINKS sets how many (2,000).
//
//	go test ./devices -run '^$' -bench IdleLink -benchtime 1x
func BenchmarkIdleLink(b *testing.B) {
	n := 2000
	if s := os.Getenv("LINKS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	for _, secure := range []bool{false, true} {
		b.Run(map[bool]string{false: "ws", true: "wss"}[secure], func(b *testing.B) {
			addr, hub, tokens := listen(b, secure, n)
			heap0, stack0 := inUse()
			child := exec.Command(os.Args[0], "-test.run=^TestIdleDevices$")
			child.Env = append(os.Environ(), "IDLE_ADDR="+addr, "IDLE_SECURE="+strconv.FormatBool(secure))
			child.Stdin = strings.NewReader(strings.Join(tokens, "\n") + "\n")
			hold, _ := child.StdoutPipe()
			child.Stderr = os.Stderr
			if err := child.Start(); err != nil {
				b.Fatal(err)
			}
			for hub.Status().Sessions < n {
				time.Sleep(50 * time.Millisecond)
				if child.ProcessState != nil {
					b.Fatal("the devices went")
				}
			}
			time.Sleep(2 * time.Second) // presence is stored, buffers are idle
			if f := os.Getenv("HEAPPROF"); f != "" {
				runtime.GC()
				w, _ := os.Create(f + map[bool]string{false: ".ws", true: ".wss"}[secure])
				pprof.WriteHeapProfile(w)
				w.Close()
			}
			heap, stack := inUse()
			b.ReportMetric(float64(heap-heap0)/float64(n), "heap-B/link")
			b.ReportMetric(float64(stack-stack0)/float64(n), "stack-B/link")
			b.ReportMetric(0, "ns/op")
			hold.Close()
			child.Process.Kill()
			child.Wait()
		})
	}
}

// inUse is the heap and the stacks in use.
func inUse() (heap, stack int64) {
	for range 6 { // each halves the stacks that are too large
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse), int64(m.StackInuse)
}

// TestIdleDevices is the devices' process of BenchmarkIdleLink; by itself it
// has nothing to do.
func TestIdleDevices(t *testing.T) {
	addr := os.Getenv("IDLE_ADDR")
	if addr == "" {
		return
	}
	secure, _ := strconv.ParseBool(os.Getenv("IDLE_SECURE"))
	tokens := bufio.NewScanner(os.Stdin)
	var all []net.Conn
	for tokens.Scan() {
		conn, _, err := dial(addr, secure, tokens.Text())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
	}
	time.Sleep(time.Minute)
	for _, c := range all {
		c.Close()
	}
}
