package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	caKeyFile  = "ca.key"
	caCertFile = "ca.crt"
)

// The authority is valid whatever the clock said when it was made: a Pi that
// starts in the past would otherwise make one that nobody accepts yet.
var (
	caNotBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	caNotAfter  = time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)
)

// authority signs the server certificate. Its own certificate is a function of
// its key alone, signature included, so that one that was lost comes back byte
// for byte and devices that know its fingerprint do not notice.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// openAuthority loads the authority from dir or makes it. A key that can be read
// is never replaced; one that is damaged is set aside, loudly.
func openAuthority(dir string, log *slog.Logger) (*authority, error) {
	key, err := loadOrMakeKey(dir, log)
	if err != nil {
		return nil, err
	}
	certificate, err := loadOrMakeCACertificate(filepath.Join(dir, caCertFile), key, log)
	if err != nil {
		return nil, err
	}
	return &authority{key: key, certificate: certificate}, nil
}

// loadOrMakeCACertificate prefers the file, if it belongs to key: what devices
// have pinned holds, even if a later version would write other bytes.
func loadOrMakeCACertificate(path string, key *ecdsa.PrivateKey, log *slog.Logger) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		certificate, err := parseCACertificate(text, key)
		if err == nil {
			return certificate, nil
		}
		aside, asideErr := setAside(path)
		if asideErr != nil {
			return nil, fmt.Errorf("the certificate of the local CA in %s is damaged (%w) and cannot be set aside: %w", path, err, asideErr)
		}
		log.Warn("the certificate of the local CA was damaged and is made again from its key", "file", path, "kept_as", aside, "error", err)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read the certificate of the local CA: %w", err)
	}
	der, err := caCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the local CA: %w", err)
	}
	if err := writeFile(path, encode("CERTIFICATE", der), 0o644); err != nil {
		return nil, fmt.Errorf("keep the certificate of the local CA: %w", err)
	}
	return x509.ParseCertificate(der)
}

func parseCACertificate(text []byte, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not a PEM file")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("it belongs to another key")
	}
	return certificate, certificate.CheckSignatureFrom(certificate)
}

func loadOrMakeKey(dir string, log *slog.Logger) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, caKeyFile)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		key, err := parseKey(text)
		if err == nil {
			return key, nil
		}
		aside, asideErr := setAside(path)
		if asideErr != nil {
			return nil, fmt.Errorf("the key of the local CA in %s is damaged (%w) and cannot be set aside: %w", path, err, asideErr)
		}
		log.Error("the key of the local CA was damaged; a new CA takes its place, and devices that trust the old one must be paired again or the key restored from a backup",
			"file", path, "kept_as", aside, "error", err)
	case !errors.Is(err, fs.ErrNotExist):
		// Perhaps the wrong user or a disk in trouble: a new authority would cut
		// off every device because of that.
		return nil, fmt.Errorf("read the key of the local CA: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the local CA: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the key of the local CA: %w", err)
	}
	if err := writeFile(path, encode("PRIVATE KEY", der), 0o600); err != nil {
		return nil, fmt.Errorf("keep the key of the local CA: %w", err)
	}
	log.Info("made a local certificate authority", "dir", dir)
	return key, nil
}

// caCertificate is the one certificate that belongs to key.
func caCertificate(key *ecdsa.PrivateKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki)
	sum[0] &= 0x7f // RFC 5280 §4.1.2.2: a serial number is positive
	ca := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(sum[:16]),
		// The mark tells two homes' authorities apart in a browser's list.
		Subject:               pkix.Name{CommonName: "Hearthgate CA " + hex.EncodeToString(sum[16:20])},
		NotBefore:             caNotBefore,
		NotAfter:              caNotAfter,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          sum[:20],
		MaxPathLenZero:        true,
	}
	return x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), deterministic{key})
}

// deterministic signs the same bytes in the same way each time (RFC 6979).
type deterministic struct{ *ecdsa.PrivateKey }

func (d deterministic) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return d.PrivateKey.Sign(nil, digest, opts)
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not a PEM file")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a key of type %T, not ECDSA", parsed)
	}
	return key, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
