// Package registry knows who belongs to the home: devices with their names,
// areas, descriptions and tokens, groups and scenes, the accounts of MQTT clients and the tokens
// of the API. All of it is in memory and, before a change is confirmed, in the
// store.
//
// Secrets never stay: of a token the SHA-256 of its secret part is kept, of a
// password its argon2id. Neither is in an error or a log.
package registry

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// Errors that callers branch on.
var (
	ErrUnknown = errors.New("unknown") // no such device, token or account
	ErrRevoked = errors.New("revoked") // known, but no longer welcome
	ErrExists  = errors.New("already exists")
	ErrUsed    = errors.New("id was used by a removed device and is never given again")
	ErrBadID   = errors.New("not an id: want up to 63 small letters, digits and hyphens, such as hall-lamp")
	ErrBadName = errors.New("not a name") // of a device, area, token or account
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
	MaxFrame     uint64 // bytes, of its last hello; 0 before the first
	Restarts     uint64 // how often it came with a new boot
	Gaps         uint64 // how often it had to drop data: seqs that never came
	Rotating     bool   // a new token was given and not used yet
	// Description is what the device says it is, with the components its
	// records made; never nil.
	Description *protocol.Description
}

// Registry is safe for concurrent use. Reads are cheap: a shared lock and no
// copying of descriptions.
type Registry struct {
	// Set at birth.
	limits protocol.Limits
	tables tables
	hasher *hasher

	// Guarded by mu, which is held while a change is handed to the store, so
	// that disk and memory see changes in one order, but never while waiting
	// for the disk or telling a watcher.
	mu       sync.RWMutex
	devices  map[string]*entry
	removed  map[string]bool
	tokens   map[string]tokenRow
	accounts map[string]accountRow
	groups   map[string]groupRow
	scenes   map[string]sceneRow
	watchers []func(string, Change)

	groupWatchers []func()
}

// entry is one device in memory.
type entry struct {
	row  deviceRow
	seen seenRow
	// What it described, for describing it anew with more components. The hash
	// counts only if described.
	described bool
	hash      protocol.Hash
	describe  protocol.Describe // without Raw, which the store keeps
	auto      []protocol.Component
	desc      *protocol.Description

	diary diary // guards itself
}

// Open reads the registry from its tables in s.
func Open(s *store.Store, l protocol.Limits) (*Registry, error) {
	r := &Registry{
		limits:   l,
		hasher:   newHasher(),
		devices:  map[string]*entry{},
		removed:  map[string]bool{},
		tokens:   map[string]tokenRow{},
		accounts: map[string]accountRow{},
		groups:   map[string]groupRow{},
		scenes:   map[string]sceneRow{},
	}
	if err := r.tables.open(s); err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("read registry: %w", err)
	}
	return r, nil
}

// Get is one device.
func (r *Registry) Get(id string) (Device, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.devices[id]
	if !ok {
		return Device{}, false
	}
	return e.device(id), true
}

// List is every device, in the order of ids.
func (r *Registry) List() []Device {
	r.mu.RLock()
	all := make([]Device, 0, len(r.devices))
	for id, e := range r.devices {
		all = append(all, e.device(id))
	}
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b Device) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Description is what the device says it is, nil if there is no such device.
// It never changes; a new one takes its place.
func (r *Registry) Description(id string) *protocol.Description {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e, ok := r.devices[id]; ok {
		return e.desc
	}
	return nil
}

func (e *entry) device(id string) Device {
	return Device{
		ID:           id,
		Name:         cmp.Or(e.row.Name, id),
		Area:         e.row.Area,
		Created:      e.row.Created,
		Revoked:      e.row.Revoked,
		Firmware:     e.seen.Firmware,
		LastBoot:     e.seen.Boot,
		WakeInterval: e.seen.WakeInterval,
		MaxFrame:     e.seen.MaxFrame,
		Restarts:     e.seen.Restarts,
		Gaps:         e.seen.Gaps,
		Rotating:     len(e.row.Next) > 0,
		Description:  e.desc,
	}
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

// Watch calls f after each change, from the goroutine that made it, before the
// change is on disk: a revoked device is cut off though the disk is stuck. f
// must not block and must not call back into the registry's changing methods.
// No lock is held, so f sees the change in Get; of two changes at the same
// moment f may hear in either order, and Get tells what holds.
func (r *Registry) Watch(f func(id string, c Change)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers = append(slices.Clip(r.watchers), f)
}

func (r *Registry) tell(id string, c Change) {
	r.mu.RLock()
	watchers := r.watchers
	r.mu.RUnlock()
	for _, f := range watchers {
		f(id, c)
	}
}
