package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	leafFile = "server.pem" // key and chain together, so that no crash parts them

	leafLife    = 397 * 24 * time.Hour // browsers refuse longer ones
	leafRenewal = 30 * 24 * time.Hour  // a new one this long before the end
	leafSlack   = 7 * 24 * time.Hour   // for clients whose clock is behind
)

// checkIssued sees to it that the server certificate in use comes from our
// authority, is valid for a good while, and covers all of today's hosts.
func (p *PKI) checkIssued() error {
	hosts := p.opts.Hosts()
	path := filepath.Join(p.opts.Dir, leafFile)
	why := "first start"
	if p.current.Load() == nil {
		kept, err := p.authority.loadLeaf(path)
		switch {
		case err == nil:
			p.current.Store(kept)
		case !errors.Is(err, fs.ErrNotExist):
			p.log.Warn("the server certificate cannot be used and is made anew", "file", path, "error", err)
			why = "unusable"
		}
	}
	if inUse := p.current.Load(); inUse != nil {
		if why = p.unfit(inUse.Leaf, hosts, time.Now()); why == "" {
			return nil
		}
	}
	leaf, text, err := p.authority.issue(hosts, p.plausible(time.Now()))
	if err != nil {
		return fmt.Errorf("make a server certificate: %w", err)
	}
	// In use even if it cannot be kept: clients should not suffer from a full disk.
	p.current.Store(leaf)
	p.log.Info("made a server certificate", "why", why, "until", leaf.Leaf.NotAfter, "hosts", hosts)
	if err := writeFile(path, text, 0o600); err != nil {
		return fmt.Errorf("keep the server certificate: %w", err)
	}
	return nil
}

// unfit says why leaf needs a successor, or "".
func (p *PKI) unfit(leaf *x509.Certificate, hosts []string, now time.Time) string {
	for _, h := range hosts {
		if !covers(leaf, h) {
			return "new name or address " + h
		}
	}
	switch {
	case now.Before(p.opts.Built):
		return "" // the clock is wrong; what was made under a better one is better
	case now.After(leaf.NotAfter.Add(-leafRenewal)):
		return "expiry"
	case now.Before(leaf.NotBefore):
		return "made under a clock that was ahead"
	}
	return ""
}

// covers reports whether leaf names host. One that names more than today's hosts
// is fine: an address that comes and goes must not cost a certificate each time.
func covers(leaf *x509.Certificate, host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return slices.ContainsFunc(leaf.IPAddresses, ip.Equal)
	}
	return slices.Contains(leaf.DNSNames, host)
}

// plausible is the time to count a certificate's life from.
func (p *PKI) plausible(now time.Time) time.Time {
	if now.Before(p.opts.Built) {
		return p.opts.Built
	}
	return now
}

// issue makes a key and a certificate for hosts and returns them for use and as
// the text of leafFile.
func (a *authority) issue(hosts []string, now time.Time) (*tls.Certificate, []byte, error) {
	if len(hosts) == 0 {
		return nil, nil, errors.New("no name or address to make it for")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	from := now.Add(-leafSlack).Truncate(time.Second).UTC()
	leaf := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: "Hearthgate"},
		NotBefore:             from,
		NotAfter:              from.Add(leafLife - time.Second), // both ends count: RFC 5280 §4.1.2.5
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	text := slices.Concat(encode("PRIVATE KEY", keyDER), encode("CERTIFICATE", der), encode("CERTIFICATE", a.certificate.Raw))
	pair, err := tls.X509KeyPair(text, text)
	return &pair, text, err
}

// loadLeaf reads what issue wrote, if it comes from this authority.
func (a *authority) loadLeaf(path string) (*tls.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	return &pair, pair.Leaf.CheckSignatureFrom(a.certificate)
}
