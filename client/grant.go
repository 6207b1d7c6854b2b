package client

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/hearthgate/hearthgate/protocol"
)

// Apply returns options with the credentials of a grant: what it leaves out
// stays as it was. Both the CA certificate and the next one are trusted at
// once. The grant's addresses are not applied; Device tries them in order.
func (o Options) Apply(g *protocol.Grant) (Options, error) {
	if g.Token != "" {
		o.Token = g.Token
	}
	if g.CA == nil && g.NextCA == nil && g.ServerName == "" {
		return o, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		conf = o.TLS.Clone()
	}
	if g.ServerName != "" {
		conf.ServerName = g.ServerName
	}
	pool := conf.RootCAs
	if g.CA != nil || pool == nil {
		pool = x509.NewCertPool()
	} else {
		pool = pool.Clone()
	}
	for _, der := range [][]byte{g.CA, g.NextCA} {
		if der == nil {
			continue
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return o, fmt.Errorf("CA certificate of a grant: %w", err)
		}
		pool.AddCert(cert)
		conf.RootCAs = pool
	}
	o.TLS = conf
	return o, nil
}

// granted takes new credentials: kept by OnGrant first, then used by a new link,
// which is how the gateway learns that the old token may end.
func (d *Device) granted(g *protocol.Grant) {
	if d.cfg.OnGrant == nil {
		d.log.Warn("a grant came and nothing keeps it: staying with the old token")
		return
	}
	d.mu.Lock()
	next, err := d.opts.Apply(g)
	d.mu.Unlock()
	if err == nil {
		err = d.cfg.OnGrant(g)
	}
	if err != nil {
		d.log.Error("grant not taken: staying with the old token", "err", err)
		return
	}
	d.mu.Lock()
	d.opts = next
	if len(g.URLs) > 0 {
		d.urls, d.url = g.URLs, 0
	}
	if newest := g.NextCA; newest != nil || g.CA != nil {
		if newest == nil {
			newest = g.CA
		}
		sum := sha256.Sum256(newest)
		d.ca = (*protocol.Hash)(sum[:8])
	}
	d.redial = true
	d.mu.Unlock()
	d.stir()
}
