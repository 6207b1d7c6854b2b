// Package devices holds the links of the home's devices: it accepts and
// authenticates them, keeps one session a device, takes frames in and gives
// them to the log, acknowledges what is durable, delivers commands, and knows
// who is there.
//
// A frame goes: guard (is the frame header sane) → the WebSocket library →
// session.take (decode, check, resolve) → store.Append; and, once it is on
// disk, link.Committed → acker or writer → the socket.
package devices

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// Options of a hub. Store, Registry and Commands are needed; the zero value of
// any other field is what its comment says.
type Options struct {
	Store    *store.Store
	Registry *registry.Registry
	Commands *command.Service

	Heartbeat time.Duration // 30 s; what a device without a wish gets
	Window    int           // 16 frames un-acked a device

	DeviceRate   float64 // frames a second of one device; 0 = no limit
	AddressRate  float64 // connections a second from one address; 0 = no limit
	AddressLinks int     // links at a time from one address; 0 = no limit
	Links        int     // links at a time; 0 = no limit

	Origins []string        // pages that may connect besides our own: https://host[:port]
	Names   func() []string // our own names and addresses, for pages of ours; nil = none

	// Alert is told what a person should know of a device; nil = nobody. It must
	// not block.
	Alert func(device, message string)

	Limits protocol.Limits
	Build  time.Time    // a clock before it is not trusted
	Log    *slog.Logger // nil = discard
}

// Hub is safe for concurrent use.
type Hub struct {
	Counters Counters

	// set at birth
	o         Options
	limits    protocol.Limits
	log       *slog.Logger
	start     time.Time
	upgrader  *gws.Upgrader
	addresses addresses

	draining atomic.Bool    // Shutdown began
	running  sync.WaitGroup // one a link, and one a request that may become one

	acking []*link // that have acks to send; owned by the log's committer
	acker  acker   // sends them

	mu sync.Mutex // no other lock is taken while it is held
	// guarded by mu
	devices map[string]*device
	open    int // links and requests that may become one
}

var _ http.Handler = (*Hub)(nil)

// New makes a hub. Devices that were online when the gateway stopped are
// unknown until they are back. It ends with Shutdown.
func New(o Options) *Hub {
	if o.Heartbeat <= 0 {
		o.Heartbeat = 30 * time.Second
	}
	if o.Window <= 0 {
		o.Window = 16
	}
	if o.Limits.Message <= 0 {
		o.Limits.Message = 64 << 10
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{
		o: o, limits: o.Limits, log: o.Log, start: time.Now(),
		upgrader:  newUpgrader(o.Limits.Message),
		addresses: newAddresses(o.AddressRate, o.AddressLinks),
		devices:   map[string]*device{},
	}
	h.remember()
	o.Registry.Watch(h.changed)
	o.Store.AfterCommitted(h.sendAcks)
	o.Store.OnEra(h.renewed)
	return h
}

// remember takes up the presence of every device where the log has it.
func (h *Hub) remember() {
	now := time.Now()
	for _, known := range h.o.Registry.List() {
		d := h.device(known.ID)
		was, ok := h.o.Store.PresenceOf(known.ID)
		if !ok {
			continue
		}
		d.mu.Lock()
		changed := d.presence.restarted(now, was, known.WakeInterval, h.trusted(now))
		if known.Revoked {
			changed = d.presence.disabled(now)
		}
		d.told(changed, store.Measured, nil)
		d.mu.Unlock()
	}
}

// changed is the registry's watcher.
func (h *Hub) changed(id string, c registry.Change) {
	switch c {
	case registry.Removed:
		d := h.device(id)
		h.mu.Lock()
		delete(h.devices, id)
		h.mu.Unlock()
		d.removed()
	case registry.Revoked, registry.Updated:
		if _, ok := h.o.Registry.Get(id); ok {
			h.device(id).standing(c == registry.Revoked)
		}
	}
}

// device is the hub's part of a device, made at the first mention.
func (h *Hub) device(id string) *device {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.devices[id]
	if d == nil {
		d = &device{hub: h, id: id}
		h.devices[id] = d
	}
	return d
}

func (h *Hub) all() []*device {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*device, 0, len(h.devices))
	for _, d := range h.devices {
		all = append(all, d)
	}
	return all
}

