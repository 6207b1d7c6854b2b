package mqtt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issue makes a certificate in dir, <name>.crt and <name>.key, signed by parent
// or by itself.
func issue(t *testing.T, dir, name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// A broker that asks for our certificate and has one of a CA of its own.
func TestBrokerOverTLS(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	ca, key := issue(t, dir, "ca", nil, nil)
	issue(t, dir, "broker", ca, key)
	issue(t, dir, "gateway", ca, key)
	m := startMosquitto(t, false, "cafile "+file("ca.crt")+"\ncertfile "+file("broker.crt")+"\nkeyfile "+file("broker.key")+"\nrequire_certificate true")
	h := newHome(t)
	full := Options{Broker: "mqtts://" + m.Address, CAFile: file("ca.crt"), CertFile: file("gateway.crt"), KeyFile: file("gateway.key")}
	h.run(full)
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	h.stop()

	stranger := full
	stranger.CAFile = "" // the system's roots do not know this CA
	h.run(stranger)
	eventually(t, "a broker that nobody vouches for is not trusted", func() bool {
		return strings.Contains(h.bridge.Status().Err, "certificate")
	})
	h.stop()

	stranger.CAFile = file("none.crt")
	stranger.Store, stranger.Registry, stranger.Commands = h.store, h.reg, h.cmds
	if _, err := New(stranger); err == nil || !strings.Contains(err.Error(), "none.crt") {
		t.Errorf("a CA file that is not there: %v", err)
	}
}

func TestBrokerThatDeniesSaysSo(t *testing.T) {
	passwords := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(passwords, nil, 0o600); err != nil { // nobody is known
		t.Fatal(err)
	}
	m := startMosquitto(t, false, "password_file "+passwords)
	h := newHome(t)
	h.run(Options{Broker: "mqtt://hg:wrong@" + m.Address})
	eventually(t, "refused", func() bool { return strings.Contains(strings.ToLower(h.bridge.Status().Err), "not author") })
	if err := h.bridge.Status().Err; !strings.Contains(err, `mqtt.user "hg"`) || !strings.Contains(err, "mqtt.password") {
		t.Errorf("the settings are not named: %s", err)
	}
	if s := h.bridge.Status(); strings.Contains(s.Err, "wrong") || strings.Contains(s.Broker, "wrong") {
		t.Errorf("the password shows: %+v", s)
	}
}
