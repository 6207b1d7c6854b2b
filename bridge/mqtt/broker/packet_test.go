package broker

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// decodeAny decodes as a connection would.
func decodeAny(head byte, body []byte, version byte) error {
	switch head >> 4 {
	case typeConnect:
		return decodeConnect(head, body, &connectPacket{})
	case typePublish:
		return decodePublish(head, body, version, &publication{})
	case typePuback, typePubrec, typePubrel, typePubcomp:
		_, err := decodeAck(head, body, version)
		return err
	case typeSubscribe:
		_, err := decodeSubscribe(head, body, version)
		return err
	case typeUnsubscribe:
		_, err := decodeUnsubscribe(head, body, version)
		return err
	case typeDisconnect:
		_, err := decodeDisconnect(head, body, version)
		return err
	case typePingreq:
		return decodeEmpty(head, body)
	}
	return protocolError
}

func TestMalformedPackets(t *testing.T) {
	connect := func(version, flags byte, rest string) string {
		return str("MQTT") + string([]byte{version, flags, 0, 60}) + rest
	}
	tests := []struct {
		name    string
		version byte
		head    byte
		body    string
		want    reason
	}{
		{"CONNECT with flags in its head", v311, 0x11, connect(4, 2, str("a")), malformed},
		{"CONNECT with the reserved flag", v311, 0x10, connect(4, 3, str("a")), malformed},
		{"CONNECT with a will's QoS and no will", v311, 0x10, connect(4, 2|8, str("a")), malformed},
		{"CONNECT with a retained will and no will", v311, 0x10, connect(4, 2|32, str("a")), malformed},
		{"CONNECT with a will at QoS 3", v311, 0x10, connect(4, 2|4|24, str("a")+str("t")+str("m")), malformed},
		{"CONNECT whose will has no message", v311, 0x10, connect(4, 2|4, str("a")+str("t")), malformed},
		{"CONNECT with a password alone", v311, 0x10, connect(4, 2|64, str("a")+str("p")), malformed},
		{"CONNECT with more behind", v311, 0x10, connect(4, 2, str("a")+"x"), malformed},
		{"CONNECT with NUL in its id", v311, 0x10, connect(4, 2, str("a\x00")), malformed},
		{"CONNECT with a surrogate in its id", v311, 0x10, connect(4, 2, str("\xed\xa0\x80")), malformed},
		{"CONNECT of a bridge", v311, 0x10, connect(0x84, 2, str("a")), unsupportedVersion},
		{"CONNECT of another protocol", v311, 0x10, str("MQXX") + "\x04\x02\x00\x3c" + str("a"), unsupportedVersion},
		{"CONNECT with the name of 3.1", v311, 0x10, str("MQIsdp") + "\x04\x02\x00\x3c" + str("a"), unsupportedVersion},
		{"CONNECT with a property twice", v5, 0x10, connect(5, 2, block("\x21\x00\x01\x21\x00\x01")+str("a")), protocolError},
		{"CONNECT with receive maximum 0", v5, 0x10, connect(5, 2, block("\x21\x00\x00")+str("a")), protocolError},
		{"CONNECT with maximum packet size 0", v5, 0x10, connect(5, 2, block("\x27\x00\x00\x00\x00")+str("a")), protocolError},
		{"CONNECT with a flag that is 2", v5, 0x10, connect(5, 2, block("\x17\x02")+str("a")), protocolError},
		{"CONNECT with an unknown property", v5, 0x10, connect(5, 2, block("\x7f\x02")+str("a")), malformed},
		{"CONNECT with a property of other packets", v5, 0x10, connect(5, 2, block("\x02\x00\x00\x00\x01")+str("a")), protocolError},
		{"CONNECT whose property is cut", v5, 0x10, connect(5, 2, block("\x21\x00")+str("a")), malformed},
		{"PUBLISH at QoS 3", v311, 0x36, str("a") + num16(1), malformed},
		{"PUBLISH again at QoS 0", v311, 0x38, str("a"), malformed},
		{"PUBLISH with id 0", v311, 0x32, str("a") + num16(0), malformed},
		{"PUBLISH without id", v311, 0x32, str("a"), malformed},
		{"PUBLISH whose topic overruns", v311, 0x30, "\x00\x09abc", malformed},
		{"PUBLISH whose properties overrun", v5, 0x30, str("a") + "\x05\x01", malformed},
		{"PUBLISH without properties", v5, 0x30, str("a"), malformed},
		{"PUBLISH with an answer to a wildcard", v5, 0x30, str("a") + block("\x08"+str("a/+")), protocolError},
		{"PUBLISH with a subscription identifier", v5, 0x30, str("a") + block("\x0b\x01"), protocolError},
		{"PUBLISH with a user property that is cut", v5, 0x30, str("a") + block("\x26"+str("k")), malformed},
		{"PUBLISH with a user property that is no text", v5, 0x30, str("a") + block(userProp("\xff", "")), malformed},
		{"PUBACK of three bytes", v311, 0x40, "\x00\x01\x00", malformed},
		{"PUBACK of one byte", v5, 0x40, "\x00", malformed},
		{"PUBACK with id 0", v311, 0x40, "\x00\x00", malformed},
		{"PUBREL without its flag", v311, 0x60, num16(1), malformed},
		{"PUBREC with that flag", v311, 0x52, num16(1), malformed},
		{"SUBSCRIBE without its flag", v311, 0x80, num16(1) + str("a") + "\x00", malformed},
		{"SUBSCRIBE with id 0", v311, 0x82, num16(0) + str("a") + "\x00", malformed},
		{"SUBSCRIBE at QoS 3", v311, 0x82, num16(1) + str("a") + "\x03", malformed},
		{"SUBSCRIBE with options of MQTT 5", v311, 0x82, num16(1) + str("a") + "\x04", malformed},
		{"SUBSCRIBE with reserved options", v5, 0x82, num16(1) + "\x00" + str("a") + "\x40", malformed},
		{"SUBSCRIBE with retain handling 3", v5, 0x82, num16(1) + "\x00" + str("a") + "\x30", malformed},
		{"SUBSCRIBE with identifier 0", v5, 0x82, num16(1) + block("\x0b\x00") + str("a") + "\x00", protocolError},
		{"SUBSCRIBE without options", v311, 0x82, num16(1) + str("a"), malformed},
		{"UNSUBSCRIBE of nothing", v311, 0xa2, num16(1), malformed},
		{"UNSUBSCRIBE without its flag", v311, 0xa0, num16(1) + str("a"), malformed},
		{"PINGREQ with a body", v311, 0xc0, "x", malformed},
		{"DISCONNECT with a body", v311, 0xe0, "\x00", malformed},
		{"DISCONNECT with flags", v5, 0xe1, "", malformed},
		{"AUTH", v5, 0xf0, "", protocolError},
		{"CONNACK", v5, 0x20, "\x00\x00\x00", protocolError},
	}
	for _, tt := range tests {
		if err := decodeAny(tt.head, []byte(tt.body), tt.version); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, length := range []int{0, 1, 126, 127, 128, 129, 16382, 16383, 16384, 16385, 1 << 15} {
		whole := packet(0x30, make([]byte, length))
		if head, body, size, _, err := split([]byte(whole+"x"), 1<<15); head != 0x30 || len(body) != length || size != len(whole) || err != nil {
			t.Fatalf("%d: %#x, %d, %d, %v", length, head, len(body), size, err)
		}
		if _, _, size, need, err := split([]byte(whole[:len(whole)-1]), 1<<15); size != 0 || need > len(whole) || need < 2 || err != nil {
			t.Fatalf("%d, cut: %d, %d, %v", length, size, need, err)
		}
		if n := varintSize(length); n != len(appendVarint(nil, length)) {
			t.Fatalf("%d takes %d bytes", length, n)
		}
	}
	if _, _, _, _, err := split([]byte("\x30\xff\xff\xff\xff\x01"), 1<<30); err != malformed {
		t.Errorf("a length of five bytes: %v", err)
	}
	if _, _, _, _, err := split([]byte("\x30\x81\x01"), 128); err != tooLarge {
		t.Errorf("a byte more than allowed: %v", err)
	}
}

// Whatever comes, decoding returns; a message that can be read is written as it
// was, and so are acknowledgements.
func FuzzDecode(f *testing.F) {
	f.Add(byte(5), []byte(hello{id: "a", will: "t", lastWord: "m", willProps: "\x18" + num32(1), user: "u", password: "p", props: userProp("a", "b")}.packet(v5)))
	f.Add(byte(4), []byte(hello{id: "a", will: "t"}.packet(v311)))
	f.Add(byte(5), []byte(packet(0x33, []byte(str("home/a")+num16(7)+block("\x02"+num32(9)+"\x01\x01"+userProp("a", "b"))+"payload"))))
	f.Add(byte(5), []byte(packet(0x30, []byte(str("home/a")+block("\x08"+str("r")+"\x09"+str("\x00")+"\x03"+str("c"))+"payload"))))
	f.Add(byte(4), []byte(packet(0x3d, []byte(str("home/a")+num16(7)+"payload"))))
	f.Add(byte(5), []byte(packet(0x82, []byte(num16(1)+block("\x0b\x07")+str("a/+")+"\x2d"))))
	f.Add(byte(5), []byte(packet(0xa2, []byte(num16(1)+block("")+str("a/+")))))
	f.Add(byte(5), []byte(packet(0x62, []byte(num16(1)+"\x92"+block("\x1f"+str("why"))))))
	f.Add(byte(5), []byte(packet(0xe0, []byte("\x04"+block("\x11"+num32(0))))))
	f.Fuzz(func(t *testing.T, version byte, packet []byte) {
		if version != v5 {
			version = v311
		}
		head, body, size, need, err := split(packet, maxPacket)
		if err != nil || size == 0 {
			if err == nil && need <= len(packet) {
				t.Fatalf("not whole, but %d of %d bytes are wanted", need, len(packet))
			}
			return
		}
		if decodeAny(head, body, version) != nil {
			return
		}
		switch head >> 4 {
		case typePublish:
			sameMessage(t, head, body, version)
		case typePuback, typePubrec, typePubrel, typePubcomp:
			a, _ := decodeAck(head, body, version)
			head2, body2, _, _, _ := split(appendAck(nil, version, head>>4, a.id, a.code), maxPacket)
			if b, err := decodeAck(head2, body2, version); head2 != head || b != a || err != nil {
				t.Fatalf("%+v became %+v (%v)", a, b, err)
			}
		}
	})
}

func sameMessage(t *testing.T, head byte, body []byte, version byte) {
	var p, q publication
	if err := decodePublish(head, body, version, &p); err != nil {
		t.Fatal(err)
	}
	remaining := int64(-1)
	if p.props.hasExpiry {
		remaining = int64(p.props.expiry)
	}
	again := appendPublish(nil, version, head&15, p.id, p.topic, p.props.forwarded, p.payload, remaining)
	head2, body2, _, _, err := split(again, 2*maxPacket)
	if err != nil || len(body2) != publishBody(version, head, p.topic, p.props.forwarded, p.payload, remaining) {
		t.Fatalf("%d bytes (%v)", len(body2), err)
	}
	if err := decodePublish(head2, body2, version, &q); err != nil {
		t.Fatal(err)
	}
	if head2 != head || !bytes.Equal(p.topic, q.topic) || !bytes.Equal(p.payload, q.payload) || p.id != q.id ||
		!bytes.Equal(p.props.forwarded, q.props.forwarded) || p.props.expiry != q.props.expiry || p.props.hasExpiry != q.props.hasExpiry {
		t.Fatalf("%+v became %+v", p, q)
	}
}

func TestForwardedPropertiesKeepTheirOrderAroundOthers(t *testing.T) {
	all := []string{userProp("a", "1"), "\x02" + num32(5), "\x03" + str("text"), userProp("a", "2"), "\x23\x00\x01", userProp("b", "3")}
	c := cursor{b: []byte(block(strings.Join(all, "")))}
	var p properties
	if err := c.properties(inPublish, &p); err != nil {
		t.Fatal(err)
	}
	if want := all[0] + all[2] + all[3] + all[5]; string(p.forwarded) != want || p.expiry != 5 || !p.hasAlias {
		t.Errorf("%+v, want %q", p, want)
	}
}
