package mqtt

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// seqOf is the seq of a message of the stream.
func seqOf(t *testing.T, payload string) uint64 {
	t.Helper()
	var m struct {
		Boot string
		Seq  uint64
	}
	if err := json.Unmarshal([]byte(payload), &m); err != nil {
		t.Fatalf("stream: %v in %s", err, payload)
	}
	return m.Seq
}

func TestBrokerAwayLosesNothingAndStatesComeFirst(t *testing.T) {
	m := startMosquitto(t, true)
	h := newHome(t)
	h.add("kitchen", thermometer, plug)
	h.add("cellar", thermometer)
	c := newClient(t, m.dial, "hearthgate/#")
	h.run(Options{Broker: "mqtt://" + m.Address})
	h.say("kitchen", number("temperature", 1))
	h.say("cellar", number("temperature", 7))
	c.expect("hearthgate/device/cellar/temperature/state", "7")
	c.expectThat("the epoch mark", func(x heard) bool { return x.topic == "hearthgate/bridge/epoch" })
	eventually(t, "all is confirmed", func() bool { return h.bridge.Status().Lag == 0 })
	m.Stop()
	eventually(t, "the bridge notices", func() bool { return !h.bridge.Status().Connected })
	for i := range 5 {
		h.say("kitchen", number("temperature", float64(10+i)))
	}
	m.Start()
	c = newClient(t, m.dial, "hearthgate/#")
	// What is right now comes first, each once; then the stream in order.
	c.expect("hearthgate/device/kitchen/temperature/state", "14")
	for want := uint64(3); want <= 7; {
		x := c.expectThat("stream or state", func(x heard) bool { return !x.retained })
		switch {
		case strings.HasPrefix(x.topic, "hearthgate/stream/"):
			if got := seqOf(t, x.payload); got != want {
				t.Fatalf("stream carries seq %d, want %d", got, want)
			}
			want++
		case strings.HasSuffix(x.topic, "/state") && strings.Contains(x.topic, "/device/"):
			if x.payload != "14" {
				t.Errorf("an old state was published: %v", x)
			}
		case x.topic == "hearthgate/device/kitchen/info", strings.Contains(x.topic, "cellar"):
			t.Errorf("published again though the broker has it: %v", x)
		}
	}
}

func TestBrokerThatForgotGetsEverythingAgain(t *testing.T) {
	m := startMosquitto(t, false)
	h := newHome(t)
	h.add("kitchen", thermometer, plug)
	h.run(Options{Broker: "mqtt://" + m.Address})
	h.presence("kitchen", store.Online)
	h.say("kitchen", number("temperature", 21.5), onOff("plug", false))
	eventually(t, "all is confirmed", func() bool { return h.bridge.Status().Connected && h.bridge.Status().Lag == 0 })
	m.Kill()
	eventually(t, "the bridge notices", func() bool { return !h.bridge.Status().Connected })
	m.Start()
	eventually(t, "the bridge is back", func() bool { return h.bridge.Status().Connected })
	c := newClient(t, m.dial, "hearthgate/bridge/epoch", "hearthgate/device/#", "homeassistant/#")
	want := map[string]string{
		"hearthgate/bridge/epoch":                                            h.store.Epoch(),
		"hearthgate/device/kitchen/availability":                             "online",
		"hearthgate/device/kitchen/temperature/state":                        "21.5",
		"hearthgate/device/kitchen/plug/state":                               "OFF",
		"hearthgate/device/kitchen/info":                                     "",
		"hearthgate/device/kitchen/lifecycle":                                "",
		"homeassistant/device/hg_" + h.store.GatewayID() + "_kitchen/config": "",
	}
	for len(want) > 0 {
		x := c.expectThat(fmt.Sprint(want), func(heard) bool { return true })
		if p, ok := want[x.topic]; ok && (p == "" || p == x.payload) {
			delete(want, x.topic)
		}
	}
}

