package registry

import (
	"bytes"
	"crypto/subtle"

	"github.com/hearthgate/hearthgate/store"
)

// Authenticate is the id of the device whose token this is. ErrUnknown (also a
// token of wrong form, and a wrong one of a revoked device), ErrRevoked.
// Constant time in the secret. Using the new token of a rotation ends the old one.
func (r *Registry) Authenticate(token string) (id string, err error) {
	id, sum, ok := splitToken(deviceToken, token)
	if !ok {
		return "", ErrUnknown
	}
	r.mu.RLock()
	var row deviceRow
	if e := r.devices[id]; e != nil {
		row = e.row
	}
	r.mu.RUnlock()

	// Both are compared in any case; an empty one equals nothing.
	current := subtle.ConstantTimeCompare(sum, row.Token)
	next := subtle.ConstantTimeCompare(sum, row.Next)
	switch {
	case current|next == 0:
		return "", ErrUnknown
	case row.Revoked:
		return id, ErrRevoked
	case next == 1:
		return id, r.endRotation(id, sum)
	}
	return id, nil
}

// endRotation makes the token that was just used the only one. It does not wait
// for the sync: after a crash both hold again until the new one is used again.
func (r *Registry) endRotation(id string, sum []byte) error {
	revoked := false
	err := r.change(id, store.Measured, nil, func(row *deviceRow) {
		revoked = row.Revoked
		if bytes.Equal(row.Next, sum) { // else it was settled or rotated again meanwhile
			row.Token, row.Next = row.Next, nil
		}
	})
	switch {
	case err == ErrUnknown:
		return ErrUnknown // removed meanwhile
	case revoked:
		return ErrRevoked
	case err == nil:
		r.tell(id, Updated)
	}
	// While the store takes nothing the rotation stays open; the token is right.
	return nil
}
