package registry

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hearthgate/hearthgate/store"
)

// accountRow is an MQTT account. Cost is kept with the hash, so that a later
// version may ask for more without locking anyone out.
type accountRow struct {
	Hash []byte `cbor:"1,keyasint"`
	Salt []byte `cbor:"2,keyasint"`
	Cost cost   `cbor:"3,keyasint"`
}

// MaxPassword is the length of a password in bytes.
const MaxPassword = 1024

// SetMQTTUser makes an MQTT account or changes its password (argon2id, kept
// hashed). ErrBadName.
func (r *Registry) SetMQTTUser(name, password string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("mqtt user: %w", err)
	}
	if name == "" {
		return fmt.Errorf("mqtt user: %w: empty", ErrBadName)
	}
	if password == "" || len(password) > MaxPassword {
		return fmt.Errorf("mqtt user %q: a password has 1 to %d bytes", name, MaxPassword)
	}
	row := r.hasher.hash(password)
	synced := newSync()
	err := r.putAccount(name, row, synced.done)
	if err == nil {
		err = synced.wait()
	}
	if err != nil {
		return fmt.Errorf("mqtt user %q: %w", name, err)
	}
	return nil
}

func (r *Registry) putAccount(name string, row accountRow, done func(error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.tables.accounts.Put(name, row, store.Now, done); err != nil {
		return err
	}
	r.accounts[name] = row
	return nil
}

// MQTTUsers are the names of the accounts, in order.
func (r *Registry) MQTTUsers() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.accounts))
}

// RemoveMQTTUser ends an account. ErrUnknown.
func (r *Registry) RemoveMQTTUser(name string) error {
	synced := newSync()
	err := r.deleteAccount(name, synced.done)
	if err == nil {
		err = synced.wait()
	}
	if err != nil {
		return fmt.Errorf("remove mqtt user %q: %w", name, err)
	}
	return nil
}

func (r *Registry) deleteAccount(name string, done func(error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.accounts[name]; !ok {
		return ErrUnknown
	}
	if err := r.tables.accounts.Delete(name, store.Now, done); err != nil {
		return err
	}
	delete(r.accounts, name)
	return nil
}

// CheckMQTTUser reports whether that is the account's password. It costs the
// same for an account that does not exist, and bounds how many hash at once.
// It blocks for as long as a hash takes, which is some 50 ms on a small board;
// one that was right before costs next to nothing. While too many wait it says
// no to the rest.
func (r *Registry) CheckMQTTUser(name, password string) bool {
	if len(password) > MaxPassword {
		return false
	}
	r.mu.RLock()
	row, ok := r.accounts[name]
	r.mu.RUnlock()
	return r.hasher.check(row, password) && ok
}
