package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

const greeting = "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00" // CONNECT, MQTT 3.1.1, no id

// raw opens a socket from an address of this machine and says something.
func raw(t *testing.T, b *Broker, from, say string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, say)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// mustEnd reads until the broker closes the connection.
func mustEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Error("the connection is still open")
		}
	}
}

// packet is an MQTT packet with a right length.
func packet(kind byte, body []byte) string {
	head := []byte{kind}
	n := len(body)
	for more := true; more; {
		c := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			c |= 0x80
		} else {
			more = false
		}
		head = append(head, c)
	}
	return string(append(head, body...))
}

func publishPacket(topic string, payload []byte) string {
	return packet(0x30, append(append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...), payload...))
}

func TestHostilePeersEndAndOthersDoNotNotice(t *testing.T) {
	long := binary.BigEndian.AppendUint16(nil, 0xffff)
	tests := map[string]string{
		"not MQTT at all":                      "GET / HTTP/1.1\r\nHost: hearthgate\r\n\r\n",
		"TLS":                                  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"junk":                                 "\x81\x05hello",
		"zeros":                                strings.Repeat("\x00", 4096),
		"a length of five bytes":               "\x10\xff\xff\xff\xff\x7f",
		"a CONNECT of 256 MiB":                 "\x10\xff\xff\xff\x7f",
		"a CONNECT of 1 MiB":                   packet(0x10, make([]byte, 1<<20)),
		"PUBLISH before CONNECT":               publishPacket("workshop/door", []byte("open")),
		"a CONNECT of nothing":                 "\x10\x00",
		"a CONNECT whose strings overrun":      packet(0x10, append([]byte("\x00\x04MQTT\x04\x02\x00\x3c"), long...)),
		"an unknown protocol version":          "\x10\x0c\x00\x04MQTT\x09\x02\x00\x3c\x00\x00",
		"two CONNECTs":                         greeting + greeting,
		"five bytes that promise 256 MiB":      greeting + "\x30\xff\xff\xff\x7f",
		"10 MB":                                greeting + publishPacket("workshop/film", make([]byte, 10<<20)),
		"more than its share":                  greeting + publishPacket("workshop/film", make([]byte, maxPacket)),
		"a wildcard topic":                     greeting + publishPacket("hearthgate/device/+/command", []byte("{}")),
		"a topic that is not UTF-8":            greeting + publishPacket("work\xffshop", nil),
		"no topic":                             greeting + publishPacket("", nil),
		"QoS 3":                                greeting + "\x36\x05\x00\x01a\x00\x01",
		"SUBSCRIBE without a filter":           greeting + "\x82\x02\x00\x01",
		"SUBSCRIBE whose filter overruns":      greeting + "\x82\x05\x00\x01\xff\xffa",
		"a packet type that servers send":      greeting + "\x20\x02\x00\x00",
		"reserved type 0":                      greeting + "\x00\x00",
		"MQTT 5: properties longer than all":   "\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\xff\x00\x00",
		"MQTT 5: properties of endless length": "\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\xff\xff\xff\xff\x00\x00",
	}
	b, _ := start(t)
	bystander := connect(t, b)
	bystander.subscribe(t, "#", 1)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for name, say := range tests {
		t.Run(name, func(t *testing.T) {
			conn := raw(t, b, "127.0.0.1", "")
			go io.WriteString(conn, say) // the broker may hang up before it has all
			mustEnd(t, conn)
			bystander.publish(t, "workshop/clock", false, name)
			bystander.expect(t, "workshop/clock", name)
		})
	}
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// Sixteen of these once made a broker reserve 4 GiB.
func TestAMemoryBombOfFiveBytes(t *testing.T) {
	b, _ := start(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 16 {
		mustEnd(t, raw(t, b, "127.0.0.1", greeting+"\x30\xff\xff\xff\x7f"))
		mustEnd(t, raw(t, b, "127.0.0.1", "\x10\xff\xff\xff\x7f"))
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("32 connections of a few bytes allocated %d MiB", n>>20)
	}
}

func TestHalfAConnectIsGivenTenSeconds(t *testing.T) {
	for name, say := range map[string]string{"nothing": "", "a byte": "\x10", "a half": greeting[:6], "all but one": greeting[:13]} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := pipe()
				p := newPeer(ours)
				began := time.Now()
				go io.WriteString(theirs, say)
				err := p.readConnect()
				if err == nil || time.Since(began) != connectTimeout {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				theirs.Close()
			})
		})
	}
	// A patient enemy: one byte at a time does not win time.
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := pipe()
		p := newPeer(ours)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, c := range []byte(greeting) {
				time.Sleep(time.Second)
				if _, err := theirs.Write([]byte{c}); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		if err := p.readConnect(); err == nil || time.Since(began) != connectTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ours.Close()
		<-done
	})
}