// alert tells a person, by the log and by whoever else listens.
func (h *Hub) alert(device, message string) {
	h.log.Error(message, "device", device)
	h.o.Registry.Note(device, registry.AboutLink, message)
	if h.o.Alert != nil {
		h.o.Alert(device, message)
	}
}

// Cut closes every link of a device.
func (h *Hub) Cut(id string, code protocol.CloseCode, reason string) {
	d := h.device(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.close(code, reason)
}

// Grant sends a new token over the device's live link; false if it has none.
func (h *Hub) Grant(id, token string) bool {
	d := h.device(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current != nil && d.current.send(&protocol.Grant{Device: id, Token: token})
}

// LinkInfo is how a device's link is.
type LinkInfo struct {
	Since     time.Time
	Remote    string
	Boot      protocol.Boot
	Heartbeat time.Duration
	Unacked   int  // frames that wait for their commit
	Queued    int  // frames that wait for the device to read
	Paused    bool // its reading is held: beyond its window or rate
}

// Link is the live link of a device.
func (h *Hub) Link(id string) (LinkInfo, bool) {
	h.mu.Lock()
	d := h.devices[id]
	h.mu.Unlock()
	if d == nil {
		return LinkInfo{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return LinkInfo{}, false
	}
	return d.current.info(), true
}

// Status is how many links there are.
type Status struct {
	Links    int // connections, also before their hello
	Sessions int // devices with a session
}

// Status of the hub now. What happened so far is in Counters.
func (h *Hub) Status() (s Status) {
	for _, d := range h.all() {
		d.mu.Lock()
		s.Links += len(d.links)
		if d.current != nil {
			s.Sessions++
		}
		d.mu.Unlock()
	}
	return s
}

// holdOffs is over how many seconds devices are asked to spread their return:
// less than restartTime, so that nobody is lost for having waited politely.
const holdOffs = 60

// flushTime is how long Shutdown waits for a last commit.
const flushTime = 3 * time.Second

// Shutdown takes no more links and frames, commits and acknowledges what came,
// tells each device when to come back and closes its link. It returns when all
// links are over; when ctx ends first, they are cut.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	h.draining.Store(true)
	h.mu.Unlock()
	devices := h.all()
	h.flush(ctx, devices)

	for i, n := range rand.Perm(len(devices)) {
		devices[i].shutdown(1 + uint64(n%holdOffs))
	}
	done := make(chan struct{})
	go func() { h.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, d := range devices {
		d.cut()
	}
	<-done
	return ctx.Err()
}

// flush waits until what the links gave to the log is durable. An entry that
// says again how a device is asks the log to commit now.
func (h *Hub) flush(ctx context.Context, devices []*device) {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	for _, d := range devices {
		if !d.waits() {
			continue
		}
		synced := make(flushed, 1)
		if d.restate(synced) {
			select {
			case <-synced:
			case <-ctx.Done():
			}
		}
		return // the log is in order: all before it is durable too
	}
}

// flushed is told when an entry is durable.
type flushed chan struct{}

// Committed implements store.Waiter.
func (f flushed) Committed(*store.Entry, error) { f <- struct{}{} }

func (h *Hub) stopping() bool { return h.draining.Load() }

// now is the hub's own clock: ms since its start, which never steps.
func (h *Hub) now() int64 { return time.Since(h.start).Milliseconds() }

// trusted reports whether the wall clock can be right: a Pi without a battery
// clock starts in the past.
func (h *Hub) trusted(now time.Time) bool { return !now.Before(h.o.Build) }

// wallClock is the time that devices are told: ms since 1970, 0 = unknown.
func (h *Hub) wallClock() int64 {
	if now := time.Now(); h.trusted(now) {
		return now.UnixMilli()
	}
	return 0
}

// grantHeartbeat is welcome.3 for a wish, in seconds.
func (h *Hub) grantHeartbeat(wish uint64) uint64 {
	if wish == 0 {
		return uint64(max(1, h.o.Heartbeat/time.Second))
	}
	return min(max(wish, 10), 600)
}

func (h *Hub) rescue(id string) {
	if p := recover(); p != nil {
		h.panicked(id, p)
	}
}

func (h *Hub) panicked(id string, p any) {
	h.Counters.Panics.Add(1)
	h.log.Error("panic while serving a device", "device", id, "panic", p, "stack", string(debug.Stack()))
}
