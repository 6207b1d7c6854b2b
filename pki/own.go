package pki

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// ownFiles are a certificate that somebody else renews.
type ownFiles struct {
	certificate, key string
	loaded           [2]version // of the pair in use
}

// version tells one content of a file from another without reading it.
type version struct {
	size     int64
	modified time.Time
}

// checkOwnFiles loads the pair if one of its files has changed. A pair that does
// not fit together, as while one file is new and the other not yet, is an error
// and looked at again at the next check.
func (p *PKI) checkOwnFiles() error {
	f := &p.files
	now, err := f.versions()
	if err != nil {
		return err
	}
	if p.current.Load() != nil && now == f.loaded {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
	if err != nil {
		return fmt.Errorf("tls.certificate %s with tls.key %s: %w", f.certificate, f.key, err)
	}
	if again := p.current.Swap(&pair) != nil; again {
		p.log.Info("loaded the changed certificate", "file", f.certificate, "until", pair.Leaf.NotAfter)
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		p.log.Warn("the certificate has expired", "file", f.certificate, "until", pair.Leaf.NotAfter)
	}
	f.loaded = now
	return nil
}

func (f *ownFiles) versions() (v [2]version, err error) {
	for i, name := range []string{f.certificate, f.key} {
		var info fs.FileInfo
		if info, err = os.Stat(name); err != nil {
			return v, fmt.Errorf("tls.certificate and tls.key: %w", err)
		}
		v[i] = version{info.Size(), info.ModTime()}
	}
	return v, nil
}
