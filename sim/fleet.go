package sim

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// Fleet plays models as devices of a gateway. However many there are, one
// goroutine steps them; each has the two of its client besides.
type Fleet struct {
	// Report hands over what a device reports; nil = its client's Report.
	Report func(m *Member, now time.Time, records []protocol.Record)
	// Commanded is told of each command that was carried out or turned down;
	// nil = nobody.
	Commanded func(m *Member, c *protocol.Command, code protocol.ResultCode)

	members []*Member
	wake    chan struct{}

	mu     sync.Mutex // guards agenda and the members' next
	agenda agenda
}

// Member is a device of a fleet.
type Member struct {
	Device
	Client *client.Device

	mu    sync.Mutex // guards Model; taken before Fleet.mu where both are held
	next  time.Time
	index int // in the agenda
}

// Add makes a member that connects as cfg says; its description, name, wake
// interval and commands are the model's. Add all before Run.
func (f *Fleet) Add(d Device, cfg client.Config) *Member {
	if f.wake == nil {
		f.wake = make(chan struct{}, 1)
	}
	m := &Member{Device: d, next: d.Model.Next()}
	cfg.Describe = d.Model.Describe()
	if d.Name != "" {
		cfg.Describe.Name = d.Name
	}
	if s, ok := d.Model.(Sleeper); ok {
		cfg.WakeInterval = s.WakeInterval()
	}
	cfg.OnCommand = func(_ context.Context, c *protocol.Command) (protocol.ResultCode, string, []protocol.Record) {
		return f.command(m, c)
	}
	m.Client = client.New(cfg)
	f.members = append(f.members, m)
	return m
}

// Members are all members in the order of Add.
func (f *Fleet) Members() []*Member { return f.members }

// Run plays until ctx ends. The clients go on until their own context, hangUp,
// ends, so that what was reported last can still be acknowledged.
func (f *Fleet) Run(ctx, hangUp context.Context) {
	var clients sync.WaitGroup
	defer clients.Wait()
	f.mu.Lock()
	for _, m := range f.members {
		clients.Go(func() { m.Client.Run(hangUp) })
		heap.Push(&f.agenda, m)
	}
	f.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-timer.C:
		}
		timer.Reset(f.stepDue(ctx))
	}
}

// stepDue steps every member whose time has come and returns how long it is
// until the next.
func (f *Fleet) stepDue(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		f.mu.Lock()
		if len(f.agenda) == 0 {
			f.mu.Unlock()
			return time.Hour
		}
		m := f.agenda[0]
		wait := time.Until(m.next)
		f.mu.Unlock()
		if wait > 0 {
			return wait
		}
		f.step(m)
	}
	return time.Hour
}

func (f *Fleet) step(m *Member) {
	now := time.Now()
	m.mu.Lock()
	records := m.Model.Step(now)
	m.mu.Unlock()
	if len(records) > 0 {
		if f.Report != nil {
			f.Report(m, now, records)
		} else {
			m.Client.Report(records...)
		}
	}
	f.plan(m)
}

func (f *Fleet) command(m *Member, c *protocol.Command) (protocol.ResultCode, string, []protocol.Record) {
	m.mu.Lock()
	code, message, records := m.Model.Command(time.Now(), c.Records)
	m.mu.Unlock()
	f.plan(m)
	if f.Commanded != nil {
		f.Commanded(m, c, code)
	}
	return code, message, records
}

// plan puts a member's next step into the agenda and lets a sleeper sleep
// until then.
func (f *Fleet) plan(m *Member) {
	m.mu.Lock()
	next := m.Model.Next()
	f.mu.Lock()
	m.next = next
	if m.index < len(f.agenda) && f.agenda[m.index] == m {
		heap.Fix(&f.agenda, m.index)
	}
	f.mu.Unlock()
	m.mu.Unlock()
	if _, ok := m.Model.(Sleeper); ok {
		m.Client.Sleep(time.Until(next))
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// agenda is a heap of members, the next one first.
type agenda []*Member

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].next.Before(a[j].next) }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i]; a[i].index, a[j].index = i, j }

// Push implements heap.Interface.
func (a *agenda) Push(x any) {
	m := x.(*Member)
	m.index = len(*a)
	*a = append(*a, m)
}

// Pop implements heap.Interface; nobody leaves the agenda.
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
