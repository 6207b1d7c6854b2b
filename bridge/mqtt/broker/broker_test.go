package broker

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stranger is an address of loopback that the tests' brokers take for the network.
const stranger = "127.0.0.2"

// accounts are names and passwords.
type accounts map[string]string

func (a accounts) CheckMQTTUser(name, password string) bool {
	want, ok := a[name]
	return ok && want == password
}

func (a accounts) MQTTUsers() (names []string) {
	for name := range a {
		names = append(names, name)
	}
	return names
}

// start runs a broker with the account ann on a free port.
func start(t testing.TB) (*Broker, *proctest.Transcript) {
	t.Helper()
	log := &proctest.Transcript{}
	b, err := New(Options{
		Listen:   "127.0.0.1:0",
		Accounts: accounts{"ann": "secret", "bob": "other"},
		Log:      slog.New(slog.NewTextHandler(log, nil)),
		isLocal:  func(a netip.Addr) bool { return a.String() != stranger },
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve() }()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return b, log
}

// eventually waits for something that the broker does in its own time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// client is a paho client whose messages a test reads from a channel.
type client struct {
	paho.Client
	got chan paho.Message
}

type option func(*paho.ClientOptions)

func from(address string) option {
	return func(o *paho.ClientOptions) {
		o.SetDialer(&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}})
	}
}

func as(name, password string) option {
	return func(o *paho.ClientOptions) { o.SetUsername(name).SetPassword(password) }
}

func id(s string) option { return func(o *paho.ClientOptions) { o.SetClientID(s) } }

func will(topic string, retained bool) option {
	return func(o *paho.ClientOptions) { o.SetWill(topic, "gone", 1, retained) }
}

func inMemory(b *Broker) option {
	return func(o *paho.ClientOptions) {
		o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return b.Dial() })
	}
}

// try connects and returns why not.
func try(t testing.TB, b *Broker, opts ...option) (*client, error) {
	t.Helper()
	c := &client{got: make(chan paho.Message, 100_000)}
	o := paho.NewClientOptions().AddBroker("tcp://" + b.Addr().String()).SetAutoReconnect(false).
		SetConnectTimeout(10 * time.Second).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { c.got <- m })
	for _, opt := range opts {
		opt(o)
	}
	c.Client = paho.NewClient(o)
	token := c.Connect()
	token.Wait()
	if token.Error() == nil {
		t.Cleanup(func() { c.Disconnect(50) })
	}
	return c, token.Error()
}

