package client

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Config is what a Device is and does. URL and Token of Options are needed;
// Hello and OnFrame of it are the Device's own and ignored.
type Config struct {
	Options

	Describe     *protocol.Describe // nil = a device that never describes itself
	Firmware     string
	WakeInterval time.Duration // of a device that sleeps, see Sleep; 0 = always on
	Heartbeat    time.Duration // it would like; 0 = the gateway's
	Spool        int           // frames kept while they are not acknowledged, 1,000
	Clock        func() time.Time
	Log          *slog.Logger // nil = discard

	// OnCommand carries out a command and returns its result: code, message and
	// the state after. Calls come one at a time from a goroutine of the Device;
	// ctx ends when the time left is over, or with Run. nil = unsupported.
	OnCommand func(ctx context.Context, c *protocol.Command) (protocol.ResultCode, string, []protocol.Record)

	// The others are called from the Device's goroutines and must not block.

	OnWelcome func(*protocol.Welcome)
	OnEnd     func(err error, wait time.Duration) // a session or a try ended; the next begins after wait
	OnSettled func(Fate)                          // a reported frame was acknowledged, refused or dropped

	// OnGrant keeps new credentials where they survive a restart. Only after it
	// returned nil does the device use them. nil = grants are ignored.
	OnGrant func(*protocol.Grant) error
}

// Device keeps one device's connection alive: Run connects and connects again,
// Report hands over what was measured. What is not acknowledged is kept in
// memory and sent again, with the same boot and seq.
//
// Each link has one reader (the goroutine of Conn) and one writer, which is
// Run. Reports, acks and results only change the state under mu and wake Run.
type Device struct {
	// set at birth
	cfg  Config
	log  *slog.Logger
	wake chan struct{}   // one pending wake-up is enough
	life context.Context // of Run, for the commands that it carries out

	// owned by Run
	retry  retry
	poison int // closes with 4000 or 1009 since the last new ack

	mu       sync.Mutex // guards the rest
	opts     Options    // with what grants changed
	urls     []string   // granted addresses
	url      int        // which of them comes next
	ca       *protocol.Hash
	spool    spool
	out      []protocol.Frame // results and logs, before telemetry
	commands commands
	stats    Stats
	session  session
	sleep    sleep
	idle     []chan struct{} // Flush waits here
	redial   bool            // the link has to end and begin anew at once
	running  sync.WaitGroup  // the command worker
}

// session is what belongs to one link.
type session struct {
	conn     *Conn
	welcome  *protocol.Welcome // nil = no link
	describe bool              // has to go out before telemetry
	answered uint64            // commands
}

// sleep is a wish to go to sleep.
type sleep struct {
	wanted bool
	begun  bool      // bye was said
	until  time.Time // when to be back
	latest time.Time // not waiting longer for acks and commands
}

// New returns a Device; it does nothing until Run.
func New(cfg Config) *Device {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Spool <= 0 {
		cfg.Spool = 1000
	}
	return &Device{
		cfg:   cfg,
		log:   cfg.Log,
		opts:  cfg.Options,
		wake:  make(chan struct{}, 1),
		spool: spool{boot: NewBoot(), keep: cfg.Spool},
	}
}

// Report hands over records of this moment; their times without Absolute are
// offsets from now. It never blocks. A full spool drops its oldest frame.
func (d *Device) Report(records ...protocol.Record) {
	d.report(time.Now(), records)
}

func (d *Device) report(composed time.Time, records []protocol.Record) {
	d.mu.Lock()
	dropped := d.spool.add(&frame{Fate: Fate{Records: records, Composed: composed}})
	d.stats.Reported++
	if dropped != nil {
		d.stats.Dropped++
	}
	d.mu.Unlock()
	if dropped != nil {
		d.tell(dropped)
	}
	d.stir()
}

// Note sends a line to the gateway's log, or drops it while there is no link.
func (d *Device) Note(level uint64, text string) {
	d.mu.Lock()
	if d.session.welcome != nil {
		d.out = append(d.out, protocol.Log{Level: level, Text: text})
	}
	d.mu.Unlock()
	d.stir()
}

// Stats counts what a Device did since New.
type Stats struct {
	Sessions uint64 // welcomed
	Reported uint64 // frames handed over
	Sent     uint64 // frames sent for the first time
	Again    uint64 // frames sent again
	Settled  uint64 // frames acknowledged or refused
	InMemory uint64 // acknowledgements that meant in memory only: those frames are kept
	Dropped  uint64 // frames that made room, or that closed the link twice
	Commands uint64 // carried out or turned down
	Repeats  uint64 // commands that came again and were only answered
}