// A broker that was killed comes back with what it kept some time before: the mark of
// our store is there, and states that are no longer true.
func TestBrokerThatComesBackFromAnEarlierTime(t *testing.T) {
	m := startMosquitto(t, false, "persistence true", "autosave_interval 3600")
	h := newHome(t)
	h.add("kitchen", thermometer, plug)
	h.run(Options{Broker: "mqtt://" + m.Address})
	h.say("kitchen", number("temperature", 20), onOff("plug", true))
	c := newClient(t, m.dial, "hearthgate/bridge/epoch")
	c.expect("hearthgate/bridge/epoch", h.store.Epoch())
	eventually(t, "all is confirmed", func() bool { return h.bridge.Status().Lag == 0 })
	if err := syscall.Kill(m.Pid(), syscall.SIGUSR1); err != nil { // it keeps what it has now
		t.Fatal(err)
	}
	eventually(t, "it is kept", func() bool {
		kept, err := os.Stat(filepath.Join(m.Dir, "mosquitto.db"))
		return err == nil && kept.Size() > 0
	})
	h.say("kitchen", number("temperature", 21))
	eventually(t, "all is confirmed", func() bool { return h.bridge.Status().Lag == 0 })
	m.Kill()
	eventually(t, "the bridge notices", func() bool { return !h.bridge.Status().Connected })
	m.Start()
	newClient(t, m.dial, "hearthgate/device/kitchen/temperature/state").expect("hearthgate/device/kitchen/temperature/state", "21")
}

func TestGatewayRestartPublishesWhatChangedMeanwhile(t *testing.T) {
	m := startMosquitto(t, false)
	dir := t.TempDir()
	h := openHome(t, dir)
	h.add("kitchen", thermometer, plug)
	h.run(Options{Broker: "mqtt://" + m.Address})
	h.say("kitchen", number("temperature", 20), onOff("plug", true))
	eventually(t, "all is confirmed", func() bool { return h.bridge.Status().Connected && h.bridge.Status().Lag == 0 })
	c := newClient(t, m.dial, "hearthgate/bridge/epoch")
	c.expect("hearthgate/bridge/epoch", h.store.Epoch())
	h.stop()
	h.say("kitchen", number("temperature", 22)) // said while no bridge ran
	h.close()
	h = openHome(t, dir)
	h.seq = 100
	c = newClient(t, m.dial, "hearthgate/device/#", "homeassistant/#")
	c.expect("hearthgate/device/kitchen/plug/state", "ON")
	h.run(Options{Broker: "mqtt://" + m.Address})
	c.expect("hearthgate/device/kitchen/temperature/state", "22")
	h.say("kitchen", number("temperature", 23))
	for {
		x := c.expectThat("the last state", func(x heard) bool { return !x.retained })
		if x.payload == "23" {
			break
		}
		if strings.HasSuffix(x.topic, "/config") || strings.HasSuffix(x.topic, "plug/state") || strings.HasSuffix(x.topic, "/info") {
			t.Errorf("published again though nothing changed: %v", x)
		}
	}
}

// forgetful is a broker that says yes to everything but acknowledges only the
// first few messages.
type forgetful struct {
	l    net.Listener
	acks atomic.Int64 // that are left
	got  atomic.Int64 // messages of the stream
}

func (f *forgetful) serve() {
	for {
		conn, err := f.l.Accept()
		if err != nil {
			return
		}
		go f.talk(conn)
	}
}

func (f *forgetful) talk(conn net.Conn) {
	defer conn.Close()
	for {
		p, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			packets.NewControlPacket(packets.Connack).Write(conn)
		case *packets.SubscribePacket:
			a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			a.MessageID, a.ReturnCodes = p.MessageID, make([]byte, len(p.Topics))
			a.Write(conn)
		case *packets.PingreqPacket:
			packets.NewControlPacket(packets.Pingresp).Write(conn)
		case *packets.PublishPacket:
			if strings.HasPrefix(p.TopicName, "hearthgate/stream/") {
				f.got.Add(1)
				continue // never acknowledged
			}
			if f.acks.Add(-1) >= 0 {
				a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
				a.MessageID = p.MessageID
				a.Write(conn)
			}
		}
	}
}

func TestOutboxWaitsForABrokerThatNeverAcknowledges(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetful{l: l}
	f.acks.Store(1 << 40)
	go f.serve()
	defer l.Close()
	h := newHome(t)
	h.add("kitchen", thermometer)
	// With little patience it reconnects a few times.
	o := Options{Broker: "mqtt://" + l.Addr().String()}
	h.runWith(o, func(b *Bridge) { b.patience, b.grace = 100*time.Millisecond, time.Millisecond })
	for range 3 {
		h.say("kitchen", number("temperature", 1))
	}
	eventually(t, "the stream is sent again and again", func() bool { return f.got.Load() >= 9 })
	if s := h.bridge.Status(); s.Lag != 3 || s.Published != 0 || s.Skipped != 0 {
		t.Errorf("the outbox moved: %+v", s)
	}
	if cs := h.store.Cursors(); len(cs) != 1 || cs[0].Lag != 3 {
		t.Errorf("the cursor moved: %+v", cs)
	}
}