func connect(t testing.TB, b *Broker, opts ...option) *client {
	t.Helper()
	c, err := try(t, b, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *client) subscribe(t testing.TB, filter string, qos byte) {
	t.Helper()
	if !c.maySubscribe(t, filter, qos) {
		t.Fatalf("subscription to %s was refused", filter)
	}
}

func (c *client) maySubscribe(t testing.TB, filter string, qos byte) bool {
	t.Helper()
	token := c.Subscribe(filter, qos, nil)
	if token.Wait(); token.Error() != nil {
		t.Fatal(token.Error())
	}
	for _, code := range token.(*paho.SubscribeToken).Result() { // of one filter
		return code != 0x80
	}
	return false
}

func (c *client) publish(t testing.TB, topic string, retained bool, payload string) {
	t.Helper()
	token := c.Publish(topic, 1, retained, payload)
	if !token.WaitTimeout(10 * time.Second) {
		t.Fatalf("publish to %s was not acknowledged", topic)
	}
	if token.Error() != nil {
		t.Fatal(token.Error())
	}
}

// expect reads the next message, which has to be this one.
func (c *client) expect(t testing.TB, topic, payload string) paho.Message {
	t.Helper()
	select {
	case m := <-c.got:
		if m.Topic() != topic || string(m.Payload()) != payload {
			t.Fatalf("got %s %q, want %s %q", m.Topic(), m.Payload(), topic, payload)
		}
		return m
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not come", topic)
	}
	return nil
}

func TestTheGatewayAndAProgramOnThisMachine(t *testing.T) {
	b, _ := start(t)
	bridge := connect(t, b, inMemory(b))
	bridge.subscribe(t, "hearthgate/device/+/+/set", 1)
	program := connect(t, b)
	program.subscribe(t, "#", 1)

	bridge.publish(t, "hearthgate/device/lamp/desk/state", true, "ON")
	if m := program.expect(t, "hearthgate/device/lamp/desk/state", "ON"); m.Qos() != 1 {
		t.Errorf("arrived at QoS %d", m.Qos())
	}
	program.publish(t, "hearthgate/device/lamp/desk/set", false, "OFF")
	bridge.expect(t, "hearthgate/device/lamp/desk/set", "OFF")
	program.expect(t, "hearthgate/device/lamp/desk/set", "OFF")
	if err := b.Publish("hearthgate/device/lamp/desk/state", true, []byte("OFF")); err != nil {
		t.Fatal(err)
	}
	program.expect(t, "hearthgate/device/lamp/desk/state", "OFF")
	program.publish(t, "workshop/door", true, "open")
	program.expect(t, "workshop/door", "open")

	late := connect(t, b)
	late.subscribe(t, "hearthgate/#", 1)
	if m := late.expect(t, "hearthgate/device/lamp/desk/state", "OFF"); !m.Retained() {
		t.Error("the newest state came without its retain flag")
	}
}

func TestNobodyButTheGatewayWritesStates(t *testing.T) {
	b, log := start(t)
	watcher := connect(t, b)
	watcher.subscribe(t, "#", 1)
	for name, c := range map[string]*client{
		"a local program":      connect(t, b),
		"an account":           connect(t, b, from(stranger), as("ann", "secret")),
		"an account from here": connect(t, b, as("bob", "other")),
	} {
		for _, topic := range []string{"hearthgate/device/lamp/desk/state", "hearthgate/bridge/state", "homeassistant/device/hg_x_lamp/config"} {
			c.publish(t, topic, true, "false news") // acknowledged, as other brokers do
		}
		c.publish(t, "hearthgate/device/lamp/desk/set", true, "OFF") // would be carried out again and again
		c.publish(t, "homeassistant/status", false, name)
		watcher.expect(t, "homeassistant/status", name) // and nothing before it
	}
	if n := b.Stats().Denied; n != 12 {
		t.Errorf("%d denials counted, want 12", n)
	}
	if n := b.Stats().Retained; n != 0 {
		t.Errorf("%d retained messages", n)
	}
	if n := strings.Count(log.String(), "refused an MQTT message"); n != 1 {
		t.Errorf("12 denials made %d log lines:\n%s", n, log)
	}
}

func TestTheNetworkNeedsAnAccount(t *testing.T) {
	b, _ := start(t)
	for name, opts := range map[string][]option{
		"without":            {from(stranger)},
		"wrong password":     {from(stranger), as("ann", "guess")},
		"unknown account":    {from(stranger), as("eve", "secret")},
		"empty password":     {from(stranger), as("ann", "")},
		"wrong, from here":   {as("ann", "guess")},
		"unknown, from here": {as("eve", "")},
	} {
		if _, err := try(t, b, opts...); err == nil {
			t.Errorf("%s: connected", name)
		}
	}
	ann := connect(t, b, from(stranger), as("ann", "secret"))
	token := ann.SubscribeMultiple(map[string]byte{"#": 1, "hearthgate/#": 1, "homeassistant/#": 1, "workshop/#": 1, "$SYS/#": 1}, nil)
	token.Wait()
	for filter, code := range token.(*paho.SubscribeToken).Result() {
		if want := strings.HasPrefix(filter, "h"); (code != 0x80) != want {
			t.Errorf("subscription of an account to %s: %#x", filter, code)
		}
	}
	program := connect(t, b)
	program.publish(t, "workshop/door", false, "open")
	program.publish(t, "hearthgate/device/lamp/command", false, "{}")
	ann.expect(t, "hearthgate/device/lamp/command", "{}")
}

func TestAHomeWithoutAccounts(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		for _, a := range []Accounts{nil, accounts{}} {
			_, err := New(Options{Listen: address, Accounts: a})
			if err == nil || !strings.Contains(err.Error(), "hearthgate mqtt user add") {
				t.Errorf("listen on %s without accounts: %v", address, err)
			}
		}
	}
	b, err := New(Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	go b.Serve()
	connect(t, b, as("homeassistant", "whatever")) // many programs must be given some name
	if _, err := New(Options{Listen: b.Addr().String()}); err == nil || !strings.Contains(err.Error(), "is taken") {
		t.Errorf("listen on a taken address: %v", err)
	}
	if _, err := New(Options{Listen: "here"}); err == nil || !strings.Contains(err.Error(), `"here" is not an address`) {
		t.Errorf("listen on nonsense: %v", err)
	}
}

func TestWithoutAListenerTheGatewayStillGetsIn(t *testing.T) {
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- b.Serve() }()
	if b.Addr() != nil {
		t.Errorf("an address: %v", b.Addr())
	}
	conn, err := b.Dial()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := b.Dial(); err == nil {
		t.Error("dialled a closed broker")
	}
}