// Stats of the device now.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := d.stats
	st.InMemory = d.spool.inMemory
	return st
}

// Pending is how many reported frames are not settled.
func (d *Device) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.spool.len()
}

// Flush waits until everything reported is settled.
func (d *Device) Flush(ctx context.Context) error {
	d.mu.Lock()
	if d.spool.len() == 0 {
		d.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	d.idle = append(d.idle, done)
	d.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// linger is how long a device that wants to sleep waits for acks and commands.
const linger = 10 * time.Second

// Sleep makes the device say bye and come back after pause, as soon as what it
// reported is settled and the commands that waited for it are answered (or 10 s
// later). What is reported meanwhile waits for its return.
func (d *Device) Sleep(pause time.Duration) {
	now := time.Now()
	d.mu.Lock()
	d.sleep = sleep{wanted: true, until: now.Add(pause), latest: now.Add(linger)}
	d.mu.Unlock()
	d.stir()
}

// Memory is what a device keeps over a restart.
type Memory int

// What can be kept: nothing, or the spool in flash, by a device with a clock or
// by one that cannot know how old its frames are.
const (
	KeepNothing Memory = iota
	KeepSpool
	KeepSpoolUndated
)

// Restart cuts the link as a loss of power would, and begins a new boot.
func (d *Device) Restart(m Memory) {
	d.mu.Lock()
	var dropped []*frame
	switch m {
	case KeepNothing:
		dropped = append(d.spool.sent, d.spool.fresh...)
		for _, f := range dropped {
			f.Err = ErrDropped
		}
		d.spool.sent, d.spool.fresh = nil, nil
		d.commands.forget()
	case KeepSpoolUndated:
		for _, f := range append(append([]*frame(nil), d.spool.sent...), d.spool.fresh...) {
			f.Uncertain = true
		}
	}
	dropped = append(dropped, d.spool.restart(NewBoot())...)
	d.stats.Dropped += uint64(len(dropped))
	d.out = nil
	if d.session.conn != nil {
		d.session.conn.Abort()
	}
	d.redial = true
	d.released()
	d.mu.Unlock()
	d.tell(dropped...)
	d.stir()
}

// Run connects and stays connected until ctx ends; then it says bye, waits at
// most 2 s for the gateway's last acks, and returns. Run once.
func (d *Device) Run(ctx context.Context) {
	d.life = ctx
	defer d.running.Wait()
	for ctx.Err() == nil {
		before := d.Stats().Settled
		started := time.Now()
		err := d.once(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := d.pause(err, d.Stats().Settled > before, time.Since(started))
		if d.cfg.OnEnd != nil {
			d.cfg.OnEnd(err, wait)
		}
		d.rest(ctx, wait)
	}
}

// pause decides what the end of a session means for the next.
func (d *Device) pause(err error, useful bool, lasted time.Duration) time.Duration {
	d.log.Info("link ended", "err", err)
	if useful {
		d.poison = 0
	}
	if useful || lasted > lastCeiling {
		d.retry.settled()
	}
	if c, ok := err.(*Closed); ok && (c.Code == protocol.CloseMalformed || c.Code == protocol.CloseTooBig) {
		// One bad frame must not hold up the rest for ever.
		if d.poison++; d.poison >= 2 {
			d.poison = 0
			d.mu.Lock()
			dropped := d.spool.dropOldest()
			if dropped != nil {
				d.stats.Dropped++
			}
			d.released()
			d.mu.Unlock()
			if dropped != nil {
				d.tell(dropped)
			}
		}
	}
	wait := d.retry.after(err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sleep.begun || d.sleep.wanted && !time.Now().Before(d.sleep.latest) {
		until := d.sleep.until
		d.sleep = sleep{}
		return max(time.Until(until), 0)
	}
	if d.redial {
		d.redial = false
		return rand.N(100 * time.Millisecond) // a restart or a renewal, not a failure
	}
	return wait
}

// rest waits without a link. A restart ends the rest early.
func (d *Device) rest(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-d.wake:
			d.mu.Lock()
			now := d.redial
			d.redial = false
			d.mu.Unlock()
			if now {
				return
			}
		}
	}
}

// once dials and serves one session.
func (d *Device) once(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := Dial(dialing, d.options())
	if err != nil {
		d.end()
		return err
	}
	d.mu.Lock()
	d.session.conn = conn
	d.mu.Unlock()
	defer d.end()
	return d.serve(ctx, conn)
}

// options are those of the next session: our hello, and the next address.
func (d *Device) options() Options {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.opts
	if len(d.urls) > 0 {
		o.URL = d.urls[d.url%len(d.urls)]
		d.url++ // stays where it is once welcomed, see take
	}
	clock := d.cfg.Clock().UnixMilli()
	o.Hello = &protocol.Hello{
		Boot:         d.spool.boot,
		Firmware:     d.cfg.Firmware,
		WakeInterval: uint64(d.cfg.WakeInterval / time.Second),
		Heartbeat:    uint64(d.cfg.Heartbeat / time.Second),
		MaxFrame:     readLimit,
		Clock:        &clock,
		Boots:        d.spool.others(),
		CA:           d.ca,
	}
	if d.cfg.Describe != nil {
		hash := d.cfg.Describe.Hash()
		o.Hello.Description = &hash
	}
	o.OnFrame = d.take
	d.redial = false
	return o
}

// end forgets the session; what it sent will be sent again.
func (d *Device) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = session{}
	d.out = nil // results are repeated when the gateway asks again
}

// serve is the writer of one link.
func (d *Device) serve(ctx context.Context, conn *Conn) error {
	beat := time.Duration(conn.Welcome().Heartbeat) * time.Second
	if beat <= 0 {
		beat = 30 * time.Second
	}
	pulse := time.NewTimer(beat)
	defer pulse.Stop()
	for {
		if err := d.pump(conn); err != nil {
			conn.Abort()
			<-conn.Done()
			return conn.Err()
		}
		if d.anew() {
			conn.Close()
			return &Closed{Err: errAnew}
		}
		if seconds, now, at := d.bedtime(); now {
			return d.bye(conn, "sleep", seconds)
		} else if at > 0 {
			pulse.Reset(min(at, beat))
		}
		select {
		case <-d.wake:
		case <-conn.Done():
			return conn.Err()
		case <-pulse.C:
			if conn.Silence() >= beat*5/2 {
				conn.Abort() // the gateway would have sent a ping long ago
				<-conn.Done()
				return &Closed{Err: errSilence}
			}
			pulse.Reset(d.beat(conn, beat))
		case <-ctx.Done():
			return d.bye(conn, "end", 0)
		}
	}
}

// beat asks for a sign of life when the gateway's pings do not arrive here
// (a proxy may eat them), and returns when to look again.
func (d *Device) beat(conn *Conn, beat time.Duration) time.Duration {
	quiet := conn.Silence()
	if quiet < beat*5/4 {
		return beat*5/4 - quiet
	}
	_ = conn.Send(protocol.Ping{Token: uint64(quiet / time.Millisecond)})
	return min(beat, beat*5/2-quiet)
}

// bye ends a session as planned: the gateway commits, acknowledges and closes.
func (d *Device) bye(conn *Conn, reason string, seconds uint64) error {
	_ = conn.Send(protocol.Bye{Reason: reason, Seconds: seconds})
	timeout := time.NewTimer(2 * time.Second)
	defer timeout.Stop()
	select {
	case <-conn.Done():
	case <-timeout.C:
		conn.Abort()
		<-conn.Done()
	}
	return conn.Err()
}

// bedtime reports whether it is time to say bye, and otherwise, if sleep is
// wanted, after how long it will be at the latest.
func (d *Device) bedtime() (seconds uint64, now bool, at time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.sleep.wanted || d.session.welcome == nil {
		return 0, false, 0
	}
	at = time.Until(d.sleep.latest)
	quiet := d.spool.len() == 0 && len(d.out) == 0 && !d.commands.working && d.session.answered >= d.session.welcome.Waiting
	if !quiet && at > 0 {
		return 0, false, at
	}
	d.sleep.wanted, d.sleep.begun = false, true
	left := max(time.Until(d.sleep.until), time.Second)
	return uint64((left + time.Second - 1) / time.Second), true, 0
}

// anew reports whether this link has to end at once: a restart, new
// credentials, a boot that is not ours.
func (d *Device) anew() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.redial
}

// stir wakes Run.
func (d *Device) stir() {
	select {
	case d.wake <- struct{}{}:
	default: // it will wake anyway
	}
}

// released wakes those who wait for an empty spool; mu is held.
func (d *Device) released() {
	if d.spool.len() > 0 {
		return
	}
	for _, done := range d.idle {
		close(done)
	}
	d.idle = nil
}

func (d *Device) tell(ended ...*frame) {
	if d.cfg.OnSettled == nil {
		return
	}
	for _, f := range ended {
		d.cfg.OnSettled(f.Fate)
	}
}
