package mqtt

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/broker"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// shaky is an embedded broker that can be away, and writes down what it took, in
// order.
type shaky struct {
	*broker.Broker
	mu      sync.Mutex
	away    bool
	left    int  // messages until it is away again; 0 = it stays
	forgets bool // it writes nothing down
	conns   []net.Conn
	took    []heard
}

var errAway = fmt.Errorf("the broker is away: %w", syscall.ECONNREFUSED)

func (s *shaky) Dial() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, errAway
	}
	c, err := s.Broker.Dial()
	s.conns = append(s.conns, c)
	return c, err
}

func (s *shaky) Publish(topic string, retained bool, payload []byte) error {
	s.mu.Lock()
	if s.left > 0 {
		if s.left--; s.left == 0 {
			s.goAway()
		}
	}
	if s.away {
		s.mu.Unlock()
		return errAway
	}
	if !s.forgets {
		s.took = append(s.took, heard{topic, string(payload), retained})
	}
	s.mu.Unlock()
	return s.Broker.Publish(topic, retained, payload)
}

func (s *shaky) PublishNow(topic string, payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away || !s.Broker.PublishNow(topic, payload) {
		return false
	}
	s.took = append(s.took, heard{topic, string(payload), false})
	return true
}

// goAway is called with mu held.
func (s *shaky) goAway() {
	s.away = true
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func (s *shaky) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goAway()
}

// come lets it be there, for so many messages; 0 = for good.
func (s *shaky) come(messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.left = false, messages
}

// taken is what it took since that was asked last.
func (s *shaky) taken() []heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.took
	s.took = nil
	return all
}

// day is a home that goes on with its life: meters of six values, each of which
// has a switch and a doorbell too.
type day struct {
	*home
	meters []string
	seqs   map[string]uint64
	n      int
	now    func() time.Time
	newest map[string]string // what each state topic has to say
}

const meterValues = 5 // and the switch

// run starts the bridge, which looks for its broker as often as it does in life. It
// reads before anybody speaks: a new reader begins at the head.
func (d *day) run(s *shaky) {
	d.runWith(Options{Embedded: s}, func(b *Bridge) { b.backoff = time.Second })
	synctest.Wait()
}

func newDay(h *home, meters int) *day {
	d := &day{home: h, seqs: map[string]uint64{}, now: time.Now, newest: map[string]string{}}
	cs := []protocol.Component{plug, {ID: "bell", Kind: "event", Options: []string{"press"}}}
	for i := range meterValues {
		cs = append(cs, protocol.Component{ID: fmt.Sprintf("v%d", i), Kind: "sensor"})
	}
	for i := range meters {
		id := fmt.Sprintf("meter-%02d", i)
		d.meters = append(d.meters, id)
		h.add(id, cs...)
		h.presence(id, store.Online)
	}
	return d
}

// tick is what all say at one moment. Now and then somebody rings.
func (d *day) tick(done store.Waiter) {
	d.n++
	now := d.now()
	for i, id := range d.meters {
		var rs []protocol.Record
		for v := range meterValues {
			x := float64(d.n*meterValues+v+i) / 8
			rs = append(rs, number(fmt.Sprintf("v%d", v), x))
			d.newest[fmt.Sprintf("hearthgate/device/%s/v%d/state", id, v)] = string(appendState(nil, protocol.Float(x), nil))
		}
		on := d.n/7%2 == 0
		rs = append(rs, onOff("plug", on))
		d.newest["hearthgate/device/"+id+"/plug/state"] = map[bool]string{true: "ON", false: "OFF"}[on]
		if (d.n+i)%50 == 0 {
			rs = append(rs, protocol.Record{Name: "bell", Value: protocol.Text("press")})
		}
		for r := range rs {
			rs[r].Time = now.UnixNano()
		}
		d.seqs[id]++
		e := &store.Entry{Kind: store.Telemetry, Device: id, Boot: testBoot, Seq: d.seqs[id], Received: now.UnixMilli(), Records: rs}
		if _, err := d.store.Append(e, store.Measured, done); err != nil {
			d.t.Fatal(err)
		}
		done = nil
	}
}

// live lets so much time pass.
func (d *day) live(t time.Duration) {
	for range int(t / (10 * time.Second)) {
		d.tick(nil)
		time.Sleep(10 * time.Second)
	}
	synctest.Wait()
}

// seqsOf is what came on stream topics: the seqs of each device as they came.
func seqsOf(t *testing.T, all []heard) map[string][]uint64 {
	seqs := map[string][]uint64{}
	for _, x := range all {
		if id, ok := strings.CutPrefix(x.topic, "hearthgate/stream/"); ok {
			seqs[id] = append(seqs[id], seqOf(t, x.payload))
		}
	}
	return seqs
}

// isWhole wants every seq of every device from first on, in order once repeats are
// taken out.
func (d *day) isWhole(all []heard) {
	d.t.Helper()
	seqs := seqsOf(d.t.(*testing.T), all)
	for _, id := range d.meters {
		next := uint64(1)
		for _, seq := range seqs[id] {
			switch {
			case seq == next:
				next++
			case seq > next:
				d.t.Fatalf("%s: seq %d comes after %d", id, seq, next-1)
			}
		}
		if next != d.seqs[id]+1 {
			d.t.Errorf("%s: the stream ends with seq %d of %d", id, next-1, d.seqs[id])
		}
	}
}

