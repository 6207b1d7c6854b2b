package mqtt

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/bridge/mqtt/broker"
	"github.com/hearthgate/hearthgate/bridge/mqtt/homiecheck"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// withHomie are the brokers, each with the option.
func withHomie(t testing.TB, kind string) (Options, func() (net.Conn, error)) {
	t.Helper()
	if kind == "mosquitto" {
		m := startMosquitto(t, false)
		return Options{Broker: "mqtt://" + m.Address, Homie: true}, m.dial
	}
	br, err := broker.New(broker.Options{HomiePrefix: "homie"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { br.Close() })
	return Options{Embedded: br, Homie: true}, br.Dial
}

// obedient is a device that does what it is told and says so.
type obedient struct {
	h  *home
	id string
}

func (obedient) Flush() {}

func (d obedient) Send(c *protocol.Command) bool {
	go func() {
		now := time.Now()
		for i := range c.Records {
			c.Records[i].Time, c.Records[i].Absolute = now.UnixNano(), true
		}
		d.h.cmds.Answered(d.id, &protocol.Result{ID: c.ID, Records: c.Records})
		if p := d.h.reg.Description(d.id).Point(c.Records[0].Name); p.Reports {
			d.h.append(&store.Entry{Kind: store.Result, Device: d.id, Boot: testBoot, Command: c.ID, Received: now.UnixMilli(), Records: c.Records})
		}
	}()
	return true
}

func (h *home) obey(id string) {
	h.presence(id, store.Online)
	h.cmds.Presence(id, store.Online, false, 0)
	h.cmds.Connected(id, testBoot, obedient{h, id})
}

// homieOf is what a broker has below the prefix, without descriptions but with their
// names, and held against the convention.
func homieOf(t *testing.T, all map[string]string, prefix string) map[string]string {
	t.Helper()
	ours := map[string]string{}
	for topic, payload := range all {
		rest, below := strings.CutPrefix(topic, prefix+"/5/")
		if !below {
			continue
		}
		if strings.HasSuffix(topic, "/$description") {
			var d struct{ Name string }
			if err := json.Unmarshal([]byte(payload), &d); err != nil {
				t.Fatal(err)
			}
			payload = d.Name
		}
		ours[rest] = payload
	}
	return ours
}

// expectHomie waits until the broker has exactly that below homie/5/hg-<gateway>; the
// gateway's own two topics go without saying while it is ready.
func (h *home) expectHomie(dial func() (net.Conn, error), want map[string]string) {
	h.t.Helper()
	t := h.t.(*testing.T)
	root := "hg-" + h.store.GatewayID()
	full := map[string]string{root + "/$state": "ready", root + "/$description": "Hearthgate " + h.store.GatewayID()}
	for topic, payload := range want {
		if rest, isRoot := strings.CutPrefix(topic, "/"); isRoot {
			full[root+"/"+rest] = payload
		} else {
			full[root+"-"+topic] = payload
		}
	}
	deadline := time.Now().Add(patience)
	for {
		all := retained(t, dial)
		maps.DeleteFunc(all, func(topic, _ string) bool { return !strings.HasPrefix(topic, "homie/5/"+root) })
		got := homieOf(t, all, "homie")
		_, err := homiecheck.Tree(all, "homie")
		if err == nil && maps.Equal(full, got) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("against the convention: %v; what the broker has (-want +got): %s", err, cmp.Diff(full, got))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A home as a controller sees it, from the first description to the last removal.
func TestHomie(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"mosquitto", "embedded"} {
		t.Run(kind, func(t *testing.T) {
			o, dial := withHomie(t, kind)
			h := newHome(t)
			h.add("kitchen", thermometer, plug)
			h.add("lamp", lamp, protocol.Component{ID: "call_me", Kind: "button"})
			h.say("kitchen", number("temperature", 21.46))
			h.run(o)
			want := map[string]string{
				"kitchen/$description": "kitchen", "kitchen/$state": "disconnected", "kitchen/temperature/value": "21.5",
				"lamp/$description": "lamp", "lamp/$state": "disconnected",
			}
			h.expectHomie(dial, want)

			h.obey("lamp")
			h.presence("kitchen", store.Sleeping)
			h.say("kitchen", number("temperature", 22), onOff("plug", false))
			want["lamp/$state"], want["kitchen/$state"] = "ready", "sleeping"
			want["kitchen/temperature/value"], want["kitchen/plug/value"] = "22", "false"
			h.expectHomie(dial, want)

			// What is set is asked of the device, and stands there when it says so.
			root := "homie/5/hg-" + h.store.GatewayID()
			c, results := newClient(t, dial, root+"-lamp/#"), newClient(t, dial, "hearthgate/device/+/result")
			c.publish(root+"-lamp/desk/brightness/set", "40", false)
			if got := results.expectOutcome("lamp"); got != "ok" {
				t.Error(got)
			}
			c.expect(root+"-lamp/desk/brightness", "40")
			c.publish(root+"-lamp/call-me/value/set", "press", false)
			if x := c.expect(root+"-lamp/call-me/value", "press"); x.retained {
				t.Error("a press was retained")
			}
			if got := results.expectOutcome("lamp"); got != "ok" {
				t.Error(got)
			}
			want["lamp/desk/brightness"] = "40"
			h.expectHomie(dial, want)
			for payload, outcome := range map[string]string{"ON": "invalid", "\xff": "invalid", strings.Repeat("x", maxCommand+1): "invalid", "false": "ok"} {
				c.publish(root+"-lamp/desk/on/set", payload, false)
				if got := results.expectOutcome("lamp"); got != outcome {
					t.Errorf("%.20q: %s, want %s", payload, got, outcome)
				}
			}
			want["lamp/desk/on"] = "false"
			for topic, outcome := range map[string]string{"-lamp/desk/colour/set": "unsupported", "-kitchen/temperature/value/set": "unsupported",
				"-nobody/a/b/set": "unsupported", "-kitchen/plug/value/set": "offline"} {
				c.publish(root+topic, "true", false)
				device, _, _ := strings.Cut(topic[1:], "/")
				if got := results.expectOutcome(device); got != outcome {
					t.Errorf("%s: %s, want %s", topic, got, outcome)
				}
			}

			// A rename and a component that goes away.
			if err := h.reg.Rename("kitchen", "Big kitchen"); err != nil {
				t.Fatal(err)
			}
			want["kitchen/$description"] = "Big kitchen"
			h.expectHomie(dial, want)
			h.describe("kitchen", thermometer)
			delete(want, "kitchen/plug/value")
			h.expectHomie(dial, want)
			h.say("kitchen", number("temperature", 23))
			want["kitchen/temperature/value"] = "23"

			// Who comes and who goes.
			h.add("hall", plug)
			want["hall/$state"], want["hall/$description"] = "disconnected", "hall"
			h.expectHomie(dial, want)
			if err := h.reg.Remove("kitchen"); err != nil {
				t.Fatal(err)
			}
			maps.DeleteFunc(want, func(topic, _ string) bool { return strings.HasPrefix(topic, "kitchen/") })
			h.expectHomie(dial, want)

			// A clean end is said of everyone; the option off leaves nothing.
			h.stop()
			want["/$state"], want["lamp/$state"] = "disconnected", "disconnected"
			h.expectHomie(dial, want)
			o.Homie = false
			h.run(o)
			eventually(t, "nothing is left", func() bool { return len(homieOf(t, retained(t, dial), "homie")) == 0 })
		})
	}
}

func (c *client) expectOutcome(device string) string {
	c.t.Helper()
	var m struct{ Outcome, Status string }
	c.expectThat("an outcome of "+device, func(x heard) bool {
		return x.topic == "hearthgate/device/"+device+"/result" && json.Unmarshal([]byte(x.payload), &m) == nil
	})
	return m.Outcome + m.Status
}

// What happens while the broker is away is right when it is back, whether it kept
// what it had or not, and no version of a description comes twice.
func TestHomieAndABrokerThatRestarts(t *testing.T) {
	t.Parallel()
	for name, persist := range map[string]bool{"and remembers": true, "and forgets": false} {
		t.Run(name, func(t *testing.T) {
			m := startMosquitto(t, persist)
			h := newHome(t)
			h.add("kitchen", thermometer, plug)
			h.add("hall", plug)
			h.run(Options{Broker: "mqtt://" + m.Address, Homie: true})
			h.presence("kitchen", store.Online)
			h.say("kitchen", number("temperature", 20), onOff("plug", true))
			want := map[string]string{
				"kitchen/$description": "kitchen", "kitchen/$state": "ready", "kitchen/temperature/value": "20", "kitchen/plug/value": "true",
				"hall/$description": "hall", "hall/$state": "disconnected",
			}
			h.expectHomie(m.dial, want)
			before := version(t, retained(t, m.dial), h)
			m.Stop()
			eventually(t, "the bridge notices", func() bool { return !h.bridge.Status().Connected })
			h.say("kitchen", number("temperature", 25))
			h.presence("kitchen", store.Lost)
			h.describe("kitchen", thermometer)
			if err := h.reg.Remove("hall"); err != nil {
				t.Fatal(err)
			}
			m.Start()
			h.expectHomie(m.dial, map[string]string{"kitchen/$description": "kitchen", "kitchen/$state": "lost", "kitchen/temperature/value": "25"})
			if after := version(t, retained(t, m.dial), h); after <= before {
				t.Errorf("version %d after %d", after, before)
			}
		})
	}
}

// version is that of the kitchen's description.
func version(t *testing.T, all map[string]string, h *home) int64 {
	t.Helper()
	d, err := homiecheck.Parse([]byte(all["homie/5/hg-"+h.store.GatewayID()+"-kitchen/$description"]))
	if err != nil {
		t.Fatal(err)
	}
	return *d.Version
}

// A gateway that is started again says what is true then, under the version that its
// descriptions had, and empties what was left by another prefix.
func TestHomieAfterARestartOfTheGateway(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, false)
	dir := t.TempDir()
	h := openHome(t, dir)
	h.add("kitchen", thermometer)
	h.add("hall", plug)
	o := Options{Broker: "mqtt://" + m.Address, Homie: true}
	h.run(o)
	h.say("kitchen", number("temperature", 20))
	want := map[string]string{"kitchen/$description": "kitchen", "kitchen/$state": "disconnected", "kitchen/temperature/value": "20",
		"hall/$description": "hall", "hall/$state": "disconnected"}
	h.expectHomie(m.dial, want)
	before := version(t, retained(t, m.dial), h)
	h.stop()
	h.say("kitchen", number("temperature", 22)) // while no bridge ran
	if err := h.reg.Remove("hall"); err != nil {
		t.Fatal(err)
	}
	h.close()
	h = openHome(t, dir)
	h.seq = 100
	h.run(o)
	h.expectHomie(m.dial, map[string]string{"kitchen/$description": "kitchen", "kitchen/$state": "disconnected", "kitchen/temperature/value": "22"})
	if after := version(t, retained(t, m.dial), h); after != before {
		t.Errorf("the same description has version %d after %d", after, before)
	}
	h.stop()
	o.HomiePrefix = "casa"
	h.run(o)
	eventually(t, "all has moved", func() bool {
		all := retained(t, m.dial)
		return len(homieOf(t, all, "homie")) == 0 && len(homieOf(t, all, "casa")) == 5 &&
			all["casa/5/hg-"+h.store.GatewayID()+"/$state"] == "ready"
	})
}

// A gateway that lost power just after it published knows what it has to empty.
func TestHomieAfterAPowerCut(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, false)
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	h := openHome(t, dir)
	h.add("kitchen", thermometer)
	h.add("hall", plug)
	h.say("kitchen", number("temperature", 20))
	h.presence("hall", store.Online)
	o := Options{Broker: "mqtt://" + m.Address, Homie: true}
	h.run(o)
	want := map[string]string{"kitchen/$description": "kitchen", "kitchen/$state": "disconnected", "kitchen/temperature/value": "20",
		"hall/$description": "hall", "hall/$state": "ready"}
	h.expectHomie(m.dial, want)
	before := version(t, retained(t, m.dial), h)
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil { // what a power cut would leave
		t.Fatal(err)
	}
	h.close()
	after := openHome(t, image)
	if err := after.reg.Remove("hall"); err != nil {
		t.Fatal(err)
	}
	after.describe("kitchen", plug)
	after.run(o)
	after.expectHomie(m.dial, map[string]string{"kitchen/$description": "kitchen", "kitchen/$state": "disconnected"})
	if again := version(t, retained(t, m.dial), after); again <= before {
		t.Errorf("version %d of another description after %d", again, before)
	}
}

