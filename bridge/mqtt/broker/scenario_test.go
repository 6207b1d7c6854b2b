package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// scenarios are conversations that go the same way with any broker: they are held
// with ours and with mosquitto.
var scenarios = map[string]func(t *testing.T, dial dialer){
	"QoS 2 to the broker arrives once": func(t *testing.T, dial dialer) {
		sub, pub := dial(v311), dial(v311)
		sub.enter(hello{id: "sub"})
		sub.subscribe("home/+", 1, "")
		pub.enter(hello{id: "pub"})
		pub.publish(2, false, 9, "home/door", "", "open")
		pub.expect(0x50, num16(9))
		pub.say(packet(0x3c, []byte(str("home/door")+num16(9)+"open"))) // DUP
		pub.expect(0x50, num16(9))
		pub.say("\x62\x02" + num16(9))
		pub.expect(0x70, num16(9))
		sub.gets("home/door open q1")
		sub.nothing()
		pub.publish(2, false, 9, "home/door", "", "shut") // the id is free again
		pub.expect(0x50, num16(9))
		pub.say("\x62\x02" + num16(9))
		sub.gets("home/door shut q1")
	},
	"QoS 2 from the broker": func(t *testing.T, dial dialer) {
		sub, pub := dial(v5), dial(v5)
		sub.enter(hello{id: "sub"})
		if code := sub.subscribe("home/#", 2, ""); code != "\x02" {
			t.Fatalf("granted %q", code)
		}
		pub.enter(hello{id: "pub"})
		pub.publish(2, false, 1, "home", "", "x")
		pub.say("\x62\x02" + num16(1))
		m := sub.gets("home x q2")
		sub.say("\x50\x02" + num16(m.id))
		sub.expect(0x62, num16(m.id))
		sub.say("\x70\x02" + num16(m.id))
		sub.nothing()
	},
	"a session that is away gets what it missed": func(t *testing.T, dial dialer) {
		sub, pub := dial(v311), dial(v311)
		if sub.enter(hello{id: "kept", resume: true}) {
			t.Error("there was a session before")
		}
		sub.subscribe("home/+", 1, "")
		sub.say("\xe0\x00")
		sub.ends(success)
		pub.enter(hello{id: "pub"})
		for i := range 3 {
			pub.publish(1, false, 1, "home/n", "", fmt.Sprint(i))
			pub.expect(0x40, num16(1))
		}
		sub = dial(v311)
		if !sub.enter(hello{id: "kept", resume: true}) {
			t.Error("the session is gone")
		}
		for i := range 3 {
			sub.gets(fmt.Sprintf("home/n %d q1", i))
		}
		sub.nothing()
		sub.hangUp()
		sub = dial(v311)
		if sub.enter(hello{id: "kept"}) {
			t.Error("a clean session is an old one")
		}
		pub.publish(0, false, 0, "home/n", "", "x")
		sub.nothing()
	},
	"what was not acknowledged comes again": func(t *testing.T, dial dialer) {
		sub, pub := dial(v311), dial(v311)
		sub.enter(hello{id: "kept", resume: true})
		sub.subscribe("home/+", 2, "")
		pub.enter(hello{id: "pub"})
		pub.publish(1, false, 1, "home/a", "", "1")
		pub.publish(2, false, 2, "home/b", "", "2")
		pub.publish(2, false, 3, "home/c", "", "3")
		pub.say("\x62\x02" + num16(2) + "\x62\x02" + num16(3))
		a, b, c := sub.message(), sub.message(), sub.message()
		sub.say("\x50\x02" + num16(c.id))
		sub.expect(0x62, num16(c.id))
		sub.hangUp()
		sub = dial(v311)
		sub.enter(hello{id: "kept", resume: true})
		a2, b2 := sub.message(), sub.message()
		a.dup, b.dup = true, true
		if a != a2 || b != b2 {
			t.Errorf("%+v %+v came again as %+v %+v", a, b, a2, b2)
		}
		sub.expect(0x62, num16(c.id))
	},
	"retained": func(t *testing.T, dial dialer) {
		pub, sub := dial(v311), dial(v311)
		pub.enter(hello{id: "pub"})
		sub.enter(hello{id: "live"})
		sub.subscribe("home/#", 1, "")
		pub.publish(1, true, 1, "home/lamp", "", "ON")
		pub.expect(0x40, num16(1))
		if m := sub.gets("home/lamp ON q1"); m.retain {
			t.Error("a live message has the retain flag")
		}
		late := dial(v311)
		late.enter(hello{id: "late"})
		late.subscribe("home/+", 0, "")
		if m := late.gets("home/lamp ON q0"); !m.retain {
			t.Error("a retained message came without its flag")
		}
		pub.publish(1, true, 2, "home/lamp", "", "")
		pub.expect(0x40, num16(2))
		sub.gets("home/lamp  q1")
		later := dial(v311)
		later.enter(hello{id: "later"})
		later.subscribe("home/#", 0, "")
		later.nothing()
	},
	"retain handling": func(t *testing.T, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k"})
		k.publish(0, true, 0, "home/lamp", "", "ON")
		k.subscribe("home/lamp", 2<<4, "") // never
		k.nothing()
		k.subscribe("home/+", 1<<4, "") // if new
		k.gets("home/lamp ON q0")
		k.subscribe("home/+", 1<<4, "")
		k.nothing()
		k.subscribe("home/+", 0, "") // always
		k.gets("home/lamp ON q0")
	},
	"retain as published, and no local": func(t *testing.T, dial dialer) {
		k, other := dial(v5), dial(v5)
		k.enter(hello{id: "k"})
		other.enter(hello{id: "other"})
		other.subscribe("home/#", 8, "")
		k.subscribe("home/#", 4, "")
		k.publish(0, true, 0, "home/lamp", "", "ON")
		if m := other.gets("home/lamp ON q0"); !m.retain {
			t.Error("not as published")
		}
		k.nothing()
		other.publish(0, true, 0, "home/lamp", "", "OFF")
		if m := k.gets("home/lamp OFF q0"); m.retain {
			t.Error("as published, though not asked for")
		}
	},
	"what is said of a message goes on with it": func(t *testing.T, dial dialer) {
		pub, sub, old := dial(v5), dial(v5), dial(v311)
		pub.enter(hello{id: "pub"})
		sub.enter(hello{id: "sub"})
		old.enter(hello{id: "old"})
		sub.subscribe("home/#", 1, "")
		old.subscribe("home/#", 1, "")
		props := []string{"\x01\x01", "\x03" + str("application/json"), "\x08" + str("home/answer"), "\x09" + str("\x00\xff"), userProp("a", "1"), userProp("b", "2"), userProp("a", "3")}
		pub.publish(1, false, 1, "home/q", strings.Join(props, ""), "{}")
		m := sub.gets("home/q {} q1")
		for _, p := range props {
			if !strings.Contains(m.props, p) {
				t.Errorf("%q is missing in %q", p, m.props)
			}
		}
		if len(m.props) != len(strings.Join(props, "")) || strings.Index(m.props, props[4]) > strings.Index(m.props, props[6]) {
			t.Errorf("properties became %q", m.props)
		}
		old.gets("home/q {} q1")
	},
	"subscription identifiers": func(t *testing.T, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k"})
		k.subscribe("home/+", 0, "\x0b\xc8\x01")
		k.publish(0, false, 0, "home/a", userProp("k", "v"), "x")
		if m := k.gets("home/a x q0"); !strings.Contains(m.props, "\x0b\xc8\x01") || !strings.Contains(m.props, userProp("k", "v")) {
			t.Errorf("properties %q", m.props)
		}
	},
	"a retained message tells what is left of its life": func(t *testing.T, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k"})
		k.publish(0, true, 0, "home/a", "\x02"+num32(1000), "x")
		k.subscribe("home/a", 0, "")
		if m := k.gets("home/a x q0"); m.props != "\x02"+num32(1000) && m.props != "\x02"+num32(999) {
			t.Errorf("properties %q", m.props)
		}
	},
	"receive maximum": func(t *testing.T, dial dialer) {
		sub, pub := dial(v5), dial(v5)
		sub.enter(hello{id: "sub", props: "\x21" + num16(1)})
		sub.subscribe("home/+", 1, "")
		pub.enter(hello{id: "pub"})
		for i := range uint16(3) {
			pub.publish(1, false, i+1, "home/n", "", fmt.Sprint(i))
			pub.hear()
		}
		for i := range 3 {
			m := sub.message()
			if m.payload != fmt.Sprint(i) {
				t.Fatalf("%+v", m)
			}
			sub.nothing()
			sub.say("\x40\x02" + num16(m.id))
		}
	},
	"maximum packet size": func(t *testing.T, dial dialer) {
		sub, pub := dial(v5), dial(v5)
		sub.enter(hello{id: "sub", props: "\x27" + num32(64)})
		sub.subscribe("home/+", 1, "")
		pub.enter(hello{id: "pub"})
		pub.publish(0, false, 0, "home/n", "", strings.Repeat("x", 64))
		pub.publish(0, false, 0, "home/n", "", "small")
		sub.gets("home/n small q0")
	},
	"wills": func(t *testing.T, dial dialer) {
		watcher := dial(v5)
		watcher.enter(hello{id: "watcher"})
		watcher.subscribe("will/#", 0, "")
		for _, version := range []byte{v31, v311, v5} {
			k := dial(version)
			k.enter(hello{id: "polite", will: "will/a", lastWord: "never"})
			k.say("\xe0\x00")
			k.conn.Read(make([]byte, 1))
			k = dial(version)
			k.enter(hello{id: "rude", will: "will/b", lastWord: "gone"})
			k.hangUp()
			watcher.gets("will/b gone q0")
		}
		k := dial(v5)
		k.enter(hello{id: "tired", will: "will/c", lastWord: "tired", willProps: "\x03" + str("text/plain") + userProp("a", "b")})
		k.say("\xe0\x01\x04") // with will
		if m := watcher.gets("will/c tired q0"); len(m.props) != len("\x03"+str("text/plain")+userProp("a", "b")) {
			t.Errorf("properties %q", m.props)
		}
	},
	"no client id": func(t *testing.T, dial dialer) {
		k := dial(v5)
		if _, code, props := k.connect(hello{}); code != 0 || !strings.Contains(props, "\x12\x00") {
			t.Errorf("code %#x, properties %q", code, props)
		}
		k = dial(v311)
		if _, code, _ := k.connect(hello{resume: true}); code != 2 {
			t.Errorf("an old client that wants a session without a name: %#x", code)
		}
	},
	"filters that were not subscribed to": func(t *testing.T, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k"})
		k.subscribe("home/a", 0, "")
		k.say(packet(0xa2, []byte(num16(3)+block("")+str("home/a")+str("home/b"))))
		k.expect(0xb0, num16(3)+"\x00"+"\x00\x11")
		k.publish(0, false, 0, "home/a", "", "x")
		k.nothing()
	},
	"shared subscriptions": func(t *testing.T, dial dialer) {
		pub := dial(v5)
		pub.enter(hello{id: "pub"})
		a, b := dial(v5), dial(v5)
		for _, k := range []*talk{a, b} {
			k.enter(hello{id: fmt.Sprint("m", k == a)})
			k.subscribe("$share/g/home/+", 1, "")
		}
		for range 4 {
			pub.publish(0, false, 0, "home/n", "", "x")
		}
		pub.nothing()
		for range 2 {
			a.gets("home/n x q0")
			b.gets("home/n x q0")
		}
		a.nothing()
		b.nothing()
	},
	"another version comes back to a session": func(t *testing.T, dial dialer) {
		old, pub := dial(v311), dial(v5)
		old.enter(hello{id: "kept", resume: true})
		old.subscribe("home/+", 1, "")
		old.say("\xe0\x00")
		old.ends(success)
		pub.enter(hello{id: "pub"})
		pub.publish(1, false, 1, "home/a", userProp("k", "v"), "x")
		pub.hear()
		k := dial(v5)
		if !k.enter(hello{id: "kept", resume: true}) {
			t.Error("the session is gone")
		}
		if m := k.gets("home/a x q1"); m.props != userProp("k", "v") {
			t.Errorf("properties %q", m.props)
		}
	},
}

