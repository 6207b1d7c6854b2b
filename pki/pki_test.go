package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// home is a host whose names, log and directory a test can see and change.
type home struct {
	dir string
	log proctest.Transcript

	mu    sync.Mutex
	hosts []string
}

func newHome(t *testing.T, hosts ...string) *home {
	t.Helper()
	return &home{dir: filepath.Join(t.TempDir(), "ca"), hosts: hosts}
}

func (h *home) options() Options {
	return Options{Dir: h.dir, Log: slog.New(slog.NewTextHandler(&h.log, nil)), Hosts: func() []string {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.hosts
	}}
}

func (h *home) rename(hosts ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hosts = hosts
}

func (h *home) open(t *testing.T) *PKI {
	t.Helper()
	p, err := Open(h.options())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// visit shakes hands as a client that trusts ca alone and asks for host.
func visit(t *testing.T, p *PKI, ca []byte, host string) error {
	t.Helper()
	root, err := x509.ParseCertificate(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	served := make(chan error, 1)
	go func() { served <- tls.Server(ours, p.TLSConfig()).Handshake() }()
	client := tls.Client(theirs, &tls.Config{RootCAs: roots, ServerName: host, NextProtos: []string{"h2", "http/1.1"}})
	err = client.Handshake()
	if err != nil {
		theirs.Close()
		<-served
		return err
	}
	if err := <-served; err != nil {
		t.Fatalf("the server's side: %v", err)
	}
	state := client.ConnectionState()
	if state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("protocol %q, want http/1.1: a WebSocket upgrade needs it", state.NegotiatedProtocol)
	}
	if sent := state.PeerCertificates; len(sent) != 2 || !bytes.Equal(sent[1].Raw, ca) {
		t.Errorf("the chain has %d certificates, want the server's and the CA's", len(sent))
	}
	return nil
}

func TestAFreshHomeServesAClientThatTrustsOnlyItsCA(t *testing.T) {
	h := newHome(t, "localhost", "pi.local", "192.168.1.7", "::1")
	p := h.open(t)
	for _, host := range []string{"localhost", "pi.local", "192.168.1.7", "::1"} {
		if err := visit(t, p, p.CA(), host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := visit(t, p, p.CA(), "elsewhere.local"); err == nil {
		t.Error("a name that is not ours was accepted")
	}
	other := newHome(t, "localhost").open(t)
	if err := visit(t, p, other.CA(), "localhost"); err == nil {
		t.Error("a client that trusts another home's CA accepted ours")
	}

	onDisk, err := os.ReadFile(p.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(onDisk); block == nil || !bytes.Equal(block.Bytes, p.CA()) {
		t.Error("CAFile does not hold CA")
	}
	for name, want := range map[string]os.FileMode{".": os.ModeDir | 0o700, caKeyFile: 0o600, leafFile: 0o600} {
		info, err := os.Stat(filepath.Join(h.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
}

func TestCertificatesKeepToTheirDates(t *testing.T) {
	p := newHome(t, "localhost").open(t)
	ca := p.authority.certificate
	if got := ca.NotBefore.Format(time.DateOnly); got != "2020-01-01" {
		t.Errorf("the CA begins %s", got)
	}
	if got := ca.NotAfter.Format(time.DateOnly); got != "2050-01-01" {
		t.Errorf("the CA ends %s", got)
	}
	leaf := p.Leaf()
	if life := leaf.NotAfter.Sub(leaf.NotBefore) + time.Second; life > 397*24*time.Hour {
		t.Errorf("the server certificate lives %v, more than 397 days", life)
	}
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("the server certificate could sign others")
	}
}

func TestARestartKeepsEverything(t *testing.T) {
	h := newHome(t, "localhost")
	before := h.open(t)
	after := h.open(t)
	if before.Fingerprint() != after.Fingerprint() {
		t.Error("another CA after a restart")
	}
	if !before.Leaf().Equal(after.Leaf()) {
		t.Error("another server certificate after a restart, without need")
	}
}

func TestRenewalWithoutARestart(t *testing.T) {
	h := newHome(t, "localhost")
	synctest.Test(t, func(t *testing.T) {
		// The clock of the bubble starts in 2000, before our CA is valid.
		time.Sleep(time.Until(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)))
		p := h.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { defer close(stopped); p.Run(ctx) }()

		ca, leaves := p.CA(), map[string]bool{}
		for range 40 { // 400 days, with a look every tenth
			time.Sleep(10 * 24 * time.Hour)
			synctest.Wait()
			if err := visit(t, p, ca, "localhost"); err != nil {
				t.Fatalf("%v: %v", time.Now(), err)
			}
			leaves[p.Leaf().SerialNumber.String()] = true
		}
		if n := len(leaves); n != 2 {
			t.Errorf("%d certificates in 400 days", n)
		}
		cancel()
		<-stopped
	})
}

func TestANewAddressIsServedWithinAMinute(t *testing.T) {
	h := newHome(t, "localhost", "192.168.1.7")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)))
		p := h.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { defer close(stopped); p.Run(ctx) }()

		h.rename("localhost", "192.168.1.8")
		time.Sleep(checkEvery)
		synctest.Wait()
		if err := visit(t, p, p.CA(), "192.168.1.8"); err != nil {
			t.Errorf("after the address changed: %v", err)
		}
		was := p.Leaf()
		h.rename("localhost") // the cable is out
		time.Sleep(checkEvery)
		synctest.Wait()
		if p.Leaf() != was {
			t.Error("an address that went away cost a certificate")
		}
		cancel()
		<-stopped
	})
}