// wire is a way to the broker that can be cut.
type wire struct {
	to    string
	mu    sync.Mutex
	ends  []net.Conn
	whole bool
}

func (w *wire) listen(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); w.cut() })
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", w.to)
			w.mu.Lock()
			if err != nil || !w.whole {
				a.Close()
			} else {
				w.ends = append(w.ends, a, b)
				go func() { io.Copy(a, b); a.Close(); b.Close() }()
				go func() { io.Copy(b, a); a.Close(); b.Close() }()
			}
			w.mu.Unlock()
		}
	}()
	return l.Addr().String()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = false
	for _, c := range w.ends {
		c.Close()
	}
	w.ends = nil
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = true
}

// The broker says lost of a gateway that is cut off, and with that of all its
// children; back again, they are what they are.
func TestHomieGatewayIsLost(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, false)
	w := &wire{to: m.Address, whole: true}
	h := newHome(t)
	h.add("hall", plug)
	h.run(Options{Broker: "mqtt://" + w.listen(t), Homie: true})
	h.presence("hall", store.Online)
	want := map[string]string{"hall/$description": "hall", "hall/$state": "ready"}
	h.expectHomie(m.dial, want)
	w.cut()
	want["/$state"] = "lost"
	h.expectHomie(m.dial, want)
	h.presence("hall", store.Sleeping)
	w.mend()
	want["/$state"], want["hall/$state"] = "ready", "sleeping"
	h.expectHomie(m.dial, want)
	// The will of a dead connection may come late.
	newClient(t, m.dial).publish("homie/5/hg-"+h.store.GatewayID()+"/$state", "lost", true)
	h.expectHomie(m.dial, want)
}

