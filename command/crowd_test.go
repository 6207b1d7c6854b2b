package command_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// crowd is many flaky devices and those who command them, over simulated time.
// Every command carries the number under which it was asked as its value, so a
// device can write down which it did.
type crowd struct {
	t      *testing.T
	h      *home
	stored int // one command in so many has a ttl

	mu    sync.Mutex
	life  *life
	asked []*asked
}

// life is one run of the gateway.
type life struct {
	service *Service
	over    chan struct{}
}

// asked is what became of one command.
type asked struct {
	device    string
	momentary bool
	stored    bool // it had a ttl
	waited    int
	outcomes  []Outcome
	unsent    bool // its outcome says that it was not sent
	acts      map[protocol.Boot]int
}

func (a *asked) acted() (n int) {
	for _, times := range a.acts {
		n += times
	}
	return n
}

// voice is who asks during one life; what is said to it after that is not heard.
type voice struct {
	c    *crowd
	life *life
	rng  *rand.Rand // under c.mu
	sure bool       // confirms always
}

func (v *voice) heard() bool {
	select {
	case <-v.life.over:
		return false
	default:
		return true
	}
}

func (v *voice) Waiting(r Request, _ time.Time) {
	v.c.mu.Lock()
	defer v.c.mu.Unlock()
	if v.heard() {
		v.c.of(r.ID).waited++
	}
}

func (v *voice) Done(r Result, confirm func()) {
	v.c.mu.Lock()
	heard := v.heard()
	if heard {
		a := v.c.of(r.ID)
		a.outcomes = append(a.outcomes, r.Outcome)
		a.unsent = r.Outcome == Expired && strings.Contains(r.Message, "before it could be sent")
	}
	sure := v.sure || v.rng.IntN(5) > 0
	v.c.mu.Unlock()
	if heard && sure {
		confirm()
	}
}

// of is the command with that id. mu is held.
func (c *crowd) of(id string) *asked {
	var n int
	fmt.Sscan(id, &n)
	return c.asked[n]
}

func (c *crowd) now() *life {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life
}

func (c *crowd) begin(sure bool) {
	l := &life{service: c.h.Service, over: make(chan struct{})}
	c.mu.Lock()
	c.life = l
	c.mu.Unlock()
	c.h.Register("mqtt", &voice{c: c, life: l, rng: rand.New(rand.NewPCG(7, 7)), sure: sure})
}

// command asks n things of a device, at random times and in every way.
func (c *crowd) command(device string, n int, rng *rand.Rand) {
	for range n {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		a := &asked{device: device, momentary: rng.IntN(5) == 0, stored: rng.IntN(c.stored) == 0, acts: map[protocol.Boot]int{}}
		c.mu.Lock()
		number := len(c.asked)
		c.asked = append(c.asked, a)
		life := c.life
		c.mu.Unlock()
		r := Request{ID: fmt.Sprint(number), Device: device, Asker: "mqtt"}
		name := fmt.Sprint("n", rng.IntN(8))
		if a.momentary {
			name = "bell"
		}
		r.Set = set(name, protocol.Int(int64(number)))
		if a.stored {
			r.TTL = time.Duration(1+rng.IntN(60)) * time.Second
		}
		life.service.Submit(r, nil)
	}
}

// flaky is a device whose link breaks, that sleeps, restarts and dawdles.
type flaky struct {
	c    *crowd
	id   string
	rng  *rand.Rand
	boot protocol.Boot
	done []answer // the last 16, forgotten at a restart
}

type answer struct {
	id   uint64
	code protocol.ResultCode
}

// pipe is its link.
type pipe struct {
	mu   sync.Mutex
	ch   chan *protocol.Command
	down bool
}

func (*pipe) Flush() {}

func (p *pipe) Send(c *protocol.Command) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || len(p.ch) == cap(p.ch) {
		return false
	}
	p.ch <- c
	return true
}

func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
}

func (f *flaky) sleep(most time.Duration) {
	time.Sleep(time.Duration(f.rng.IntN(int(most/time.Millisecond))) * time.Millisecond)
}

func (f *flaky) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if f.rng.IntN(10) == 0 {
			f.boot, f.done = protocol.Boot{byte(f.rng.Uint32()), byte(f.rng.Uint32()), 1}, nil
		}
		life := f.c.now()
		p := &pipe{ch: make(chan *protocol.Command, 64)}
		life.service.Presence(f.id, store.Online, false, 5)
		life.service.Connected(f.id, f.boot, p)
		f.serve(life, p, stop)
		p.end()
		life.service.Disconnected(f.id, p)
		f.away(life)
	}
}

// serve answers commands until the link breaks.
func (f *flaky) serve(life *life, p *pipe, stop <-chan struct{}) {
	end := time.After(time.Duration(f.rng.IntN(20_000)) * time.Millisecond)
	for {
		select {
		case <-stop:
			return
		case <-life.over:
			return
		case <-end:
			return
		case c := <-p.ch:
			r := f.act(c)
			if f.rng.IntN(10) == 0 {
				return // it acted, and nobody hears of it
			}
			life.service.Answered(f.id, r)
		}
	}
}

func (f *flaky) away(life *life) {
	switch f.rng.IntN(8) {
	case 0:
		life.service.Presence(f.id, store.Sleeping, false, 5)
		f.sleep(20 * time.Second)
	case 1, 2:
		life.service.Presence(f.id, store.Online, true, 5)
		time.Sleep(10 * time.Second)
		life.service.Presence(f.id, store.Lost, false, 5)
		f.sleep(10 * time.Second)
	default:
		life.service.Presence(f.id, store.Online, true, 5)
		f.sleep(3 * time.Second)
	}
}

