package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/protocol"
)

// Ten thousand commands go through a real mosquitto to a hundred devices whose
// links are cut at random: each id gets exactly one outcome, and no device acts
// twice on one command.
func TestTenThousandCommandsThroughMosquitto(t *testing.T) {
	const devices, commands, underWay = 100, 10_000, 400
	m := proctest.StartMosquitto(t, "max_inflight_messages 0", "max_queued_messages 0")
	s := newServed(t, "--mqtt.broker", "mqtt://"+m.Address).start()
	tokens := s.fleet("lamp", devices)
	outcomes := &outcomeBook{byID: map[string][]string{}}
	o := observe(t, m.Address, "hearthgate/bridge/state")
	listen := observeWith(t, m.Address, outcomes.hear, "hearthgate/device/+/result")
	o.wait("hearthgate/bridge/state", is("online"))

	home := &flakyHome{acts: map[string]int{}}
	for id, token := range tokens {
		home.add(t, s, id, token)
	}
	proctest.Until(t, "all devices are online", func() bool {
		return strings.Count(s.mustRun("device", "list"), "online") == devices
	})
	stop := home.cutAtRandom()
	for i := range commands {
		proctest.Until(t, "outcomes keep up", func() bool { return outcomes.count() > i-underWay })
		ttl := ""
		if i%3 == 0 {
			ttl = `,"ttl":"60s"`
		}
		topic := fmt.Sprintf("hearthgate/device/lamp-%03d/command", i%devices+1)
		body := fmt.Sprintf(`{"id":"c%d","set":{"power":%v}%s}`, i, i%2 == 0, ttl)
		listen.Publish(topic, 1, false, body)
	}
	proctest.Until(t, "every command has an outcome", func() bool { return outcomes.count() >= commands })
	stop()

	tally := map[string]int{}
	for i := range commands {
		got := outcomes.of(fmt.Sprintf("c%d", i))
		if len(got) != 1 {
			t.Errorf("c%d has the outcomes %v", i, got)
			continue
		}
		tally[got[0]]++
	}
	t.Logf("outcomes: %v, links cut: %d", tally, home.cuts)
	if tally["ok"] < commands/10 { // the slower the machine, the more supersede one another while they wait
		t.Errorf("hardly any were ok: %v", tally)
	}
	for command, n := range home.actions() {
		if n > 1 {
			t.Errorf("command %s was carried out %d times", command, n)
		}
	}
}

// outcomeBook counts the outcomes of each id.
type outcomeBook struct {
	mu   sync.Mutex
	byID map[string][]string
}

func (b *outcomeBook) hear(_ paho.Client, m paho.Message) {
	var r struct{ ID, Outcome string }
	if json.Unmarshal(m.Payload(), &r) != nil || r.Outcome == "" {
		return
	}
	b.mu.Lock()
	b.byID[r.ID] = append(b.byID[r.ID], r.Outcome)
	b.mu.Unlock()
}

func (b *outcomeBook) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.byID)
}

func (b *outcomeBook) of(id string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byID[id]
}

// flakyHome is a home whose cables somebody keeps pulling.
type flakyHome struct {
	mu    sync.Mutex
	conns []net.Conn
	acts  map[string]int // device and command id → how often it was carried out
	cuts  int
}

func (h *flakyHome) add(t *testing.T, s *served, id, token string) {
	t.Helper()
	d := client.New(client.Config{
		Options: client.Options{
			URL: "ws://" + s.http + "/device", Token: token,
			Dial: func(ctx context.Context) (net.Conn, error) { return h.dial(ctx, s.http) },
		},
		Describe: &lampDescription,
		OnCommand: func(_ context.Context, c *protocol.Command) (protocol.ResultCode, string, []protocol.Record) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.acts[fmt.Sprint(id, "/", c.ID)]++
			return protocol.ResultOK, "", c.Records
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
}

func (h *flakyHome) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		h.mu.Lock()
		h.conns = append(h.conns, c)
		h.mu.Unlock()
	}
	return c, err
}

// cutAtRandom cuts a link every few milliseconds until it is stopped.
func (h *flakyHome) cutAtRandom() (stop func()) {
	rng := rand.New(rand.NewPCG(4, 2))
	tick := time.NewTicker(15 * time.Millisecond)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			h.mu.Lock()
			if n := len(h.conns); n > 0 {
				i := rng.IntN(n)
				_ = h.conns[i].Close()
				h.conns[i] = h.conns[n-1]
				h.conns = h.conns[:n-1]
				h.cuts++
			}
			h.mu.Unlock()
		}
	}()
	return func() { tick.Stop(); close(done); <-ended }
}

func (h *flakyHome) actions() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acts
}

func observeWith(t *testing.T, broker string, hear paho.MessageHandler, topics ...string) paho.Client {
	t.Helper()
	opts := paho.NewClientOptions().AddBroker("tcp://" + broker).SetClientID(fmt.Sprintf("observer-%d", time.Now().UnixNano())).
		SetDefaultPublishHandler(hear)
	c := paho.NewClient(opts)
	if token := c.Connect(); !token.WaitTimeout(20*time.Second) || token.Error() != nil {
		t.Fatalf("observer: %v", token.Error())
	}
	for _, topic := range topics {
		if token := c.Subscribe(topic, 1, nil); !token.WaitTimeout(20*time.Second) || token.Error() != nil {
			t.Fatalf("subscribe %s: %v", topic, token.Error())
		}
	}
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}
