package registry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// cost of an argon2id hash (RFC 9106).
type cost struct {
	Time    uint32 `cbor:"1,keyasint"`
	Memory  uint32 `cbor:"2,keyasint"` // KiB
	Threads uint8  `cbor:"3,keyasint"`
}

// today's cost: 19 MiB and two passes, which a Pi does in well under a second.
var today = cost{Time: 2, Memory: 19 * 1024, Threads: 1}

const (
	hashBytes = 32
	saltBytes = 16

	// maxRemembered bounds what a hasher remembers; beyond it begins anew.
	maxRemembered = 1024
	// maxChecks is how many checks may wait for their turn.
	maxChecks = 64
)

// hasher hashes one password at a time, so that a flood of guesses cannot take
// the memory of a small board, and remembers the right ones by a hash keyed
// with a secret of this process, so that a storm of reconnects is cheap.
type hasher struct {
	key     [32]byte
	turn    chan struct{}
	waiting atomic.Int32

	mu    sync.Mutex
	right map[[sha256.Size]byte]bool
}

func newHasher() *hasher {
	h := &hasher{turn: make(chan struct{}, 1), right: map[[sha256.Size]byte]bool{}}
	rand.Read(h.key[:])
	return h
}

// hash makes the row of a password. It waits for its turn.
func (h *hasher) hash(password string) accountRow {
	row := accountRow{Salt: make([]byte, saltBytes), Cost: today}
	rand.Read(row.Salt)
	row.Hash = h.argon(row, password)
	return row
}

// check reports whether the password is the row's. A row of no account costs
// what any other does.
func (h *hasher) check(row accountRow, password string) bool {
	if row.Cost == (cost{}) {
		row = accountRow{Cost: today, Salt: make([]byte, saltBytes)}
	}
	known := h.keyed(row, password)
	if h.remembers(known) {
		return true
	}
	if h.waiting.Add(1) > maxChecks {
		h.waiting.Add(-1)
		return false
	}
	defer h.waiting.Add(-1)
	if subtle.ConstantTimeCompare(h.argon(row, password), row.Hash) == 0 {
		return false
	}
	h.remember(known)
	return true
}

func (h *hasher) argon(row accountRow, password string) []byte {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	return argon2.IDKey([]byte(password), row.Salt, row.Cost.Time, row.Cost.Memory, row.Cost.Threads, hashBytes)
}

// keyed names a password together with the hash it was right for: when the
// account gets another password, what is remembered no longer fits.
func (h *hasher) keyed(row accountRow, password string) (sum [sha256.Size]byte) {
	m := hmac.New(sha256.New, h.key[:])
	m.Write(row.Salt) // of fixed length, as the hash; none when there is no account
	m.Write(row.Hash)
	m.Write([]byte(password))
	m.Sum(sum[:0])
	return sum
}

func (h *hasher) remembers(sum [sha256.Size]byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.right[sum]
}

func (h *hasher) remember(sum [sha256.Size]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.right) >= maxRemembered {
		clear(h.right)
	}
	h.right[sum] = true
}