// act does what a command says, once for each id, and not after its time.
func (f *flaky) act(c *protocol.Command) *protocol.Result {
	came := time.Now()
	for _, a := range f.done {
		if a.id == c.ID {
			return &protocol.Result{ID: a.id, Code: a.code}
		}
	}
	if f.rng.IntN(20) == 0 {
		f.sleep(12 * time.Second)
	} else {
		f.sleep(30 * time.Millisecond)
	}
	code := protocol.ResultOK
	if time.Since(came) > time.Duration(c.Left)*time.Millisecond {
		code = protocol.ResultTooLate
	} else {
		f.c.mu.Lock()
		f.c.asked[c.Records[0].Value.Bits()].acts[f.boot]++
		f.c.mu.Unlock()
	}
	f.done = append(f.done, answer{c.ID, code})
	f.done = f.done[max(0, len(f.done)-16):]
	return &protocol.Result{ID: c.ID, Code: code}
}

// live lets devices and askers run, and while they do, calls meanwhile.
func (c *crowd) live(devices, commands int, meanwhile func()) {
	var askers, running sync.WaitGroup
	stop := make(chan struct{})
	for i := range devices {
		id := fmt.Sprintf("dev-%d", i)
		c.h.addDevice(id)
		f := &flaky{c: c, id: id, rng: rand.New(rand.NewPCG(1, uint64(i))), boot: protocol.Boot{byte(i)}}
		running.Go(func() { f.run(stop) })
		askers.Go(func() { c.command(id, commands, rand.New(rand.NewPCG(2, uint64(i)))) })
	}
	meanwhile()
	askers.Wait()
	time.Sleep(2 * time.Minute) // the longest ttl is 60 s
	close(stop)
	running.Wait()
	synctest.Wait()
}

// check holds every command against what was promised.
func (c *crowd) check(kills bool) map[Outcome]int {
	c.t.Helper()
	tally := map[Outcome]int{}
	for id, a := range c.asked {
		who := fmt.Sprintf("command %d to %s (%+v)", id, a.device, *a)
		if a.waited > 1 {
			c.t.Errorf("%s: told more than once that it waits", who)
		}
		if len(a.outcomes) == 0 {
			// A kill takes a live command with it, and one that was not on disk yet.
			if !kills || a.waited > 0 {
				c.t.Errorf("%s: no outcome", who)
			}
			continue
		}
		outcome := a.outcomes[0]
		tally[outcome]++
		if len(a.outcomes) > 1 && !kills {
			c.t.Errorf("%s: more than one outcome", who)
		}
		for _, again := range a.outcomes {
			if again != outcome {
				c.t.Errorf("%s: two different outcomes", who)
			}
		}
		c.checkActs(who, a, outcome, kills)
	}
	return tally
}

func (c *crowd) checkActs(who string, a *asked, outcome Outcome, kills bool) {
	if a.momentary && a.acted() > 1 {
		c.t.Errorf("%s: happened %d times", who, a.acted())
	}
	for _, n := range a.acts {
		if n > 1 {
			c.t.Errorf("%s: a boot acted %d times on one id", who, n)
		}
	}
	switch outcome {
	case OK:
		if a.acted() == 0 {
			c.t.Errorf("%s: ok, but it never happened", who)
		}
	case OutcomeUnknown:
	case Expired:
		// It may be a second boot's word after a first one acted unheard. And
		// that a value was sent is noted while it is sent: a kill may come first.
		if a.unsent && a.acted() > 0 && (a.momentary || !kills) {
			c.t.Errorf("%s: it happened though it was not sent", who)
		}
	default:
		if a.acted() > 0 {
			c.t.Errorf("%s: it happened all the same", who)
		}
	}
}

func TestTenThousandCommandsToAHundredFlakyDevices(t *testing.T) {
	t.Parallel() // most of it is waiting for the disk
	inHome(t, func(h *home) {
		c := &crowd{t: t, h: h, stored: 10}
		c.begin(true)
		began := time.Now()
		c.live(100, 100, func() {})
		tally := c.check(false)
		t.Logf("%d commands in %v: %v", len(c.asked), time.Since(began).Round(time.Second), tally)
		if len(c.asked) != 10_000 {
			t.Fatalf("%d commands were asked", len(c.asked))
		}
		for _, o := range []Outcome{OK, OutcomeUnknown, Expired, Offline, Superseded} {
			if tally[o] < 10 {
				t.Errorf("%d of 10,000 ended as %s: the devices are not flaky enough to show anything", tally[o], o)
			}
		}
		if left := h.Waiting(""); len(left) != 0 {
			t.Errorf("%d commands are still under way", len(left))
		}
		if keys := h.rows(); len(keys) != 0 {
			t.Errorf("%d rows are left on disk", len(keys))
		}
	})
}

// Kills in the middle: what was told that it waits gets one outcome, told again
// perhaps, and no button is pressed twice.
func TestKillsInTheMiddle(t *testing.T) {
	t.Parallel() // most of it is waiting for the disk
	inHome(t, func(h *home) {
		c := &crowd{t: t, h: h, stored: 2}
		c.begin(false)
		rng := rand.New(rand.NewPCG(3, 3))
		c.live(20, 50, func() {
			for i := range 6 {
				// Everyone else moves at whole milliseconds, and the store at
				// those and at parts that count from its start, so at a part of
				// its own nobody runs and nothing is being written.
				part := time.Duration(i+1) * 137 * time.Microsecond
				time.Sleep(time.Duration(rng.IntN(20_000))*time.Millisecond + part)
				close(c.now().over)
				h.kill()
				c.begin(false)
				time.Sleep(time.Millisecond - part)
			}
		})
		tally := c.check(true)
		t.Logf("%d commands, 6 kills: %v", len(c.asked), tally)
		if tally[OK] < 100 {
			t.Errorf("only %d were ok", tally[OK])
		}
	})
}