// Two gateways speak on one broker and prefix, and neither touches the other's.
func TestHomieOfTwoGateways(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, false)
	one, two := newHome(t), newHome(t)
	for i, h := range []*home{one, two} {
		h.add("hall", plug)
		h.run(Options{Broker: "mqtt://" + m.Address, Homie: true, BaseTopic: []string{"first", "second"}[i]})
	}
	want := map[string]string{"hall/$description": "hall", "hall/$state": "disconnected"}
	one.expectHomie(m.dial, want)
	two.expectHomie(m.dial, want)
	if err := one.reg.Remove("hall"); err != nil {
		t.Fatal(err)
	}
	one.expectHomie(m.dial, nil)
	two.expectHomie(m.dial, want)
	newClient(t, m.dial).publish("homie/5/esp-7/relay/on/set", "true", true) // is none of ours
	two.say("hall", onOff("plug", true))
	want["hall/plug/value"] = "true"
	two.expectHomie(m.dial, want)
	if retained(t, m.dial)["homie/5/esp-7/relay/on/set"] != "true" {
		t.Error("what another device takes was cleared")
	}
}

// A command with the retain flag is refused, answered, and not kept.
func TestHomieRefusesRetainedCommands(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"mosquitto", "embedded"} {
		t.Run(kind, func(t *testing.T) {
			o, dial := withHomie(t, kind)
			h := newHome(t)
			h.add("hall", plug)
			set := "homie/5/hg-" + h.store.GatewayID() + "-hall/plug/value/set"
			c := newClient(t, dial, "hearthgate/device/hall/result")
			if o.Embedded == nil {
				c.publish(set, "true", true) // before the gateway is there
			}
			h.obey("hall")
			h.run(o)
			h.expectHomie(dial, map[string]string{"hall/$description": "hall", "hall/$state": "ready"})
			if o.Embedded != nil {
				// The test's clients have the gateway's rights at this broker; one from
				// outside is refused by its rules, and the refusal handed over.
				h.bridge.takeHandedOver(set, []byte("true"), true)
			}
			if got := c.expectOutcome("hall"); got != "invalid" {
				t.Errorf("got %s", got)
			}
			h.expectHomie(dial, map[string]string{"hall/$description": "hall", "hall/$state": "ready"})
		})
	}
}