func TestPublishWantsATopic(t *testing.T) {
	b, _ := start(t)
	for _, topic := range []string{"", "a/+/b", "a/#", "a\x00b", "a\xff", strings.Repeat("x", maxTopic+1)} {
		if err := b.Publish(topic, false, nil); err == nil {
			t.Errorf("published to %q", topic)
		}
	}
}

// A client id is its owner's: who else comes with it is somebody else.
func TestNobodyTakesAnothersPlace(t *testing.T) {
	b, _ := start(t)
	bridge := connect(t, b, inMemory(b), id("bridge"))
	lost := make(chan error, 1)
	ann := connect(t, b, from(stranger), as("ann", "secret"), id("ann's phone"),
		func(o *paho.ClientOptions) {
			o.SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err })
		})
	connect(t, b, id("bridge"))
	connect(t, b, id("bridge"), as("ann", "secret"))
	connect(t, b, id("ann's phone"), as("bob", "other"))
	connect(t, b, id("ann's phone"))
	bridge.publish(t, "hearthgate/bridge/state", true, "online")
	ann.subscribe(t, "hearthgate/bridge/state", 1)
	connect(t, b, as("ann", "secret"), id("ann's phone")) // herself, on another network
	<-lost
}

func TestWillsFollowTheRules(t *testing.T) {
	b, _ := start(t)
	for _, w := range []option{
		will("hearthgate/bridge/state", true), will("hearthgate/device/lamp/desk/set", true), will("workshop/door", false), will("hearthgate/+", false),
	} {
		if _, err := try(t, b, from(stranger), as("ann", "secret"), w); err == nil {
			t.Error("connected with a will that would speak for others")
		}
	}
	watcher := connect(t, b)
	watcher.subscribe(t, "homeassistant/status", 1)
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "\x10\x2a\x00\x04MQTT\x04\x06\x00\x3c\x00\x02ha\x00\x14homeassistant/status\x00\x04gone")
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	watcher.expect(t, "homeassistant/status", "gone")
}

func TestARemovedAccountIsCutOff(t *testing.T) {
	b, _ := start(t)
	ann := connect(t, b, from(stranger), as("ann", "secret"))
	bob := connect(t, b, from(stranger), as("bob", "other"))
	b.Drop("ann")
	eventually(t, "ann is cut off", func() bool { return !ann.IsConnectionOpen() })
	if !bob.IsConnectionOpen() {
		t.Error("so is bob")
	}
}

// A home with more topics than a client's queue has places.
func TestALateSubscriberGetsEveryRetainedMessage(t *testing.T) {
	b, _ := start(t)
	const topics = maxQueued + 1000
	for i := range topics {
		if err := b.Publish(fmt.Sprintf("hearthgate/device/d%d/temperature/state", i), true, []byte("21.5")); err != nil {
			t.Fatal(err)
		}
	}
	for qos := range byte(2) {
		late := connect(t, b)
		late.subscribe(t, "hearthgate/#", qos)
		for n := range topics {
			select {
			case <-late.got:
			case <-time.After(10 * time.Second):
				t.Fatalf("QoS %d: %d of %d arrived", qos, n, topics)
			}
		}
	}
	if s := b.Stats(); s.Dropped != 0 {
		t.Errorf("%d dropped", s.Dropped)
	}
}