func TestMessageThatTheBrokerRefusesTwiceIsSkipped(t *testing.T) {
	m := startMosquitto(t, false, "max_packet_size 6000")
	h := newHome(t)
	h.add("kitchen", thermometer, protocol.Component{ID: "note", Kind: "text"})
	c, events := newClient(t, m.dial, "hearthgate/stream/#"), newClient(t, m.dial, "hearthgate/bridge/event")
	h.run(Options{Broker: "mqtt://" + m.Address})
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	var large []protocol.Record
	for i := range 300 {
		large = append(large, protocol.Record{Name: "temperature", Value: protocol.Float(float64(i)), Time: time.Now().UnixNano() + int64(i)})
	}
	h.say("kitchen", number("temperature", 1))
	h.say("kitchen", large...)
	h.say("kitchen", number("temperature", 3))
	c.expectThat("seq 3", func(x heard) bool { return x.topic == "hearthgate/stream/kitchen" && seqOf(t, x.payload) == 3 })
	eventually(t, "the outbox is empty", func() bool { return h.bridge.Status().Lag == 0 })
	if s := h.bridge.Status(); s.Skipped != 1 {
		t.Errorf("skipped %d messages, want 1", s.Skipped)
	}
	events.expectThat("alert", func(x heard) bool {
		return x.topic == "hearthgate/bridge/event" && strings.Contains(x.payload, "hearthgate/stream/kitchen")
	})
}

// The will of a connection that died may reach its readers after the next
// connection said online.
func TestALateWillIsContradicted(t *testing.T) {
	m := startMosquitto(t, false)
	h := newHome(t)
	h.run(Options{Broker: "mqtt://" + m.Address})
	eventually(t, "connected", func() bool { return h.bridge.Status().Connected })
	c := newClient(t, m.dial, "hearthgate/bridge/state")
	c.expect("hearthgate/bridge/state", "online")
	c.publish("hearthgate/bridge/state", "offline", true)
	c.expect("hearthgate/bridge/state", "offline")
	c.expect("hearthgate/bridge/state", "online")
}

func TestTwoGatewaysOnOneBaseTopic(t *testing.T) {
	m := startMosquitto(t, false)
	first, second := newHome(t), newHome(t)
	second.add("kitchen", thermometer)
	c := newClient(t, m.dial, "hearthgate/#")
	first.run(Options{Broker: "mqtt://" + m.Address})
	c.expectThat("the first's mark", func(x heard) bool { return x.topic == "hearthgate/bridge/epoch" })
	second.run(Options{Broker: "mqtt://" + m.Address})
	eventually(t, "the second sees the first", func() bool { return second.bridge.Status().Conflict })
	c.publish("hearthgate/marker", "x", false)
	for {
		x := c.expectThat("marker", func(heard) bool { return true })
		if x.topic == "hearthgate/marker" {
			break
		}
		if strings.Contains(x.topic, "kitchen") || x.payload == "offline" {
			t.Errorf("the second published %v", x)
		}
	}
	// Once the first is gone the second takes over.
	first.stop()
	c.expect("hearthgate/device/kitchen/availability", "offline")
	c.expect("hearthgate/bridge/state", "online")
}

func TestAddressesOfBrokers(t *testing.T) {
	for in, want := range map[string]string{
		"mqtt://broker":           "mqtt://broker:1883",
		"mqtts://u:p@broker":      "mqtts://broker:8883",
		"mqtt://[::1]:2000":       "mqtt://[::1]:2000",
		"wss://broker/mqtt":       "wss://broker:443/mqtt",
		"broker:1883":             "",
		"http://broker":           "",
		"mqtt://":                 "",
		"mqtt://broker:port/\x7f": "",
	} {
		o := Options{Broker: in}
		u, err := o.parseBroker()
		if want == "" {
			if err == nil {
				t.Errorf("%q was taken", in)
			}
			continue
		}
		if err != nil || u.String() != want {
			t.Errorf("%q: %v, %v, want %s", in, u, err, want)
		}
		if strings.Contains(in, "@") && (o.User != "u" || o.Password != "p") {
			t.Errorf("%q: user %q, password %q", in, o.User, o.Password)
		}
	}
}
