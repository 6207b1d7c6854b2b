package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// A token is <form>.<name>.<43 characters of base64url: 32 random bytes>. Its
// name finds the row, its secret proves the right; of the secret only SHA-256
// is kept, which needs no salt because 32 random bytes cannot be guessed.
const (
	deviceToken = "hg1"
	apiToken    = "hga1"

	secretBytes = 32
	secretText  = 43
)

// Strict: of the texts that decode to the same bytes only one is a token.
var secretEncoding = base64.RawURLEncoding.Strict()

func newToken(form, name string) (token string, sum []byte) {
	secret := make([]byte, secretBytes)
	rand.Read(secret) // never fails (crypto/rand)
	h := sha256.Sum256(secret)
	return form + "." + name + "." + secretEncoding.EncodeToString(secret), h[:]
}

// splitToken takes a token apart; it says nothing about whether it is right.
func splitToken(form, token string) (name string, sum []byte, ok bool) {
	rest, ok := strings.CutPrefix(token, form+".")
	if !ok {
		return "", nil, false
	}
	name, text, ok := strings.Cut(rest, ".")
	if !ok || len(text) != secretText {
		return "", nil, false
	}
	secret, err := secretEncoding.DecodeString(text)
	if err != nil || len(secret) != secretBytes {
		return "", nil, false
	}
	h := sha256.Sum256(secret)
	return name, h[:], true
}