func TestAClockInThePast(t *testing.T) {
	h := newHome(t, "localhost")
	built := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	synctest.Test(t, func(t *testing.T) {
		o := h.options()
		o.Built = built
		p, err := Open(o) // in the year 2000
		if err != nil {
			t.Fatal(err)
		}
		if leaf := p.Leaf(); built.Before(leaf.NotBefore) || built.Add(300*24*time.Hour).After(leaf.NotAfter) {
			t.Errorf("valid from %v to %v: not around the build date", leaf.NotBefore, leaf.NotAfter)
		}
		made := p.Leaf()
		if err := p.check(); err != nil || p.Leaf() != made {
			t.Errorf("made another under a clock that cannot be right (%v)", err)
		}
		time.Sleep(time.Until(built.Add(2*365*24*time.Hour)) + time.Hour) // the network tells the time
		if err := p.check(); err != nil {
			t.Fatal(err)
		}
		if err := visit(t, p, p.CA(), "localhost"); err != nil {
			t.Errorf("with the right time: %v", err)
		}
	})
}

func TestDamage(t *testing.T) {
	tests := []struct {
		name   string
		harm   func(t *testing.T, dir string)
		sameCA bool
		says   string
	}{
		{"the CA's certificate is gone", func(t *testing.T, dir string) { remove(t, dir, caCertFile) }, true, ""},
		{"the CA's certificate is cut short", func(t *testing.T, dir string) { cut(t, dir, caCertFile) }, true, "made again from its key"},
		{"the server certificate is gone", func(t *testing.T, dir string) { remove(t, dir, leafFile) }, true, "first start"},
		{"the server certificate is cut short", func(t *testing.T, dir string) { cut(t, dir, leafFile) }, true, "made anew"},
		{"the CA's key is cut short", func(t *testing.T, dir string) { cut(t, dir, caKeyFile) }, false, "devices that trust the old one must be paired again"},
		{"the CA's key is another's", func(t *testing.T, dir string) {
			other := newHome(t, "localhost")
			other.open(t)
			text, err := os.ReadFile(filepath.Join(other.dir, caKeyFile))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, caKeyFile, text)
		}, false, "belongs to another key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHome(t, "localhost")
			before := h.open(t)
			tt.harm(t, h.dir)
			after := h.open(t)
			if same := before.Fingerprint() == after.Fingerprint(); same != tt.sameCA {
				t.Errorf("same CA: %v, want %v", same, tt.sameCA)
			}
			if err := visit(t, after, after.CA(), "localhost"); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if !strings.Contains(h.log.String(), tt.says) {
				t.Errorf("the log lacks %q:\n%s", tt.says, h.log.String())
			}
		})
	}
}