// The gateway can publish faster than a client reads. It waits for one that is
// merely slower, by both of its ways to publish.
func TestAFastGatewayLosesNothingToASlowerClient(t *testing.T) {
	const messages = 2 * maxQueued
	for name, publish := range map[string]func(b *Broker) func(payload string){
		"in process": func(b *Broker) func(string) {
			return func(payload string) {
				if err := b.Publish("hearthgate/stream/meter", false, []byte(payload)); err != nil {
					t.Error(err)
				}
			}
		},
		"connected": func(b *Broker) func(string) {
			c := connect(t, b, inMemory(b))
			return func(payload string) { c.Publish("hearthgate/stream/meter", 0, false, payload) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := start(t)
			reader := connect(t, b)
			reader.subscribe(t, "hearthgate/#", 1)
			say := publish(b)
			go func() {
				for i := range messages {
					say(fmt.Sprint(i))
				}
			}()
			for i := range messages {
				reader.expect(t, "hearthgate/stream/meter", fmt.Sprint(i))
			}
			if s := b.Stats(); s.Dropped != 0 {
				t.Errorf("%d dropped", s.Dropped)
			}
			eventually(t, "all queues are empty", func() bool { return b.queued.Load() == 0 })
		})
	}
}

func TestMosquittosClients(t *testing.T) {
	b, _ := start(t)
	host, port, _ := net.SplitHostPort(b.Addr().String())
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			run := func(name string, args ...string) (string, error) {
				args = append([]string{"-h", host, "-p", port, "-V", version}, args...)
				out, err := exec.Command(name, args...).CombinedOutput()
				return string(out), err
			}
			if err := b.Publish("hearthgate/device/lamp/desk/state", true, []byte("ON")); err != nil {
				t.Fatal(err)
			}
			if out, err := run("mosquitto_sub", "-t", "hearthgate/#", "-v", "-C", "1", "-W", "10"); err != nil || out != "hearthgate/device/lamp/desk/state ON\n" {
				t.Errorf("mosquitto_sub printed %q (%v); is it installed (scripts/setup-tests.sh)?", out, err)
			}
			bridge := connect(t, b, inMemory(b))
			bridge.subscribe(t, "hearthgate/device/+/command", 1)
			for _, qos := range []string{"0", "1", "2"} {
				if out, err := run("mosquitto_pub", "-t", "hearthgate/device/lamp/command", "-m", qos, "-q", qos); err != nil {
					t.Errorf("mosquitto_pub: %v: %s", err, out)
				}
				bridge.expect(t, "hearthgate/device/lamp/command", qos)
			}
			if out, err := run("mosquitto_sub", "-A", stranger, "-t", "#", "-W", "10"); err == nil {
				t.Errorf("a stranger got in: %s", out)
			}
			if out, err := run("mosquitto_sub", "-A", stranger, "-u", "ann", "-P", "secret", "-t", "hearthgate/device/lamp/desk/state", "-C", "1", "-W", "10"); err != nil || out != "ON\n" {
				t.Errorf("ann read %q (%v)", out, err)
			}
			if out, _ := run("mosquitto_sub", "-A", stranger, "-u", "ann", "-P", "secret", "-t", "workshop/#", "-W", "10"); !strings.Contains(out, "denied") {
				t.Errorf("ann's subscription elsewhere: %q", out)
			}
			out, _ := run("mosquitto_pub", "-t", "hearthgate/bridge/state", "-m", "offline", "-r", "-q", "1")
			if told := strings.Contains(out, "Not authorized"); told != (version == "mqttv5") {
				t.Errorf("a message that is refused, where only MQTT 5 can say so: %q", out)
			}
		})
	}
}