func TestAConnectIsReadWhole(t *testing.T) {
	more := greeting + "\xc0\x00" // with a PINGREQ behind it
	for cut := range len(more) {
		ours, theirs := pipe()
		p := newPeer(ours)
		go func() {
			io.WriteString(theirs, more[:cut])
			io.WriteString(theirs, more[cut:])
			theirs.Close()
		}()
		if err := p.readConnect(); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if got, err := io.ReadAll(p); string(got) != more || err != nil {
			t.Fatalf("cut at %d: the broker reads %q (%v)", cut, got, err)
		}
	}
}

func TestOneAddressCannotTakeAllPlaces(t *testing.T) {
	b, log := start(t)
	for range maxPerAddress {
		raw(t, b, stranger, "\x10")
	}
	eventually(t, "all are in", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.network == maxPerAddress
	})
	extra := raw(t, b, stranger, greeting)
	mustEnd(t, extra)
	connect(t, b, from("127.0.0.1"))
	if !strings.Contains(log.String(), "too many connections") {
		t.Errorf("nothing was said: %s", log)
	}
	b.mu.Lock()
	peers := len(b.peers)
	b.mu.Unlock()
	if peers != maxPerAddress+1 {
		t.Errorf("%d connections", peers)
	}
}

func TestATopicCannotBeDeepOrLong(t *testing.T) {
	b, _ := start(t)
	program := connect(t, b)
	for _, filter := range []string{strings.Repeat("/", 1000), strings.Repeat("x", 2000), "$share/g/" + strings.Repeat("a/", 50)} {
		if program.maySubscribe(t, filter, 1) {
			t.Errorf("subscribed to %d bytes, %d levels", len(filter), strings.Count(filter, "/"))
		}
		program.publish(t, strings.TrimPrefix(filter, "$share/g"), true, "x")
	}
	for i := range maxSubscriptions {
		program.subscribe(t, fmt.Sprintf("workshop/%d", i), 0)
	}
	if program.maySubscribe(t, "workshop/one-more", 0) {
		t.Error("more subscriptions than one client may have")
	}
	program.subscribe(t, "workshop/7", 1) // one that it has already
}

func TestASilentClientIsNoticed(t *testing.T) {
	b, _ := start(t)
	for name, tt := range map[string]struct{ connect, answer string }{
		"3.1.1, keepalive 0":     {"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00", "\x20\x02\x00\x00"},
		"3.1.1, keepalive 18 h":  {"\x10\x0c\x00\x04MQTT\x04\x02\xff\xff\x00\x00", "\x20\x02\x00\x00"},
		"5, keepalive 0 is told": {"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x02c5", "\x13\x02\x58"}, // server keep alive: 600
	} {
		t.Run(name, func(t *testing.T) {
			conn := raw(t, b, "127.0.0.1", tt.connect)
			got := make([]byte, 64)
			n, err := conn.Read(got)
			if err != nil || !bytes.Contains(got[:n], []byte(tt.answer)) {
				t.Errorf("answered % x (%v)", got[:n], err)
			}
			b.exchange.mu.Lock()
			defer b.exchange.mu.Unlock()
			for _, s := range b.exchange.sessions {
				if s.conn != nil && s.conn.keepalive != maxKeepalive*time.Second*3/2 {
					t.Errorf("may be silent for %v", s.conn.keepalive)
				}
			}
		})
	}
}

