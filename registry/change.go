package registry

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// MaxName is the length in bytes of a name that people give.
const MaxName = 128

// MaxFleet is how many devices one AddMany makes.
const MaxFleet = 100_000

// Add makes a device and returns its token, which is not kept (only SHA-256 of
// its secret part is). name may be "". ErrBadID, ErrExists, ErrUsed.
func (r *Registry) Add(id, name string) (token string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	token, sum := newToken(deviceToken, id)
	synced := newSync()
	r.mu.Lock()
	err = r.free(id)
	if err == nil {
		err = r.insert(id, deviceRow{Name: name, Created: now(), Token: sum}, store.Now, synced.done)
	}
	r.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("add device %q: %w", id, err)
	}
	r.tell(id, Added)
	if err := synced.wait(); err != nil {
		return "", fmt.Errorf("add device %q: %w", id, err)
	}
	return token, nil
}

// AddMany makes n devices prefix-001 … in one commit; all or none, also when
// the gateway is killed on the way.
func (r *Registry) AddMany(prefix string, n int) (ids, tokens []string, err error) {
	if n < 1 || n > MaxFleet {
		return nil, nil, fmt.Errorf("add %d devices: want 1 to %d", n, MaxFleet)
	}
	rows := make([]deviceRow, n)
	for i := range n {
		id := fleetID(prefix, i+1)
		token, sum := newToken(deviceToken, id)
		ids, tokens = append(ids, id), append(tokens, token)
		rows[i] = deviceRow{Created: now(), Token: sum}
	}
	synced := newSync()
	if err := r.insertFleet(prefix, ids, rows, synced.done); err != nil {
		return nil, nil, fmt.Errorf("add devices %s-…: %w", prefix, err)
	}
	for _, id := range ids {
		r.tell(id, Added)
	}
	if err := synced.wait(); err != nil {
		return nil, nil, fmt.Errorf("add devices %s-…: %w", prefix, err)
	}
	return ids, tokens, nil
}

func fleetID(prefix string, i int) string { return fmt.Sprintf("%s-%03d", prefix, i) }

// insertFleet writes the fleet's row first and deletes it last. The store keeps
// the order, so a crash in between leaves the row, and load undoes the rest.
func (r *Registry) insertFleet(prefix string, ids []string, rows []deviceRow, done func(error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if err := r.free(id); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	err := r.tables.fleets.Put(prefix, fleetRow{Count: len(ids)}, store.Rides, nil)
	made := 0
	for made < len(ids) && err == nil {
		if err = r.insert(ids[made], rows[made], store.Rides, nil); err == nil {
			made++
		}
	}
	if err == nil {
		err = r.tables.fleets.Delete(prefix, store.Now, done)
	}
	if err != nil {
		// The store takes no more. What cannot be deleted now is undone by load; else
		// nothing may tell load to, since others can be given these ids.
		var undone error
		for _, id := range ids[:made] {
			delete(r.devices, id)
			undone = errors.Join(undone, r.tables.devices.Delete(id, store.Rides, nil))
		}
		if undone == nil {
			_ = r.tables.fleets.Delete(prefix, store.Rides, nil)
		}
	}
	return err
}

// free reports why an id cannot be given, nil if it can. mu is held.
func (r *Registry) free(id string) error {
	switch {
	case !protocol.ValidDeviceID(id):
		return ErrBadID
	case r.devices[id] != nil:
		return ErrExists
	case r.removed[id]:
		return ErrUsed
	}
	return nil
}

// insert makes a device in store and memory. mu is held.
func (r *Registry) insert(id string, row deviceRow, u store.Urgency, done func(error)) error {
	if err := r.tables.devices.Put(id, row, u, done); err != nil {
		return err
	}
	e := &entry{row: row}
	e.describeNothing(r.limits)
	r.devices[id] = e
	return nil
}

// Rename sets the display name; "" goes back to the id.
func (r *Registry) Rename(id, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return r.update(id, "rename", Updated, func(row *deviceRow) { row.Name = name })
}

// SetArea sets the area.
func (r *Registry) SetArea(id, area string) error {
	if err := checkName(area); err != nil {
		return err
	}
	return r.update(id, "set area of", Updated, func(row *deviceRow) { row.Area = area })
}

// Rotate makes a new token; the old one holds until the new one was used. Of a
// revoked device the old one does not come back: only the new one is right.
func (r *Registry) Rotate(id string) (token string, err error) {
	token, sum := newToken(deviceToken, id)
	err = r.update(id, "rotate token of", Updated, func(row *deviceRow) {
		if row.Revoked {
			row.Revoked, row.Token, row.Next = false, sum, nil
		} else {
			row.Next = sum
		}
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// Revoke takes the device's right to come. Rotate gives it back with a new token.
func (r *Registry) Revoke(id string) error {
	return r.update(id, "revoke", Revoked, func(row *deviceRow) { row.Revoked = true })
}

// update changes a device's row and waits until it is on disk.
func (r *Registry) update(id, verb string, c Change, change func(*deviceRow)) error {
	synced := newSync()
	err := r.change(id, store.Now, synced.done, change)
	if err == nil {
		r.tell(id, c)
		err = synced.wait()
	}
	if err != nil {
		return fmt.Errorf("%s device %q: %w", verb, id, err)
	}
	return nil
}

// change changes a device's row in store and memory.
func (r *Registry) change(id string, u store.Urgency, done func(error), change func(*deviceRow)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.devices[id]
	if !ok {
		return ErrUnknown
	}
	row := e.row
	change(&row)
	if err := r.tables.devices.Put(id, row, u, done); err != nil {
		return err
	}
	e.row = row
	return nil
}

// Remove forgets the device; its id is never given again.
func (r *Registry) Remove(id string) error {
	synced := newSync()
	err := r.remove(id, synced.done)
	if err == nil {
		r.tell(id, Removed)
		err = synced.wait()
	}
	if err != nil {
		return fmt.Errorf("remove device %q: %w", id, err)
	}
	return nil
}

func (r *Registry) remove(id string, done func(error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.devices[id] == nil {
		return ErrUnknown
	}
	// Once the tombstone is taken the device is gone; rows that stay behind do
	// no harm (see load).
	if err := r.tables.removed.Put(id, tombstone{At: now()}, store.Now, done); err != nil {
		return err
	}
	r.removed[id] = true
	delete(r.devices, id)
	_ = r.tables.devices.Delete(id, store.Rides, nil)
	_ = r.tables.seen.Delete(id, store.Rides, nil)
	_ = r.tables.descriptions.Delete(id, store.Rides, nil)
	_ = r.tables.components.Delete(id, store.Rides, nil)
	return nil
}

// syncing waits for what the store was given. The store calls done from its
// committer, perhaps before wait begins.
type syncing chan error

func newSync() syncing { return make(syncing, 1) }

func (s syncing) done(err error) { s <- err }
func (s syncing) wait() error    { return <-s }

func now() int64 { return time.Now().UnixMilli() }

func checkName(s string) error {
	switch {
	case len(s) > MaxName:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrBadName, len(s), MaxName)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: not UTF-8", ErrBadName)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%w: control characters in %q", ErrBadName, s)
	}
	return nil
}
