package command

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// Options of a service.
type Options struct {
	Store    *store.Store
	Registry *registry.Registry
	Log      *slog.Logger // nil = discard
}

// Service is safe for concurrent use. It has no goroutine of its own: it runs
// on those of the askers, of the hub, of the store's committer and of timers.
type Service struct {
	// Set at birth.
	store    *store.Store
	registry *registry.Registry
	log      *slog.Logger
	table    *store.Table[row]
	past     past

	// Guarded by mu. Rows are handed to the store and frames to links while it
	// is held, so that both see changes in one order; neither blocks nor calls
	// back. Askers are called after it is released (see unlock).
	mu      sync.Mutex
	devices map[string]*device
	askers  map[string]Asker
	owed    map[*command]bool // stored ones that are over and not confirmed
	number  uint64            // of the newest command
	total   int               // commands without an outcome, and owed ones
	closed  bool
	later   []func() // calls to askers
}

// device is what the service knows of one device and the commands to it.
type device struct {
	link     Link // nil = none
	boot     protocol.Boot
	presence store.PresenceState
	grace    bool
	interval uint64 // s

	waiting []*command // not sent, in the order of submission
	sent    []*command // no answer yet, in the order of sending
	past    recentIDs  // towards the device, that are over
}

// live reports whether a command without a ttl may go to the device.
func (d *device) live() bool { return d.presence == store.Online || d.grace }

// ready reports whether commands can be sent. A device that said bye has a link
// for a moment more, but no longer listens.
func (d *device) ready() bool { return d.link != nil && d.presence == store.Online }

// unanswered counts what is at the device and still has time.
func (d *device) unanswered() (n int) {
	for _, c := range d.sent {
		if !c.overdue {
			n++
		}
	}
	return n
}

// recentIDs is a ring of the last ids, empty for the many devices that nobody
// commands.
type recentIDs struct {
	ids  []uint64
	next int
}

const maxRecentIDs = 32