// A subscriber that takes nothing loses messages and then its connection; it holds
// the gateway up only for a moment.
func TestASubscriberThatNeverReads(t *testing.T) {
	b, log := start(t)
	deaf := raw(t, b, "127.0.0.1", greeting+packet(0x82, []byte("\x00\x01\x00\x0chearthgate/#\x00")))
	deaf.(*net.TCPConn).SetReadBuffer(4096)
	good := connect(t, b)
	good.subscribe(t, "hearthgate/end", 1)
	eventually(t, "both have subscribed", func() bool { return b.Stats().Subscriptions == 2 })
	payload := make([]byte, 4096)
	began := time.Now()
	for range 3 * maxQueued {
		if err := b.Publish("hearthgate/stream/cam", false, payload); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Publish("hearthgate/end", false, []byte("here")); err != nil {
		t.Fatal(err)
	}
	good.expect(t, "hearthgate/end", "here")
	if took := time.Since(began); took > gatewayWaits+5*time.Second {
		t.Errorf("the gateway was held up for %v", took)
	}
	if b.Stats().Dropped == 0 || !strings.Contains(log.String(), "too slow") {
		t.Errorf("%d dropped; log: %s", b.Stats().Dropped, log)
	}
}

// What programs on this machine retain stays in memory, so it has a bound; what
// they empty makes room again, and the gateway's own topics are not held up.
func TestRetainedMessagesOfOthersAreBounded(t *testing.T) {
	b, _ := start(t)
	c := connect(t, b)
	large := strings.Repeat("x", 100_000)
	for i := range 300 { // 30 MB
		c.publish(t, fmt.Sprintf("other/%d", i), true, large)
	}
	bytes := func() int {
		b.exchange.mu.Lock()
		defer b.exchange.mu.Unlock()
		return b.exchange.store.foreignBytes
	}
	retained := func(topic string) bool {
		b.exchange.mu.Lock()
		defer b.exchange.mu.Unlock()
		return b.exchange.retained.get(topic) != nil
	}
	if n := bytes(); n > maxRetainedBytes || n < maxRetainedBytes*3/4 {
		t.Errorf("%d bytes are retained, want nearly %d", n, maxRetainedBytes)
	}
	if _, err := try(t, b, func(o *paho.ClientOptions) { o.SetWill("will/large", large, 1, true) }); err == nil {
		t.Error("a will for which there is no room was let in")
	}
	if _, err := try(t, b, will("will/topic", true)); err != nil {
		t.Errorf("a small will was refused: %v", err)
	}
	for i := range 20 {
		c.publish(t, fmt.Sprintf("other/%d", i), true, "")
	}
	c.publish(t, "other/new", true, large)
	if !retained("other/new") {
		t.Error("there is room again, and a message was refused")
	}
	if err := b.Publish("hearthgate/device/lamp/on/state", true, []byte(large)); err != nil {
		t.Error(err)
	}
	if !retained("hearthgate/device/lamp/on/state") {
		t.Error("the gateway's own message was not retained")
	}
}

// A session that is away holds so many bytes, and many of them so many together;
// who acknowledges loses nothing by it.
func TestSessionsThatAcknowledgeNothingAreBounded(t *testing.T) {
	b, _ := start(t)
	for i := range 8 {
		away := connect(t, b, id(fmt.Sprintf("away-%d", i)), func(o *paho.ClientOptions) { o.SetCleanSession(false) })
		away.subscribe(t, "other/#", 1)
		away.Disconnect(100)
	}
	here := connect(t, b)
	here.subscribe(t, "other/#", 1)
	c := connect(t, b)
	const messages, size = 300, 100_000 // 30 MB for each
	large := strings.Repeat("x", size)
	for i := range messages {
		c.publish(t, "other/large", false, large)
		if i%50 == 49 {
			c.publish(t, "other/last", false, fmt.Sprint(i))
		}
	}
	held, away := 0, 0
	b.exchange.mu.Lock()
	for _, s := range b.exchange.sessions {
		s.mu.Lock()
		n := s.queue.size() + s.window.kept
		s.mu.Unlock()
		if n > maxQueuedBytes {
			t.Errorf("%s holds %d bytes", s.id, n)
		}
		if held += n; strings.HasPrefix(s.id, "away") && n > 0 {
			away++
		}
	}
	b.exchange.mu.Unlock()
	if held > maxAllQueued+maxQueuedBytes || away != 8 {
		t.Errorf("%d bytes are held in all, by %d that are away", held, away)
	}
	got := 0
	for last := ""; last != fmt.Sprint(messages-1); {
		select {
		case m := <-here.got:
			if m.Topic() == "other/last" {
				last = string(m.Payload())
			} else {
				got++
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("who acknowledges got %d of %d", got, messages)
		}
	}
	if got != messages {
		t.Errorf("who acknowledges got %d of %d", got, messages)
	}
}

// trap is an account list that does something while a client is let in.
type trap struct {
	accounts
	spring func(name string)
}

func (t *trap) CheckMQTTUser(name, password string) bool {
	t.spring(name)
	return t.accounts.CheckMQTTUser(name, password)
}

// A mistake of ours costs the client that found it, and nobody else.
func TestWhoMakesTheBrokerStumbleIsAlone(t *testing.T) {
	log := &proctest.Transcript{}
	b, err := New(Options{
		Listen:   "127.0.0.1:0",
		Log:      slog.New(slog.NewTextHandler(log, nil)),
		Accounts: &trap{accounts{"ann": "secret"}, func(string) { panic("a mistake") }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	go b.Serve()
	program := connect(t, b)
	program.subscribe(t, "workshop/#", 1)
	if _, err := try(t, b, as("ann", "secret")); err == nil {
		t.Error("she got in all the same")
	}
	program.publish(t, "workshop/door", false, "open")
	program.expect(t, "workshop/door", "open")
	if !strings.Contains(log.String(), "a mistake") {
		t.Errorf("nobody was told: %s", log)
	}
}

// A password that is changed while it is checked does not open the door any more.
func TestADropWhileAClientComes(t *testing.T) {
	var b *Broker
	b, err := New(Options{
		Listen:   "127.0.0.1:0",
		Accounts: &trap{accounts{"ann": "secret"}, func(name string) { b.Drop(name) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	go b.Serve()
	if _, err := try(t, b, as("ann", "secret")); err == nil {
		t.Error("she got in by the old password")
	}
}

// Who asks and asks, and reads none of the answers, is read no further: the answers
// must not gather here.
func TestAnswersThatNobodyReadsDoNotGather(t *testing.T) {
	for name, ask := range map[string]string{
		"PINGREQ":                    "\xc0\x00",
		"PUBREC of an id not in use": "\x50\x02\x12\x34",
		"PUBREL of an id not in use": "\x62\x02\x12\x34",
		"SUBSCRIBE":                  packet(0x82, []byte("\x00\x01\x00\x05other\x00")),
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, b *Broker, dial dialer) {
				k := dial(v311)
				k.enter(hello{id: "deaf"})
				go io.WriteString(k.conn, strings.Repeat(ask, 200_000)) // ends with the connection
				synctest.Wait()
				b.exchange.mu.Lock()
				defer b.exchange.mu.Unlock()
				s := b.exchange.find("deaf")
				s.mu.Lock()
				defer s.mu.Unlock()
				if n := len(s.conn.replies); n > 2*maxReplies {
					t.Errorf("%d bytes of answers wait", n)
				}
			})
		})
	}
}

// How much is remembered of topics is up to neither how many filters match nor how
// many names somebody makes up; and each still gets what it asked for.
func TestMatchesThatAreRememberedAreBounded(t *testing.T) {
	inTime(t, func(t *testing.T, b *Broker, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k"})
		const levels, most = 8, 1 << 20
		b.exchange.mayRemember = most
		for i := range 1 << levels { // every filter that matches a/a/…/a
			filter := strings.Repeat("a/", levels)
			for j := range levels {
				if i&(1<<j) != 0 {
					filter = filter[:2*j] + "+" + filter[2*j+1:]
				}
			}
			k.subscribe(filter+"+", 0, "")
		}
		for i := range 4 * most / (8 << levels) {
			if err := b.Publish(fmt.Sprintf("%s%d", strings.Repeat("a/", levels), i), false, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if m := k.message(); m.payload != "x" {
				t.Fatalf("got %+v", m)
			}
		}
		x := &b.exchange
		x.mu.Lock()
		defer x.mu.Unlock()
		held := 0
		for _, t := range x.topics {
			held += t.remembered
		}
		if held != x.remembered || held == 0 || held > most {
			t.Errorf("%d bytes are remembered, counted as %d", held, x.remembered)
		}
		x.discard(x.find("k"))
		for _, t := range x.topics {
			x.match(t)
		}
		if x.remembered != 0 {
			t.Errorf("%d bytes are remembered of nobody", x.remembered)
		}
	})
}

// Each group that shares a filter gets every message once more.
func TestSharedSubscriptionsAreFew(t *testing.T) {
	inTime(t, func(t *testing.T, b *Broker, dial dialer) {
		k := dial(v5)
		k.enter(hello{id: "k"})
		share := func(i int) string {
			return k.subscribe(fmt.Sprintf("$share/g%d/hearthgate/#", i), 1, "")
		}
		for i := range maxShared {
			if got := share(i); got != "\x01" {
				t.Fatalf("share %d: %q", i, got)
			}
		}
		if got := share(maxShared); got != string([]byte{byte(quotaExceeded)}) {
			t.Errorf("one more: %q", got)
		}
		if got := share(0); got != "\x01" {
			t.Errorf("one that it has, again: %q", got)
		}
		k.say(packet(typeUnsubscribe<<4|2, []byte(num16(9)+block("")+str("$share/g0/hearthgate/#"))))
		k.hear()
		if got := share(maxShared); got != "\x01" {
			t.Errorf("one for another: %q", got)
		}
		k.hangUp()
		synctest.Wait()
		b.exchange.mu.Lock()
		defer b.exchange.mu.Unlock()
		if b.exchange.shared != 0 {
			t.Errorf("%d shared ones are left of nobody", b.exchange.shared)
		}
	})
}

// A client may ask for what is retained with thousands of filters, and to look for
// it takes as long whether there is anything or not. Others get their turn after
// each, and who asks so much waits.
func TestWalksThroughWhatIsRetainedLeaveOthersTime(t *testing.T) {
	inTime(t, func(t *testing.T, b *Broker, dial dialer) {
		if err := b.Publish("home/lamp", true, []byte("ON")); err != nil {
			t.Fatal(err)
		}
		k := dial(v5)
		k.enter(hello{id: "k"})
		x := &b.exchange
		x.mu.Lock()
		s := x.find("k")
		for i := range 3 {
			sub, _ := x.subscribe(s, wish{filter: fmt.Sprintf("+/no%d", i)}, 0)
			s.askReplay(sub)
		}
		x.mu.Unlock()
		x.replaySome(s)
		x.mu.Lock()
		if !s.replays[0].collected || s.replays[1].collected {
			t.Error("more than one walk, or none, at one go")
		}
		x.walks = b.now() + time.Minute // as after many
		x.mu.Unlock()
		began := time.Now()
		if got := k.subscribe("home/+", 0, ""); got != "\x00" {
			t.Fatalf("got %q", got)
		}
		if m := k.message(); m.payload != "ON" || time.Since(began) < time.Minute {
			t.Errorf("after %v: %+v", time.Since(began), m)
		}
	})
}