// An event is said once and not kept; a value that has grown too old goes, with an
// alert, and comes back with the next; one that its property cannot have is none.
func TestHomieSaysOnlyWhatIsTrue(t *testing.T) {
	t.Parallel()
	o, dial := withHomie(t, "mosquitto")
	h := newHome(t)
	h.add("door",
		protocol.Component{ID: "bell", Kind: "event", Options: []string{"press"}},
		protocol.Component{ID: "lux", Kind: "sensor", Unit: "lx", Freshness: 1},
		protocol.Component{ID: "limit", Kind: "number", Max: new(10.0)})
	h.run(o)
	want := map[string]string{"door/$description": "door", "door/$state": "disconnected"}
	h.expectHomie(dial, want)
	c := newClient(t, dial, "homie/5/+/bell/value", "homie/5/+/lux/value")
	h.say("door", protocol.Record{Name: "bell", Value: protocol.Text("press")}, number("lux", 3), number("limit", 7))
	topic := "homie/5/hg-" + h.store.GatewayID() + "-door/"
	c.expect(topic+"lux/value", "3")
	want["door/limit/value"], want["door/$alert/lux"] = "7", "lux has said nothing for more than 1s"
	h.expectHomie(dial, want)
	h.say("door", protocol.Record{Name: "bell", Value: protocol.Text("press"), Time: time.Now().Add(-time.Minute).UnixNano()}, number("limit", 11))
	delete(want, "door/limit/value")
	h.expectHomie(dial, want)
	h.say("door", number("lux", 4))
	c.expectThat("the value of now, after nothing", func(x heard) bool {
		if x.topic == topic+"bell/value" {
			t.Error("the bell rings again")
		}
		return x.topic == topic+"lux/value" && x.payload == "4"
	})
	eventually(t, "the alert ends", func() bool { return retained(t, dial)[topic+"$alert/lux"] == "" })
}