func (r *recentIDs) add(id uint64) {
	if len(r.ids) < maxRecentIDs {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % maxRecentIDs
}

func (r *recentIDs) has(id uint64) bool { return slices.Contains(r.ids, id) }

// New reads what waits from the store. Outcomes owed to a registered asker are
// given again once it registers; those owed to an asker of before the restart
// that has no name (HTTP) are logged and can be looked up by Outcome.
func New(o Options) (*Service, error) {
	table, err := store.OpenTable[row](o.Store, "commands")
	if err != nil {
		return nil, fmt.Errorf("open commands: %w", err)
	}
	s := &Service{
		store: o.Store, registry: o.Registry, log: o.Log, table: table,
		devices: map[string]*device{}, askers: map[string]Asker{}, owed: map[*command]bool{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("read commands: %w", err)
	}
	return s, nil
}

// load takes up the stored commands where the last run left them.
func (s *Service) load() error {
	now := time.Now()
	var all []*command
	err := s.table.Each(func(key string, r row) error {
		number, err := strconv.ParseUint(key, 16, 64)
		if err != nil {
			return fmt.Errorf("key %q of a stored command: %w", key, err)
		}
		all = append(all, fromRow(number, r, now))
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.unlock()
	for _, c := range all {
		s.number = max(s.number, c.number)
		s.total++
		s.resume(c)
	}
	return nil
}

// resume takes up one stored command. mu is held.
func (s *Service) resume(c *command) {
	d := s.device(c.req.Device)
	switch c.state {
	case over:
		d.past.add(c.id)
		s.owed[c] = true
		c.durable = true
		if c.req.Asker == "" {
			s.later = append(s.later, func() { s.give(c) })
		}
		return
	case sent:
		d.sent = append(d.sent, c)
	default:
		d.waiting = append(d.waiting, c)
	}
	c.told = true
	if _, ok := s.registry.Get(c.req.Device); !ok {
		s.finish(c, Unsupported, "the device left the home", nil)
		return
	}
	s.arm(c)
}

// Close stops the timers. Live commands end as outcome_unknown or offline;
// what waits on disk stays. Close it before the store.
func (s *Service) Close() {
	s.mu.Lock()
	defer s.unlock()
	s.closed = true
	for _, d := range s.devices {
		for _, c := range slices.Concat(d.waiting, d.sent) {
			c.stopTimers()
			switch {
			case c.stored:
			case c.state == sent:
				s.finish(c, OutcomeUnknown, "the gateway stopped before the device answered", nil)
			default:
				s.finish(c, Offline, "the gateway stopped before the command was sent", nil)
			}
		}
	}
	for c := range s.owed {
		c.stopTimers()
	}
}

// Register names an asker ("mqtt") and gives it what it is owed. Call before
// commands flow.
func (s *Service) Register(name string, a Asker) {
	s.mu.Lock()
	defer s.unlock()
	s.askers[name] = a
	var owed []*command
	for c := range s.owed {
		if c.durable && c.req.Asker == name {
			owed = append(owed, c)
		}
	}
	slices.SortFunc(owed, func(a, b *command) int { return cmp.Compare(a.number, b.number) })
	for _, c := range owed {
		s.later = append(s.later, func() { s.give(c) })
	}
}

// Submit takes a command. a gets its outcome, or, if r.Asker names a registered
// one, that does. Submit does not block.
func (s *Service) Submit(r Request, a Asker) {
	c := &command{req: r, asker: a, born: time.Now()}
	o, no := s.check(r)
	c.req.Set, c.records, c.momentary = o.set, o.records, o.momentary
	s.mu.Lock()
	defer s.unlock()
	if no == nil {
		no = s.admit(c, o.guarded)
	}
	if no != nil {
		s.giveRefusal(c, no)
	}
}

// giveRefusal ends a command that was not taken. mu is held.
func (s *Service) giveRefusal(c *command, no *refusal) {
	c.stored = false
	c.end(no.outcome, no.message, nil)
	s.later = append(s.later, func() { s.give(c) })
}

func (s *Service) check(r Request) (checked, *refusal) {
	dev, ok := s.registry.Get(r.Device)
	if !ok {
		return checked{set: r.Set}, noDevice(r.Device)
	}
	o, no := check(dev, r)
	if no != nil {
		o.set = Understood(dev.Description, r.Set)
	}
	return o, no
}

func noDevice(id string) *refusal { return refuse(Unsupported, "no device %q", id) }

// Waiting lists the commands of a device ("" = all) that have no outcome yet,
// in the order of submission.
func (s *Service) Waiting(device string) []Pending {
	s.mu.Lock()
	defer s.unlock()
	var all []*command
	for id, d := range s.devices {
		if device == "" || device == id {
			all = append(append(all, d.sent...), d.waiting...)
		}
	}
	slices.SortFunc(all, func(a, b *command) int { return cmp.Compare(a.number, b.number) })
	pending := make([]Pending, 0, len(all))
	for _, c := range all {
		pending = append(pending, Pending{
			ID: c.req.ID, Device: c.req.Device, Set: c.req.Set,
			Stored: c.stored, Sent: c.state == sent, Until: c.deadline,
		})
	}
	return pending
}

// Outcome is the outcome of a command that is over, by its asker's id, as long
// as it is among the last ones.
func (s *Service) Outcome(device, id string) (Result, bool) { return s.past.find(device, id) }

// Cancel takes back a waiting command by its asker's id: cancelled. It reports
// whether there was one; what was sent cannot be taken back.
func (s *Service) Cancel(device, id string) bool {
	s.mu.Lock()
	defer s.unlock()
	d := s.devices[device]
	if d == nil || id == "" {
		return false
	}
	found := false
	for _, c := range slices.Clone(d.waiting) {
		if c.req.ID == id {
			s.finish(c, Cancelled, "", nil)
			found = true
		}
	}
	s.pump(d) // a command that was being stored may have held up others
	return found
}

// device is the state of a device, made when it is first heard of. mu is held.
func (s *Service) device(id string) *device {
	d := s.devices[id]
	if d == nil {
		d = &device{presence: store.Unknown}
		s.devices[id] = d
	}
	return d
}

// unlock releases mu and then calls the askers, in the order of what happened.
func (s *Service) unlock() {
	later := s.later
	s.later = nil
	s.mu.Unlock()
	for _, f := range later {
		f()
	}
}

// maxCommandID is the largest id towards a device (PROTOCOL.md: below 2^53).
const maxCommandID = 1<<53 - 1

// newID is a random id towards a device, which neither a crash nor a restored
// backup repeats.
func newID() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails (crypto/rand)
		if id := binary.BigEndian.Uint64(b[:]) & maxCommandID; id != 0 {
			return id
		}
	}
}
