// Package registry knows who belongs to the home: devices with their names,
// areas, descriptions and tokens, the accounts of MQTT clients and the tokens
// of the API. All of it is in memory and, before a change is confirmed, in the
// store.
package registry

import (
	"errors"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// Errors that callers branch on.
var (
	ErrUnknown = errors.New("unknown") // no such device, token or account
	ErrRevoked = errors.New("revoked") // known, but no longer welcome
	ErrExists  = errors.New("already exists")
	ErrUsed    = errors.New("id was used by a removed device and is never given again")
	ErrBadID   = errors.New("not a device id: want [a-z0-9][a-z0-9-]{0,62}")
)

// Device is what is known of a device, without its secrets. A copy.
type Device struct {
	ID           string
	Name         string // display name; the id if none was given
	Area         string
	Created      int64 // ms since 1970
	Revoked      bool
	Firmware     string // of its last hello
	LastBoot     protocol.Boot
	WakeInterval uint64 // s, of its last hello
	Rotating     bool   // a new token was given and not used yet
	// Description is what the device says it is, with the components its
	// records made; never nil.
	Description *protocol.Description
}

// Registry is safe for concurrent use.
type Registry struct{ unwritten }

type unwritten struct{}

// Open reads the registry from its tables in s.
func Open(s *store.Store, l protocol.Limits) (*Registry, error) { panic("not written yet") }

// Add makes a device and returns its token, which is not kept (only SHA-256 of
// its secret part is). name may be "". ErrBadID, ErrExists, ErrUsed.
func (r *Registry) Add(id, name string) (token string, err error) { panic("not written yet") }

// AddMany makes n devices prefix-001 … in one commit; all or none.
func (r *Registry) AddMany(prefix string, n int) (ids, tokens []string, err error) {
	panic("not written yet")
}

// Get is one device, List all in the order of their ids.
func (r *Registry) Get(id string) (Device, bool) { panic("not written yet") }

// List is every device, in the order of ids.
func (r *Registry) List() []Device { panic("not written yet") }

// Rename sets the display name, SetArea the area.
func (r *Registry) Rename(id, name string) error { panic("not written yet") }

// SetArea sets the area.
func (r *Registry) SetArea(id, area string) error { panic("not written yet") }

// Rotate makes a new token; the old one holds until the new one was used.
func (r *Registry) Rotate(id string) (token string, err error) { panic("not written yet") }

// Revoke takes the device's right to come. Rotate gives it back with a new token.
func (r *Registry) Revoke(id string) error { panic("not written yet") }

// Remove forgets the device; its id is never given again.
func (r *Registry) Remove(id string) error { panic("not written yet") }

// Authenticate is the id of the device whose token this is. ErrUnknown (also a
// token of wrong form), ErrRevoked. Constant time in the secret. Using the new
// token of a rotation ends the old one.
func (r *Registry) Authenticate(token string) (id string, err error) { panic("not written yet") }

// Seen notes what hello said: firmware, boot, wake interval. It rides on a later commit.
func (r *Registry) Seen(id string, h *protocol.Hello) { panic("not written yet") }

// HasDescription reports whether the device's stored description has this hash.
func (r *Registry) HasDescription(id string, h protocol.Hash) bool { panic("not written yet") }

// Describe checks and stores a description; a *protocol.Refusal keeps the old
// one. It does not wait for the sync.
func (r *Registry) Describe(id string, d *protocol.Describe) error { panic("not written yet") }

// AddComponents adds components that records made. A *protocol.Refusal if there
// would be too many. It does not wait for the sync.
func (r *Registry) AddComponents(id string, cs []protocol.Component) (*protocol.Description, error) {
	panic("not written yet")
}

// Change says what happened to a device.
type Change uint8

// Changes.
const (
	Added   Change = iota
	Updated        // name, area, firmware, description, rotation
	Revoked
	Removed
)

// Watch calls f after each change, from the goroutine that made it; f must not
// block and must not call back into the registry's changing methods.
func (r *Registry) Watch(f func(id string, c Change)) { panic("not written yet") }

// Role of an API token or of who asks: read, control, admin; each includes the ones before.
type Role string

// Roles.
const (
	Read    Role = "read"
	Control Role = "control"
	Admin   Role = "admin"
)

// Token is an API token without its secret.
type Token struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Created int64  `json:"created"` // ms since 1970
}

// AddToken makes an API token hga1.<name>.<43 characters of base64url>.
func (r *Registry) AddToken(name string, role Role) (token string, err error) {
	panic("not written yet")
}

// Tokens are all API tokens; RemoveToken ends one.
func (r *Registry) Tokens() []Token { panic("not written yet") }

// RemoveToken ends a token.
func (r *Registry) RemoveToken(name string) error { panic("not written yet") }

// AuthenticateAPI is the token's name and role.
func (r *Registry) AuthenticateAPI(token string) (Token, error) { panic("not written yet") }

// SetMQTTUser makes an MQTT account or changes its password (argon2id, kept hashed).
func (r *Registry) SetMQTTUser(name, password string) error { panic("not written yet") }

// MQTTUsers are the names of the accounts.
func (r *Registry) MQTTUsers() []string { panic("not written yet") }

// RemoveMQTTUser ends an account.
func (r *Registry) RemoveMQTTUser(name string) error { panic("not written yet") }

// CheckMQTTUser reports whether that is the account's password. It costs the
// same for an account that does not exist, and bounds how many hash at once.
func (r *Registry) CheckMQTTUser(name, password string) bool { panic("not written yet") }
