package mqtt

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/hearthgate/hearthgate/bridge/mqtt/broker"
	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// listening starts the broker that comes along with a port for programs.
func listening(t *testing.T) (*broker.Broker, func() (net.Conn, error)) {
	t.Helper()
	br, err := broker.New(broker.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- br.Serve() }()
	t.Cleanup(func() {
		br.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return br, func() (net.Conn, error) { return net.Dial("tcp", br.Addr().String()) }
}

// diary is a device that writes down what it is asked to do, and answers.
type diary struct {
	h  *home
	id string

	mu   sync.Mutex
	did  []bool
	todo chan *protocol.Command
}

func (*diary) Flush() {}

func (d *diary) Send(c *protocol.Command) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did = append(d.did, c.Records[0].Value.AsBool())
	d.todo <- c
	return true
}

// work answers one command after another, in the order of their coming.
func (d *diary) work() {
	for c := range d.todo {
		d.h.cmds.Answered(d.id, &protocol.Result{ID: c.ID, Records: c.Records})
	}
}

func (h *home) keepDiary(t *testing.T, id string) *diary {
	h.presence(id, store.Online)
	h.cmds.Presence(id, store.Online, false, 0)
	d := &diary{h: h, id: id, todo: make(chan *protocol.Command, 100_000)}
	var working sync.WaitGroup
	working.Go(d.work)
	t.Cleanup(func() {
		h.cmds.Disconnected(id, d)
		close(d.todo)
		working.Wait()
	})
	h.cmds.Connected(id, testBoot, d)
	return d
}

// outcomes gathers n results, each of which has an id of its own.
func (c *client) outcomes(n int) (all map[string]string, order []string) {
	c.t.Helper()
	all = map[string]string{}
	for range n {
		var r struct{ ID, Outcome string }
		c.expectThat("a result", func(x heard) bool { return json.Unmarshal([]byte(x.payload), &r) == nil && r.Outcome != "" })
		if all[r.ID] != "" {
			c.t.Fatalf("a second outcome of %s: %s after %s", r.ID, r.Outcome, all[r.ID])
		}
		all[r.ID] = r.Outcome
		order = append(order, r.ID)
	}
	return all, order
}

// Commands of one sender reach the device in its order, and so do the outcomes of
// those that it carried out.
func TestDirectCommandsKeepTheirOrder(t *testing.T) {
	br, dial := listening(t)
	h := newHome(t)
	h.add("lamp", plug)
	d := h.keepDiary(t, "lamp")
	h.run(Options{Embedded: br})
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	c, sender := newClient(t, dial, "hearthgate/device/lamp/result"), newClient(t, dial)
	const rounds, atOnce = 40, 8 // no more than a device may have unanswered
	for r := range rounds {
		for i := range atOnce {
			sender.c.Publish("hearthgate/device/lamp/command", 1, false, fmt.Sprintf(`{"id":"%d","set":{"plug":%t}}`, r*atOnce+i, i%3 == 0))
		}
		all, order := c.outcomes(atOnce)
		for i, id := range order {
			if want := fmt.Sprint(r*atOnce + i); id != want || all[id] != "ok" {
				t.Fatalf("outcome %s of %s where that of %s should be", all[id], id, want)
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, on := range d.did {
		if on != (i%atOnce%3 == 0) {
			t.Fatalf("the device did another thing as its %dth", i)
		}
	}
}

// A flood is answered too: what is above the limits is busy, everything has one
// outcome, and nothing piles up.
func TestAFloodOfDirectCommandsIsAnswered(t *testing.T) {
	br, dial := listening(t)
	h := newHome(t)
	h.add("lamp", plug)
	h.presence("lamp", store.Online)
	h.cmds.Presence("lamp", store.Online, false, 0)
	h.cmds.Connected("lamp", testBoot, silentDevice{})
	h.run(Options{Embedded: br})
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	c, sender := newClient(t, dial, "hearthgate/device/lamp/result"), newClient(t, dial)
	const flood = 2000
	for i := range flood {
		sender.c.Publish("hearthgate/device/lamp/command", 1, false, fmt.Sprintf(`{"id":"%d","set":{"nothing-%d":1,"plug":true}}`, i, i%3))
	}
	c.outcomes(flood) // of a name that there is not
	for i := range flood {
		sender.c.Publish("hearthgate/device/lamp/command", 1, false, fmt.Sprintf(`{"id":"b%d","set":{"plug":true},"ttl":"1h"}`, i))
	}
	all, _ := c.outcomes(flood - command.MaxUnanswered - command.MaxWaiting)
	for id, outcome := range all {
		if outcome != string(command.Busy) && outcome != string(command.Superseded) {
			t.Fatalf("%s of %s", outcome, id)
		}
	}
	if n := len(h.cmds.Waiting("lamp")); n > command.MaxUnanswered+command.MaxWaiting {
		t.Errorf("%d commands are under way", n)
	}
}

// A bridge that comes and goes takes commands only while it is there: each has at
// most one outcome, and none of the others is carried out later.
func TestDirectCommandsWhileTheBridgeComesAndGoes(t *testing.T) {
	br, dial := listening(t)
	h := newHome(t)
	h.add("lamp", plug)
	d := h.keepDiary(t, "lamp")
	c, sender := newClient(t, dial, "hearthgate/device/lamp/result"), newClient(t, dial)
	end, ended := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-end:
				ended <- n
				return
			default:
				sender.publish("hearthgate/device/lamp/command", fmt.Sprintf(`{"id":"%d","set":{"plug":true}}`, n), false)
			}
		}
	}()
	for range 5 {
		h.run(Options{Embedded: br})
		eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
		c.expectThat("a result", func(heard) bool { return true })
		h.stop()
	}
	close(end)
	sent := <-ended
	d.mu.Lock()
	did := len(d.did)
	d.mu.Unlock()
	if did == 0 || did > sent {
		t.Errorf("the device did %d of %d", did, sent)
	}
	sender.publish("hearthgate/device/lamp/command", `{"id":"away","set":{"plug":false}}`, false)
	h.run(Options{Embedded: br})
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	sender.publish("hearthgate/device/lamp/command", `{"id":"last","set":{"plug":true}}`, false)
	seen := map[string]bool{}
	for id := ""; id != "last"; {
		var r struct{ ID string }
		c.expectThat("a result", func(x heard) bool { return json.Unmarshal([]byte(x.payload), &r) == nil })
		if id = r.ID; seen[id] || id == "away" {
			t.Fatalf("another outcome of %s", id)
		}
		seen[id] = true
	}
}

// Nobody can leave a command with the embedded broker: it is not carried out, now
// or later, nothing of it is kept, and who tried it is told why.
func TestRetainedCommandAtTheEmbeddedBroker(t *testing.T) {
	br, dial := listening(t)
	h := newHome(t)
	h.add("lamp", plug)
	d := h.keepDiary(t, "lamp")
	h.run(Options{Embedded: br})
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	c := newClient(t, dial, "hearthgate/device/lamp/#")
	c.publish("hearthgate/device/lamp/plug/set", "ON", true)
	if got := c.result("lamp", ""); got["outcome"] != "invalid" || !strings.Contains(fmt.Sprint(got["message"]), "retain flag") {
		t.Errorf("%v", got)
	}
	c.publish("hearthgate/device/lamp/plug/set", "OFF", false)
	if got := c.result("lamp", ""); got["outcome"] != "ok" {
		t.Errorf("%v", got)
	}
	d.mu.Lock()
	if len(d.did) != 1 || d.did[0] {
		t.Errorf("the device did %v", d.did)
	}
	d.mu.Unlock()
	if all := retained(t, dial); all["hearthgate/device/lamp/plug/set"] != "" {
		t.Error("the broker keeps the command")
	}
}