// ourOwn are conversations in which brokers differ: in words that the standard
// leaves open, or because of our rules.
var ourOwn = map[string]func(t *testing.T, dial dialer){
	"the client id comes again": func(t *testing.T, dial dialer) {
		first, second := dial(v5), dial(v5)
		first.enter(hello{id: "same"})
		second.enter(hello{id: "same"})
		first.ends(takenOver)
		second.nothing()
	},
	"mistakes are named": func(t *testing.T, dial dialer) {
		for say, code := range map[string]reason{
			packet(0x30, []byte(str("a")+"\x03\x23\x00\x01"+"x")):     badAlias,
			hello{id: "k"}.packet(v5):                                 protocolError,
			packet(0x36, []byte(str("a")+num16(1)+"\x00x")):           malformed,
			packet(0x30, []byte(str("a")+block("\x11"+num32(1))+"x")): protocolError,
		} {
			k := dial(v5)
			k.enter(hello{id: "k"})
			k.say(say)
			k.ends(code)
		}
	},
	"overlapping subscriptions": func(t *testing.T, dial dialer) {
		sub, pub := dial(v5), dial(v5)
		sub.enter(hello{id: "sub"})
		sub.subscribe("home/+", 0, "\x0b\x01")
		sub.subscribe("home/#", 2, "\x0b\x02")
		sub.subscribe("home/a", 1|8, "")
		pub.enter(hello{id: "pub"})
		pub.publish(1, true, 1, "home/a", "", "x")
		m := sub.gets("home/a x q1") // the highest, as far as it was published
		if !m.retain || len(m.props) != 4 || !strings.Contains(m.props, "\x0b\x01") || !strings.Contains(m.props, "\x0b\x02") {
			t.Errorf("%+v", m)
		}
		sub.nothing()
		sub.subscribe("home/a", 4, "") // no local: the other two still want it
		sub.gets("home/a x q0")
		sub.publish(1, false, 1, "home/a", "", "own")
		sub.acked(1)
		sub.gets("home/a own q1")
	},
	"a subscription again takes the place of the old": func(t *testing.T, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k"})
		k.subscribe("home/a", 1, "\x0b\x01")
		k.subscribe("home/a", 0, "")
		k.publish(1, false, 1, "home/a", "", "x")
		k.acked(1)
		if m := k.gets("home/a x q0"); m.props != "" {
			t.Errorf("properties %q", m.props)
		}
		k.nothing()
	},
	"what the rules forbid": func(t *testing.T, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k"})
		k.publish(1, false, 1, "hearthgate/bridge/state", "", "offline")
		k.expect(0x40, num16(1)+"\x87")
		k.publish(2, false, 2, "hearthgate/bridge/state", "", "offline")
		k.expect(0x50, num16(2)+"\x87")
		k.publish(2, false, 2, "home/a", "", "x") // the refusal freed the id
		k.expect(0x50, num16(2))
		k.say("\x62\x02" + num16(2))
		k.expect(0x70, num16(2))
		k.say("\x62\x02" + num16(2))
		k.expect(0x70, num16(2)+"\x92")
		k.publish(1, false, 1, "$SYS/broker/version", "", "mine")
		k.expect(0x40, num16(1)+"\x87")
		old := dial(v311)
		old.enter(hello{id: "old"})
		old.publish(1, false, 1, "hearthgate/bridge/state", "", "offline")
		old.expect(0x40, num16(1))
		old.publish(2, false, 2, "hearthgate/bridge/state", "", "offline")
		old.expect(0x50, num16(2))
		old.say("\x62\x02" + num16(2))
		old.expect(0x70, num16(2))
	},
	"refusals in each version's words": func(t *testing.T, dial dialer) {
		for version, want := range map[byte]byte{v31: 5, v311: 5, v5: byte(badUser)} {
			if _, code, _ := dial(version).connect(hello{id: "k", user: "ann", password: "guess"}); code != want {
				t.Errorf("version %d: a wrong password is answered with %#x", version, code)
			}
		}
		for version, want := range map[byte]byte{v31: 5, v311: 5, v5: byte(notAuthorized)} {
			if _, code, _ := dial(version).connect(hello{id: "k", will: "hearthgate/bridge/state"}); code != want {
				t.Errorf("version %d: a will against the rules is answered with %#x", version, code)
			}
		}
		if _, code, _ := dial(v5).connect(hello{id: "k", props: "\x15" + str("SCRAM-SHA-1")}); code != byte(badAuthMethod) {
			t.Errorf("an authentication method: %#x", code)
		}
		if _, code, _ := dial(v5).connect(hello{id: strings.Repeat("k", maxClientID+1)}); code != byte(badClientID) {
			t.Errorf("a long client id: %#x", code)
		}
		k := dial(v311)
		k.say(packet(0x10, []byte(str("MQTT")+"\x06\x02\x00\x3c"+str("k"))))
		k.expect(0x20, "\x00\x01")
	},
	"filters that cannot be": func(t *testing.T, dial dialer) {
		k, old := dial(v5), dial(v311)
		k.enter(hello{id: "k"})
		old.enter(hello{id: "old"})
		for _, filter := range []string{"a/#/b", "a#", "a+/b", "+a", "$share/g", "$share//a", "$share/g/", "$share/+/a"} {
			if code := k.subscribe(filter, 0, ""); code != "\x8f" {
				t.Errorf("%s: %q", filter, code)
			}
			if code := old.subscribe(filter, 0, ""); code != "\x80" {
				t.Errorf("%s: %q", filter, code)
			}
		}
	},
	"terms": func(t *testing.T, dial dialer) {
		_, _, props := dial(v5).connect(hello{id: "k", keepalive: 5000, props: "\x11" + num32(0xffffffff)})
		if want := "\x11" + num32(sessionLife) + "\x21" + num16(maxUnacked) + "\x27" + num32(maxPacket) + "\x13" + num16(maxKeepalive); props != want {
			t.Errorf("% x, want % x", props, want)
		}
	},
	"more at QoS 2 than agreed": func(t *testing.T, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k"})
		for id := range uint16(maxUnacked) {
			k.publish(2, false, id+1, "home/a", "", "x")
			k.expect(0x50, num16(id+1))
		}
		k.publish(2, false, maxUnacked+1, "home/a", "", "x")
		k.ends(tooManyUnacked)
	},
	"a client that leaves the first unacknowledged": func(t *testing.T, dial dialer) {
		sub, pub := dial(v311), dial(v311)
		sub.enter(hello{id: "sub"})
		sub.subscribe("home/+", 1, "")
		pub.enter(hello{id: "pub"})
		ids := map[uint16]bool{}
		for i := range 3 * maxUnacked {
			pub.publish(1, false, 1, "home/n", "", fmt.Sprint(i))
			pub.expect(0x40, num16(1))
			m := sub.message()
			if m.payload != fmt.Sprint(i) || m.id == 0 || ids[m.id] {
				t.Fatalf("%+v", m)
			}
			if i == 0 {
				ids[m.id] = true
				continue
			}
			sub.say("\x40\x02" + num16(m.id))
		}
	},
	"more retained messages than a client takes at once": func(t *testing.T, dial dialer) {
		pub, sub := dial(v311), dial(v5)
		pub.enter(hello{id: "pub"})
		const topics = maxQueued + 500
		for i := range topics {
			pub.publish(1, true, 1, fmt.Sprintf("home/%d", i), "", "x")
			pub.expect(0x40, num16(1))
		}
		sub.enter(hello{id: "sub", props: "\x21" + num16(3)})
		for _, filter := range []string{"home/+", "#"} {
			sub.say(packet(0x82, []byte(num16(1)+"\x00"+str(filter)+"\x01")))
		}
		for got := 0; got < 2*topics; {
			head, body := sub.hear()
			if head != 0x33 {
				continue // SUBACK
			}
			got++
			sub.say("\x40\x02" + body[2+int(body[1]):4+int(body[1])])
		}
		sub.nothing()
	},
}

func TestOurOwnWays(t *testing.T) {
	for name, scenario := range ourOwn {
		t.Run(name, func(t *testing.T) {
			b, _ := start(t)
			scenario(t, dialTCP(t, b.Addr().String()))
		})
	}
}

func TestScenariosWithOurs(t *testing.T) {
	for name, scenario := range scenarios {
		t.Run(name, func(t *testing.T) {
			b, _ := start(t)
			scenario(t, dialTCP(t, b.Addr().String()))
			if s := b.Stats(); s.Denied != 0 || s.Refused > 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestScenariosWithMosquitto(t *testing.T) {
	for name, scenario := range scenarios {
		t.Run(name, func(t *testing.T) { scenario(t, dialTCP(t, proctest.StartMosquitto(t).Address)) })
	}
}
