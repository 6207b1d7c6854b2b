package devices_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/protocol"
)

// raw is bytes written as hex, spaces aside.
func raw(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An answer is what the gateway says to one bad message: it closes the link,
// or sends an error frame and goes on.
type answer struct {
	close protocol.CloseCode
	code  protocol.ErrorCode
	seq   uint64
	says  string // part of the error's message
}

func TestBadFrames(t *testing.T) {
	closed := func(c protocol.CloseCode) answer { return answer{close: c} }
	refused := func(c protocol.ErrorCode, seq uint64, says string) answer {
		return answer{code: c, seq: seq, says: says}
	}
	const temperature = "6b 74656d7065726174757265" // the text
	for _, c := range []struct {
		name string
		hex  string
		want answer
	}{
		{"nothing", "", closed(4000)},
		{"not CBOR", "ff", closed(4000)},
		{"half a frame", "82 06 a2 01", closed(4000)},
		{"bytes behind the frame", "82 00 a0 00", closed(4000)},
		{"a map for a frame", "a1 01 02", closed(4000)},
		{"three elements", "83 00 a0 00", closed(4000)},
		{"the type is text", "82 61 30 a0", closed(4000)},
		{"the body is an array", "82 06 80", closed(4000)},
		{"a text key in the body", "82 00 a1 61 31 01", closed(4000)},
		{"a duplicate key in the body", "82 06 a3 01 01 01 02 02 80", closed(4000)},
		{"a duplicate key in a record", "82 06 a2 01 01 02 81 a3 00 61 61 02 01 02 02", closed(4000)},
		{"an indefinite array", "9f 00 a0 ff", closed(4000)},
		{"an indefinite map", "82 00 bf 01 01 ff", closed(4000)},
		{"a tag", "82 06 a2 01 01 02 81 a2 00 61 61 02 c1 01", closed(4000)},
		{"text that is not UTF-8", "82 08 a1 02 62 c3 28", closed(4000)},
		{"nesting above 8", "82 06 a3 01 01 02 80 18 20 " + strings.Repeat("81", 8) + "00", closed(4000)},
		{"a length bomb", "82 06 a2 01 01 02 9b 00 00 00 ff ff ff ff ff", closed(4000)},
		{"a text bomb", "82 08 a1 02 7b 7f ff ff ff ff ff ff ff", closed(4000)},
		{"a second hello", "82 04 a1 01 48 01 02 03 04 05 06 07 08", closed(4000)},

		{"no seq", "82 06 a1 02 80", refused(1, 0, "")},
		{"no records", "82 06 a1 01 01", refused(1, 1, "")},
		{"seq 0", "82 06 a2 01 00 02 80", refused(1, 0, "")},
		{"seq 2^53", "82 06 a2 01 1b 00 20 00 00 00 00 00 00 02 80", refused(1, 0, "")},
		{"records of the wrong type", "82 06 a2 01 01 02 61 61", refused(1, 1, "")},
		{"boot of the wrong length", "82 06 a3 01 01 02 80 03 42 01 02", refused(1, 0, "")},
		{"a boot that hello did not name", "82 06 a3 01 01 02 80 03 48 09 09 09 09 09 09 09 09", refused(2, 0, "boot")},
		{"a result without id", "82 07 a0", refused(1, 0, "")},
		{"a log without text", "82 08 a1 01 01", refused(1, 0, "")},

		{"NaN", "82 06 a2 01 01 02 81 a2 00 " + temperature + " 02 f9 7e 00", refused(2, 1, "record 0")},
		{"infinity", "82 06 a2 01 01 02 81 a2 00 " + temperature + " 02 fa 7f 80 00 00", refused(2, 1, "record 0")},
		{"no value", "82 06 a2 01 01 02 81 a1 00 " + temperature, refused(2, 1, "record 0")},
		{"two values", "82 06 a2 01 01 02 81 a3 00 " + temperature + " 02 01 04 f5", refused(2, 1, "record 0")},
		{"a bool for a number", "82 06 a2 01 01 02 81 a2 00 " + temperature + " 04 f5", refused(2, 1, "temperature")},
		{"a text for a number", "82 06 a2 01 01 02 81 a2 00 " + temperature + " 03 61 78", refused(2, 1, "temperature")},
		{"another unit", "82 06 a2 01 01 02 81 a3 00 " + temperature + " 01 61 57 02 01", refused(2, 1, "unit")},
		{"the second record is wrong", "82 06 a2 01 01 02 82 a2 00 " + temperature + " 02 01 a2 00 " + temperature + " 04 f5", refused(2, 1, "record 1")},
		{"an attribute it has not", "82 06 a2 01 01 02 81 a2 00 67 6465736b2f7878 02 01", refused(2, 1, "desk")},
		{"no attribute where one is needed", "82 06 a2 01 01 02 81 a2 00 64 6465736b 02 01", refused(2, 1, "desk")},
		{"a button that reports", "82 06 a2 01 01 02 81 a2 00 64 62656c6c 04 f5", refused(2, 1, "bell")},
		{"an unknown name with an attribute", "82 06 a2 01 01 02 81 a2 00 63 612f62 02 01", refused(2, 1, "")},
		{"a name with +", "82 06 a2 01 01 02 81 a2 00 62 612b 02 01", refused(2, 1, "record 0")},
		{"a name with #", "82 06 a2 01 01 02 81 a2 00 61 23 02 01", refused(2, 1, "record 0")},
		{"a name with $", "82 06 a2 01 01 02 81 a2 00 64 24535953 02 01", refused(2, 1, "record 0")},
		{"a name with two /", "82 06 a2 01 01 02 81 a2 00 65 612f622f63 02 01", refused(2, 1, "record 0")},
		{"a name with NUL", "82 06 a2 01 01 02 81 a2 00 62 6100 02 01", refused(2, 1, "record 0")},
		{"a name with a newline", "82 06 a2 01 01 02 81 a2 00 62 610a 02 01", refused(2, 1, "record 0")},
		{"an empty name", "82 06 a2 01 01 02 81 a2 00 60 02 01", refused(2, 1, "record 0")},
		{"a sum", "82 06 a2 01 01 02 81 a3 00 " + temperature + " 02 01 05 01", refused(2, 1, "record 0")},
		{"data", "82 06 a2 01 01 02 81 a2 00 " + temperature + " 08 41 00", refused(2, 1, "record 0")},
		{"a label that must be understood", "82 06 a2 01 01 02 81 a3 00 " + temperature + " 02 01 62 785f 01", refused(2, 1, "record 0")},
		{"an absolute time in a half float", "82 06 a2 01 01 02 81 a3 00 " + temperature + " 02 01 06 fa 4e d6 00 00", refused(2, 1, "record 0")},

		{"an unknown type", "82 18 63 a0", refused(3, 0, "99")},
		{"a frame of the gateway's", "82 0a a1 01 01", refused(3, 0, "10")},
		{"reveal outside pairing", "82 0d a1 01 50 00010203040506070809 0a0b0c0d0e0f", refused(3, 0, "13")},
		{"a reserved type", "82 0e a0", refused(3, 0, "14")},
	} {
		t.Run(c.name, func(t *testing.T) {
			story(t, func(t *testing.T) {
				home, d := described(t, devices.Options{})
				other := home.Dial(home.Add("other"))
				other.Open(1)
				d.SendBytes(raw(t, c.hex))
				expectAnswer(t, d, c.want)
				if c.want.close == 0 { // and the link goes on
					next := c.want.seq + 1
					d.Send(devicetest.Number(next, "temperature", 20)).Expect(protocol.Ack{Seq: next})
				}
				other.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
			})
		})
	}
}

func expectAnswer(t *testing.T, d *devicetest.Device, want answer) {
	t.Helper()
	if want.close != 0 {
		d.ExpectClose(want.close)
		return
	}
	e, ok := d.Next().(protocol.Error)
	if !ok || e.Code != want.code || e.Seq != want.seq || !strings.Contains(e.Message, want.says) || e.Boot != nil {
		t.Fatalf("got %+v, want code %d, seq %d, %q", e, want.code, want.seq, want.says)
	}
}

// described is a home with a device that has told what it is.
func described(t *testing.T, o devices.Options) (*devicetest.Home, *devicetest.Device) {
	t.Helper()
	home := devicetest.New(t, o)
	d := home.Dial(home.Add("kitchen"))
	d.Open(1)
	d.Send(&protocol.Describe{Components: []protocol.Component{
		{ID: "temperature", Kind: "sensor", Unit: "Cel"},
		{ID: "desk", Kind: "light", Attributes: map[string]protocol.Attribute{"on": {}, "brightness": {}}},
		{ID: "bell", Kind: "button"},
		{ID: "door", Kind: "binary_sensor"},
		{ID: "ring", Kind: "event", Options: []string{"single", "double"}},
	}}, protocol.Ping{Token: 1})
	if _, ok := d.Next().(protocol.Pong); !ok {
		t.Fatal("the description was not taken")
	}
	return home, d
}

func TestBadWebSocketFrames(t *testing.T) {
	big := bytes.Repeat([]byte{0}, 70_000)
	hello := protocol.Append(nil, devicetest.Hello(2))
	for _, c := range []struct {
		name  string
		bytes []byte
		want  protocol.CloseCode
	}{
		{"text", devicetest.WebSocketFrame(true, devicetest.OpText, []byte("hello")), 1003},
		{"text that is not UTF-8", devicetest.WebSocketFrame(true, devicetest.OpText, []byte{0xff}), 1003},
		{"unmasked", append([]byte{0x82, byte(len(hello))}, hello...), 1002},
		{"a 64-bit length with its top bit set", []byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 1002},
		{"a length of 2^32+5", []byte{0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5}, 1009},
		{"70,000 bytes", devicetest.WebSocketFrame(true, devicetest.OpBinary, big), 1009},
		{"70,000 bytes in fragments", append(devicetest.WebSocketFrame(false, devicetest.OpBinary, big[:40_000]), devicetest.WebSocketFrame(true, devicetest.OpContinuation, big[:30_000])...), 1009},
		{"endless fragments", append(devicetest.WebSocketFrame(false, devicetest.OpBinary, nil), bytes.Repeat(devicetest.WebSocketFrame(false, devicetest.OpContinuation, nil), 2000)...), 1009},
		{"reserved bits", append([]byte{0xc2, 0x80}, 0, 0, 0, 0), 1002},
		{"a reserved opcode", devicetest.WebSocketFrame(true, 3, nil), 1002},
		{"a ping of 126 bytes", devicetest.WebSocketFrame(true, devicetest.OpPing, big[:126]), 1002},
		{"a fragmented ping", devicetest.WebSocketFrame(false, devicetest.OpPing, nil), 1002},
		{"a continuation of nothing", devicetest.WebSocketFrame(true, devicetest.OpContinuation, nil), 1002},
		{"a bad close code", devicetest.WebSocketFrame(true, devicetest.OpClose, []byte{0x03, 0xed}), 1002},
	} {
		t.Run(c.name, func(t *testing.T) {
			story(t, func(t *testing.T) {
				home := devicetest.New(t, devices.Options{})
				d := home.Dial(home.Add("kitchen"))
				d.Open(1)
				other := home.Dial(home.Add("other"))
				other.Open(1)
				d.SendRaw(c.bytes).ExpectClose(c.want)
				other.Send(devicetest.Number(1, "x", 1)).Expect(protocol.Ack{Seq: 1})
			})
		})
	}
}

func TestBadOpenings(t *testing.T) {
	for _, c := range []struct {
		name string
		say  func(d *devicetest.Device)
		want protocol.CloseCode
		why  string // part of the reason: what its developer has to mend
	}{
		{"nothing for ten seconds", func(d *devicetest.Device) {}, 4005, "hello"},
		{"WebSocket pings alone", func(d *devicetest.Device) {
			for range 9 {
				d.SendFrame(true, devicetest.OpPing, nil)
				time.Sleep(time.Second)
			}
		}, 4005, "hello"},
		{"telemetry first", func(d *devicetest.Device) { d.Send(devicetest.Number(1, "x", 1)) }, 4000, "must be hello"},
		{"a refused frame first", func(d *devicetest.Device) { d.SendBytes([]byte{0x82, 6, 0xa0}) }, 4000, "telemetry.1 is missing"},
		{"a hello without boot", func(d *devicetest.Device) { d.SendBytes([]byte{0x82, 4, 0xa0}) }, 4000, "hello.1 is missing"},
		{"a hello with a short boot", func(d *devicetest.Device) { d.SendBytes([]byte{0x82, 4, 0xa1, 1, 0x41, 1}) }, 4000, "hello.1 is not a string of 8 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			story(t, func(t *testing.T) {
				home := devicetest.New(t, devices.Options{})
				d := home.Dial(home.Add("kitchen"))
				begin := time.Now()
				c.say(d)
				d.ExpectClose(c.want)
				if got := d.Closed().Reason; !strings.Contains(got, c.why) {
					t.Errorf("closed with %q, want %q", got, c.why)
				}
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		})
	}
}

