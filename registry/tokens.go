package registry

import (
	"cmp"
	"crypto/subtle"
	"fmt"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// Role of an API token or of who asks: read, control, admin; each includes the ones before.
type Role string

// Roles.
const (
	Read    Role = "read"
	Control Role = "control"
	Admin   Role = "admin"
)

func (r Role) known() bool { return r == Read || r == Control || r == Admin }

// Token is an API token without its secret.
type Token struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Created int64  `json:"created"` // ms since 1970
}

type tokenRow struct {
	Role    Role   `cbor:"1,keyasint"`
	Created int64  `cbor:"2,keyasint"`
	Sum     []byte `cbor:"3,keyasint"` // SHA-256 of the secret part
}

// AddToken makes an API token hga1.<name>.<43 characters of base64url>. The
// name is of the form of a device id. ErrBadName, ErrExists.
func (r *Registry) AddToken(name string, role Role) (token string, err error) {
	if !protocol.ValidDeviceID(name) {
		return "", fmt.Errorf("add token %q: %w: want up to 63 small letters, digits and hyphens, such as wall-panel", name, ErrBadName)
	}
	if !role.known() {
		return "", fmt.Errorf("add token %q: role %q: want read, control or admin", name, role)
	}
	token, sum := newToken(apiToken, name)
	synced := newSync()
	if err := r.putToken(name, tokenRow{Role: role, Created: now(), Sum: sum}, synced.done); err != nil {
		return "", fmt.Errorf("add token %q: %w", name, err)
	}
	if err := synced.wait(); err != nil {
		return "", fmt.Errorf("add token %q: %w", name, err)
	}
	return token, nil
}

func (r *Registry) putToken(name string, row tokenRow, done func(error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.tokens[name]; ok {
		return ErrExists
	}
	if err := r.tables.tokens.Put(name, row, store.Now, done); err != nil {
		return err
	}
	r.tokens[name] = row
	return nil
}

// Tokens are all API tokens, in the order of their names.
func (r *Registry) Tokens() []Token {
	r.mu.RLock()
	all := make([]Token, 0, len(r.tokens))
	for name, row := range r.tokens {
		all = append(all, Token{Name: name, Role: row.Role, Created: row.Created})
	}
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b Token) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// RemoveToken ends a token. ErrUnknown.
func (r *Registry) RemoveToken(name string) error {
	synced := newSync()
	err := r.deleteToken(name, synced.done)
	if err == nil {
		err = synced.wait()
	}
	if err != nil {
		return fmt.Errorf("remove token %q: %w", name, err)
	}
	return nil
}

func (r *Registry) deleteToken(name string, done func(error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.tokens[name]; !ok {
		return ErrUnknown
	}
	if err := r.tables.tokens.Delete(name, store.Now, done); err != nil {
		return err
	}
	delete(r.tokens, name)
	return nil
}

// AuthenticateAPI is the token's name and role; ErrUnknown. Constant time in
// the secret.
func (r *Registry) AuthenticateAPI(token string) (Token, error) {
	name, sum, ok := splitToken(apiToken, token)
	if !ok {
		return Token{}, ErrUnknown
	}
	r.mu.RLock()
	row := r.tokens[name]
	r.mu.RUnlock()
	if subtle.ConstantTimeCompare(sum, row.Sum) == 0 {
		return Token{}, ErrUnknown
	}
	return Token{Name: name, Role: row.Role, Created: row.Created}, nil
}
