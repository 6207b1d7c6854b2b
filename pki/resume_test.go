package pki

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
)

// A device that keeps its ticket comes back without our signature and without
// checking our chain.
func TestADeviceThatComesBackResumes(t *testing.T) {
	p := newHome(t, "localhost").open(t)
	root, err := x509.ParseCertificate(p.CA())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	server := p.TLSConfig()
	device := &tls.Config{RootCAs: roots, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for _, resumed := range []bool{false, true, true} {
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() {
			_, err := tls.Server(ours, server).Write([]byte("welcome"))
			served <- err
		}()
		client := tls.Client(theirs, device)
		if _, err := io.ReadFull(client, make([]byte, 7)); err != nil { // the ticket comes with the first bytes
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		if got := client.ConnectionState().DidResume; got != resumed {
			t.Errorf("resumed: %v, want %v", got, resumed)
		}
		theirs.Close()
		ours.Close()
	}
}