func TestFragmentsAreFine(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		d := home.Dial(home.Add("kitchen"))
		d.Open(1)
		b := protocol.Append(nil, devicetest.Number(1, "x", 1))
		d.SendFrame(false, devicetest.OpBinary, b[:3])
		d.SendFrame(true, devicetest.OpPing, []byte("between"))
		d.SendFrame(false, devicetest.OpContinuation, nil)
		d.SendFrame(true, devicetest.OpContinuation, b[3:])
		if op, payload := d.ReadFrame(); op != devicetest.OpPong || string(payload) != "between" {
			t.Errorf("opcode %d, payload %q: want the ping's payload back", op, payload)
		}
		d.Expect(protocol.Ack{Seq: 1})
	})
}

// Absurd times are replaced by the receipt's and counted; the frame is good.
func TestAbsurdTimes(t *testing.T) {
	story(t, func(t *testing.T) {
		home, d := described(t, devices.Options{})
		d.Send(&protocol.Telemetry{Seq: 1, Records: []protocol.Record{
			{Name: "temperature", Value: protocol.Float(20), Time: time.Now().Add(1000 * time.Hour).UnixNano(), Absolute: true},
		}}).Expect(protocol.Ack{Seq: 1})
		n, _ := home.Store.NewestOf("kitchen", "temperature")
		if at := time.Unix(0, n.Time); time.Since(at) < 0 || time.Since(at) > time.Second {
			t.Errorf("time %v", at)
		}
		if n := home.Hub.Counters.Retimed.Load(); n != 1 {
			t.Errorf("%d counted", n)
		}
	})
}