func TestDamageIsSetAsideNotDestroyed(t *testing.T) {
	h := newHome(t, "localhost")
	h.open(t)
	write(t, h.dir, caKeyFile, []byte("one"))
	h.open(t)
	write(t, h.dir, caKeyFile, []byte("two"))
	h.open(t)
	for name, want := range map[string]string{"ca.key.damaged-1": "one", "ca.key.damaged-2": "two"} {
		got, err := os.ReadFile(filepath.Join(h.dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
		}
	}
}

// A key that cannot be read today may be there tomorrow: a new CA would part
// every device from its home.
func TestAnUnreadableKeyIsNotReplaced(t *testing.T) {
	h := newHome(t, "localhost")
	h.open(t)
	remove(t, h.dir, caKeyFile)
	if err := os.Mkdir(filepath.Join(h.dir, caKeyFile), 0o700); err != nil { // reading it fails, for root too
		t.Fatal(err)
	}
	if _, err := Open(h.options()); err == nil || !strings.Contains(err.Error(), "read the key of the local CA") {
		t.Errorf("opened, or another error: %v", err)
	}
}

func TestOwnFilesAreReloaded(t *testing.T) {
	dir := t.TempDir()
	first, second := newHome(t, "one.example", "home.example").open(t), newHome(t, "two.example", "home.example").open(t)
	cert, key := filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem")
	put := func(p *PKI, when time.Duration, files ...string) {
		text, err := os.ReadFile(filepath.Join(p.opts.Dir, leafFile))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			write(t, dir, filepath.Base(f), text)
			if err := os.Chtimes(f, time.Time{}, time.Now().Add(when)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(first, 0, cert, key)
	h := newHome(t)
	o := h.options()
	o.Certificate, o.Key = cert, key
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if p.CA() != nil || p.CAFile() != "" {
		t.Error("a local CA beside a certificate of one's own")
	}
	if err := visit(t, p, first.CA(), "home.example"); err != nil {
		t.Errorf("at first: %v", err)
	}

	put(second, time.Second, cert) // half of a renewal
	if p.report(p.check()); !strings.Contains(h.log.String(), "private key does not match") {
		t.Errorf("a pair that does not fit was not reported: %s", h.log.String())
	}
	if err := visit(t, p, first.CA(), "home.example"); err != nil {
		t.Errorf("during the renewal: %v", err)
	}
	put(second, time.Second, key) // the other half
	p.report(p.check())
	if err := visit(t, p, second.CA(), "home.example"); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
}

func TestOwnFilesThatCannotBeUsed(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "nothing.pem")
	for name, tt := range map[string]struct {
		o    Options
		says string
	}{
		"only one is named": {Options{Certificate: missing}, "belong together"},
		"not there":         {Options{Certificate: missing, Key: missing}, "nothing.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(tt.o); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
		})
	}
}

func TestTroubleIsSaidOnce(t *testing.T) {
	h := newHome(t, "localhost")
	p := h.open(t)
	h.rename() // nothing to make a certificate for, and the old one is gone
	p.current.Store(nil)
	if err := os.Remove(filepath.Join(h.dir, leafFile)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.report(p.check())
	}
	if n := strings.Count(h.log.String(), "no name or address"); n != 1 {
		t.Errorf("said %d times:\n%s", n, h.log.String())
	}
}

// The certificate is a function of the key, so that a lost one comes back.
func TestTheCACertificateIsAFunctionOfItsKey(t *testing.T) {
	key := newHome(t, "localhost").open(t).authority.key
	one, err := caCertificate(key)
	if err != nil {
		t.Fatal(err)
	}
	two, err := caCertificate(key)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Error("two certificates of one key differ")
	}
}

func TestHosts(t *testing.T) {
	hosts := Hosts()
	for _, want := range []string{"localhost", "127.0.0.1", "::1"} {
		if !strings.Contains(" "+strings.Join(hosts, " ")+" ", " "+want+" ") {
			t.Errorf("%s is not among %v", want, hosts)
		}
	}
	for name, want := range map[string]string{
		"raspberrypi":     "raspberrypi raspberrypi raspberrypi.local",
		"Pi.Example.ORG.": "pi.example.org pi pi.local",
		"küche":           "",
		"":                "",
	} {
		if got := strings.Join(namesOf(name), " "); got != want {
			t.Errorf("namesOf(%q) = %q, want %q", name, got, want)
		}
	}
	addr := func(s string) net.Addr { return &net.IPNet{IP: net.ParseIP(s)} }
	got := strings.Join(union([]string{"a", "a"}, []net.Addr{addr("10.0.0.1"), addr("fe80::1"), addr("10.0.0.1"), addr("fd00::1")}), " ")
	if got != "a 10.0.0.1 fd00::1" {
		t.Errorf("union = %q", got)
	}
}

func write(t *testing.T, dir, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()/2); err != nil {
		t.Fatal(err)
	}
}