// statesFirst wants the newest of each state before anything of the stream, and
// no older one at any time.
func (d *day) statesFirst(all []heard) (messages int) {
	d.t.Helper()
	missing := len(d.newest)
	seen := map[string]bool{}
	for _, x := range all {
		want, isState := d.newest[x.topic]
		switch {
		case strings.HasPrefix(x.topic, "hearthgate/stream/") && missing > 0:
			d.t.Fatalf("the stream begins while %d states are missing", missing)
		case isState && x.payload != want:
			d.t.Fatalf("%s says %s, which is not the newest (%s)", x.topic, x.payload, want)
		case isState && !seen[x.topic]:
			seen[x.topic] = true
			missing--
		}
		if missing > 0 {
			messages++
		}
	}
	if missing > 0 {
		d.t.Errorf("%d states never came", missing)
	}
	return messages + 1
}

func isBell(x heard) bool { return strings.HasSuffix(x.topic, "/bell/event") }

// The broker is away for hours, comes back for a moment, goes again in the middle of
// the replay; the gateway restarts meanwhile. What is true comes first, the stream
// is whole, and no old doorbell rings.
func TestABrokerThatIsAwayForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		br, err := broker.New(broker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer br.Close()
		dir := t.TempDir()
		d := newDay(openHome(t, dir), 4)
		defer func() { d.close() }()
		s := &shaky{Broker: br}
		d.run(s)
		d.live(time.Minute)
		all := s.taken()
		s.leave()
		d.live(40 * time.Minute)
		d.home.stop()
		d.home.close()
		d.home = openHome(t, dir) // an update in between
		d.run(s)
		d.live(40 * time.Minute)

		s.come(500) // in the middle of the replay it goes again
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		part := s.taken()
		if n := d.statesFirst(part); n > len(d.newest)+2*len(d.meters) {
			t.Errorf("%d messages before the last state", n)
		}
		s.come(0)
		time.Sleep(time.Second)
		synctest.Wait()
		rest := s.taken()
		d.statesFirst(rest) // within the second
		time.Sleep(time.Minute)
		synctest.Wait()
		rest = append(rest, s.taken()...)
		for _, x := range append(part, rest...) {
			if isBell(x) {
				t.Errorf("an old doorbell rings: %v", x)
			}
		}
		d.isWhole(append(append(all, part...), rest...))
		if st := d.bridge.Status(); st.Lag != 0 || st.Lost != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// What no longer fits the log's budget is missing in the stream, at its beginning and
// nowhere else; it is counted and said, and the states are right all the same.
func TestABrokerThatIsAwayForTooLong(t *testing.T) {
	for name, most := range map[string]uint64{
		"what is left is read for what changed": farBehind,
		"that would be too much to read":        1000,
	} {
		t.Run(name, func(t *testing.T) { awayForTooLong(t, most) })
	}
}

func awayForTooLong(t *testing.T, farBehind uint64) {
	synctest.Test(t, func(t *testing.T) {
		br, err := broker.New(broker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer br.Close()
		d := newDay(openHomeWith(t, store.Options{Dir: t.TempDir(), Budget: 256 << 10}), 4)
		defer d.close()
		s := &shaky{Broker: br}
		d.runWith(Options{Embedded: s}, func(b *Bridge) { b.backoff, b.farBehind = time.Second, farBehind })
		synctest.Wait()
		d.live(time.Minute)
		before := seqsOf(t, s.taken())
		s.leave()
		d.live(4 * time.Hour)
		s.come(0)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		all := s.taken()
		d.statesFirst(all)
		lost := uint64(0)
		for id, seqs := range seqsOf(t, all) {
			if len(seqs) == 0 {
				t.Fatalf("%s: nothing of its stream", id)
			}
			gap := seqs[0] - before[id][len(before[id])-1] - 1
			for i, seq := range seqs {
				if seq != seqs[0]+uint64(i) {
					t.Fatalf("%s: seq %d as number %d after %d", id, seq, i, seqs[0])
				}
			}
			if last := seqs[len(seqs)-1]; last != d.seqs[id] {
				t.Errorf("%s: the stream ends with %d of %d", id, last, d.seqs[id])
			}
			lost += gap
		}
		if st := d.bridge.Status(); lost == 0 || st.Lost != lost || st.Lag != 0 {
			t.Errorf("%d entries are missing: %+v", lost, st)
		}
		said, came := 0, 0
		for _, x := range all {
			if x.topic == "hearthgate/bridge/state" {
				came++
			}
			if x.topic == "hearthgate/bridge/event" && strings.Contains(x.payload, "oldest entries of the stream were dropped") {
				said++
			}
		}
		if said == 0 {
			t.Error("nobody is told")
		}
		if came != 1 { // it was broken off: where gaps come again and again it would never get on
			t.Errorf("%d connections, want 1", came)
		}
	})
}