// How often a device wakes decides which of its values grow old, with the same
// description too.
func TestHomieFollowsHowOftenADeviceWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		br, err := broker.New(broker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer br.Close()
		s := &shaky{Broker: br}
		h := newHome(t)
		defer h.close()
		h.add("plug", protocol.Component{ID: "power", Kind: "sensor", Unit: "W", Freshness: 60})
		wakes := func(every uint64) {
			h.reg.Seen("plug", &protocol.Hello{Boot: testBoot, WakeInterval: every})
			time.Sleep(5 * time.Second)
		}
		wakes(30)
		h.run(Options{Embedded: s, Homie: true})
		time.Sleep(5 * time.Second)
		topic := "homie/5/hg-" + h.store.GatewayID() + "-plug/"
		kept := map[string]string{}
		has := func(after time.Duration, power, alert string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			for _, x := range s.taken() {
				kept[x.topic] = x.payload
			}
			if kept[topic+"power/value"] != power || kept[topic+"$alert/power"] != alert {
				t.Errorf("power %q, alert %q, want %q, %q", kept[topic+"power/value"], kept[topic+"$alert/power"], power, alert)
			}
		}
		const alert = "power has said nothing for more than 1m0s"
		h.say("plug", number("power", 5))
		has(59*time.Second, "5", "")
		has(2*time.Second, "", alert)
		wakes(300)
		has(0, "5", "") // true until the next
		h.say("plug", number("power", 6))
		has(290*time.Second, "6", "")
		wakes(30)
		has(0, "", alert)
		h.say("plug", number("power", 7))
		has(59*time.Second, "7", "")
		has(2*time.Second, "", alert)
	})
}

// At a start the disk may have too much to do to take the first line of the list.
func TestHomieBeginsOnceTheDiskHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := segmenttest.New(nil)
		var broken atomic.Bool
		disk.Fault = func(string, string) error {
			if broken.Load() {
				return syscall.EIO
			}
			return nil
		}
		br, err := broker.New(broker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer br.Close()
		s := &shaky{Broker: br}
		h := openHomeWith(t, store.Options{Dir: t.TempDir(), FS: disk})
		defer h.close()
		h.add("hall", plug)
		broken.Store(true)
		fill(t, h.store)
		h.run(Options{Embedded: s, Homie: true})
		time.Sleep(time.Second)
		broken.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		root := ""
		for _, x := range s.taken() {
			if x.topic == "homie/5/hg-"+h.store.GatewayID()+"/$state" {
				root = x.payload
			}
		}
		if root != "ready" {
			t.Errorf("the gateway is %q", root)
		}
	})
}
