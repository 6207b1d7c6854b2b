// Package pki gives the gateway a certificate that nobody has to set up: a
// local certificate authority, made at the first start, and a server certificate
// from it for every name and address of this host, renewed without a restart.
// Who has a certificate of their own names its files instead.
package pki

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"
)

// checkEvery is how long a new address, a changed file or a certificate near its
// end may go unnoticed.
const checkEvery = time.Minute

// Options says where certificates are and what they are for.
type Options struct {
	// Dir holds the authority and its server certificate. It is made with mode
	// 0700 and belongs to this package alone. Unused with Certificate and Key.
	Dir string

	// Certificate and Key name PEM files of one's own. Both or neither.
	Certificate, Key string

	// Hosts returns the names and addresses that clients use. It is called at
	// Open and once a minute. Nil means those of this machine, see Hosts.
	Hosts func() []string

	// Built is the earliest time that a right clock can show: the date of the
	// build. A machine without a battery starts in the past, and a certificate
	// from 1970 would help nobody. Zero means that the clock is believed.
	Built time.Time

	// Log hears of renewals and of damage. Nil is silent.
	Log *slog.Logger
}

// PKI holds the certificate in use. All its methods may be called at once.
type PKI struct {
	// Set by Open.
	opts      Options
	log       *slog.Logger
	authority *authority // nil with files of one's own

	// Read by each handshake, replaced by whoever checks.
	current atomic.Pointer[tls.Certificate]

	// Owned by the one goroutine in Open and then in Run.
	files   ownFiles
	trouble string // what the last check said, so that it is said once
}

// Open loads the authority and its server certificate, or makes them, or loads
// the files of one's own. It does not start anything: see Run.
func Open(o Options) (*PKI, error) {
	p := &PKI{opts: o, log: o.Log}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.opts.Hosts == nil {
		p.opts.Hosts = Hosts
	}
	if o.Certificate != "" || o.Key != "" {
		if o.Certificate == "" || o.Key == "" {
			return nil, fmt.Errorf("tls.certificate and tls.key belong together: one of them is not set")
		}
		p.files = ownFiles{certificate: o.Certificate, key: o.Key}
		return p.ready()
	}
	if err := makeDir(o.Dir); err != nil {
		return nil, fmt.Errorf("directory for certificates: %w", err)
	}
	var err error
	if p.authority, err = openAuthority(o.Dir, p.log); err != nil {
		return nil, err
	}
	return p.ready()
}

// ready makes the first check, which has to end with a certificate to show. That
// it could not be kept, on a full disk, is said and does not stop the start.
func (p *PKI) ready() (*PKI, error) {
	err := p.check()
	if p.current.Load() == nil {
		return nil, err
	}
	p.report(err)
	return p, nil
}

// Run keeps the certificate fit for use until ctx ends. It returns only then: a
// check that fails is logged, and the certificate in use stays.
func (p *PKI) Run(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.report(p.check())
		}
	}
}

func (p *PKI) check() error {
	if p.authority == nil {
		return p.checkOwnFiles()
	}
	return p.checkIssued()
}

// report logs what a check said, once for as long as it says the same.
func (p *PKI) report(err error) {
	if err == nil {
		p.trouble = ""
		return
	}
	if err.Error() != p.trouble {
		p.trouble = err.Error()
		p.log.Error("server certificate", "error", err)
	}
}

// TLSConfig is for servers: TLS 1.2 or newer, HTTP/1.1 (a WebSocket upgrade
// needs it), and always the certificate of the moment.
func (p *PKI) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return p.current.Load(), nil
		},
	}
}

// Leaf is the server certificate in use.
func (p *PKI) Leaf() *x509.Certificate { return p.current.Load().Leaf }

// CA is the authority's certificate as DER: what a device is told to trust. It
// is nil with a certificate of one's own, where the system's roots count.
func (p *PKI) CA() []byte {
	if p.authority == nil {
		return nil
	}
	return p.authority.certificate.Raw
}

// CAFile is the PEM file with the authority's certificate, for curl, browsers and
// simulators, or "" with a certificate of one's own.
func (p *PKI) CAFile() string {
	if p.authority == nil {
		return ""
	}
	return filepath.Join(p.opts.Dir, caCertFile)
}

// Fingerprint is the SHA-256 of CA, which a person or a QR code can carry. It is
// all zero with a certificate of one's own.
func (p *PKI) Fingerprint() [sha256.Size]byte {
	if p.authority == nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(p.authority.certificate.Raw)
}
