package broker

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// Packet types (MQTT 5 §2.1.2), as the upper half of the first byte.
const (
	typeConnect = 1 + iota
	typeConnack
	typePublish
	typePuback
	typePubrec
	typePubrel
	typePubcomp
	typeSubscribe
	typeSuback
	typeUnsubscribe
	typeUnsuback
	typePingreq
	typePingresp
	typeDisconnect
	typeAuth
)

// Protocol levels.
const (
	v31  = 3
	v311 = 4
	v5   = 5
)

// reason is a reason code of MQTT 5 (§2.4). It is also the error that ends a
// connection: older clients just see it end.
type reason byte

const (
	success            reason = 0x00
	withWill           reason = 0x04 // DISCONNECT
	noSubscription     reason = 0x11
	unspecified        reason = 0x80
	malformed          reason = 0x81
	protocolError      reason = 0x82
	unsupportedVersion reason = 0x84
	badClientID        reason = 0x85
	badUser            reason = 0x86
	notAuthorized      reason = 0x87
	shuttingDown       reason = 0x8b
	badAuthMethod      reason = 0x8c
	keepaliveTimeout   reason = 0x8d
	takenOver          reason = 0x8e
	badFilter          reason = 0x8f
	badTopic           reason = 0x90
	unknownID          reason = 0x92
	tooManyUnacked     reason = 0x93
	badAlias           reason = 0x94
	tooLarge           reason = 0x95
	quotaExceeded      reason = 0x97
	administrative     reason = 0x98
)

func (r reason) Error() string {
	if text, ok := reasonTexts[r]; ok {
		return text
	}
	return "refused"
}

var reasonTexts = map[reason]string{
	malformed:          "malformed packet",
	protocolError:      "protocol error",
	unsupportedVersion: "unknown protocol version",
	badAuthMethod:      "unknown authentication method",
	keepaliveTimeout:   "silent for longer than its keepalive",
	takenOver:          "the client id connected again",
	badTopic:           "a topic that cannot be published to",
	tooManyUnacked:     "too many messages at QoS 2 at once",
	badAlias:           "a topic alias, though none were offered",
	tooLarge:           "a packet that is too large",
	shuttingDown:       "the broker stops",
	administrative:     "the account was removed or changed",
}

// split finds the first packet in b. Its size is 0 if it is not whole yet; then
// need is how many bytes are wanted at least. A body above limit is an error as
// soon as its length is known.
func split(b []byte, limit int) (head byte, body []byte, size, need int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, 2, nil
	}
	length := 0
	for i := 1; ; i++ { // §1.5.5
		if i > 4 {
			return 0, nil, 0, 0, malformed
		}
		if i >= len(b) {
			return 0, nil, 0, i + 1, nil
		}
		length |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			size = 1 + i + length
			if length > limit {
				return 0, nil, 0, 0, tooLarge
			}
			if len(b) < size {
				return 0, nil, 0, size, nil
			}
			return b[0], b[1+i : size], size, 0, nil
		}
	}
}

// cursor reads the fields of one packet's body. After the first that is not
// there it stays failed and gives zeros, so that a decoder checks once, at its end.
type cursor struct {
	b      []byte
	failed bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.b, c.failed = nil, true
		return nil
	}
	taken := c.b[:n:n]
	c.b = c.b[n:]
	return taken
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) varint() int {
	n := 0
	for i := range 4 {
		b := c.byte()
		if n |= int(b&0x7f) << (7 * i); b&0x80 == 0 {
			return n
		}
	}
	c.failed = true
	return 0
}

func (c *cursor) binary() []byte { return c.take(int(c.uint16())) }

// text is a UTF-8 string (§1.5.4).
func (c *cursor) text() []byte {
	b := c.binary()
	if !validText(b) {
		c.failed = true
	}
	return b
}

func validText(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return false
		}
	}
	return utf8.Valid(b)
}

// whole is the check at the end: everything was there and nothing is left.
func (c *cursor) whole() error {
	if c.failed || len(c.b) > 0 {
		return malformed
	}
	return nil
}

// publication is a PUBLISH. Its slices are those of the packet.
type publication struct {
	topic, payload []byte
	id             uint16
	qos            byte
	retain, dup    bool
	props          properties
}

func decodePublish(head byte, body []byte, version byte, p *publication) error {
	p.qos, p.retain, p.dup = head>>1&3, head&1 != 0, head&8 != 0
	if p.qos == 3 || p.dup && p.qos == 0 {
		return malformed
	}
	c := cursor{b: body}
	p.topic = c.binary() // the text is checked where the topic is new
	p.id = 0
	if p.qos > 0 {
		if p.id = c.uint16(); p.id == 0 {
			return malformed
		}
	}
	p.props = properties{}
	if version == v5 {
		if err := c.properties(inPublish, &p.props); err != nil {
			return err
		}
	}
	p.payload = c.b
	if c.failed {
		return malformed
	}
	return nil
}

// ack is a PUBACK, PUBREC, PUBREL or PUBCOMP.
type ack struct {
	id   uint16
	code reason
}

func decodeAck(head byte, body []byte, version byte) (a ack, err error) {
	if flags := head & 15; flags != 0 && !(head>>4 == typePubrel && flags == 2) || head>>4 == typePubrel && flags != 2 {
		return a, malformed
	}
	c := cursor{b: body}
	a.id = c.uint16()
	if version == v5 && len(c.b) > 0 {
		a.code = reason(c.byte())
		if len(c.b) > 0 {
			var ignored properties
			if err := c.properties(inAck, &ignored); err != nil {
				return a, err
			}
		}
	}
	if a.id == 0 {
		return a, malformed
	}
	return a, c.whole()
}

// wish is one filter of a SUBSCRIBE with its options.
type wish struct {
	filter         string
	qos            byte
	noLocal        bool
	asPublished    bool
	retainHandling byte
}

// subscribe is a SUBSCRIBE.
type subscribe struct {
	id         uint16
	identifier int // of the subscription, 0 is none
	wishes     []wish
}

func decodeSubscribe(head byte, body []byte, version byte) (s subscribe, err error) {
	if head&15 != 2 {
		return s, malformed
	}
	c := cursor{b: body}
	s.id = c.uint16()
	if version == v5 {
		var p properties
		if err := c.properties(inSubscribe, &p); err != nil {
			return s, err
		}
		s.identifier = p.identifier
	}
	for len(c.b) > 0 && !c.failed {
		w := wish{filter: string(c.text())}
		options := c.byte()
		w.qos = options & 3
		if version == v5 {
			w.noLocal, w.asPublished, w.retainHandling = options&4 != 0, options&8 != 0, options>>4&3
			options &^= 0x3c
		}
		if options&^3 != 0 || w.qos == 3 || w.retainHandling == 3 {
			return s, malformed
		}
		s.wishes = append(s.wishes, w)
	}
	if s.id == 0 || len(s.wishes) == 0 {
		return s, malformed
	}
	return s, c.whole()
}

// unsubscribe is an UNSUBSCRIBE.
type unsubscribe struct {
	id      uint16
	filters []string
}

func decodeUnsubscribe(head byte, body []byte, version byte) (u unsubscribe, err error) {
	if head&15 != 2 {
		return u, malformed
	}
	c := cursor{b: body}
	u.id = c.uint16()
	if version == v5 {
		var ignored properties
		if err := c.properties(inAck, &ignored); err != nil {
			return u, err
		}
	}
	for len(c.b) > 0 && !c.failed {
		u.filters = append(u.filters, string(c.text()))
	}
	if u.id == 0 || len(u.filters) == 0 {
		return u, malformed
	}
	return u, c.whole()
}

// farewell is a DISCONNECT.
type farewell struct {
	code  reason
	props properties
}

func decodeDisconnect(head byte, body []byte, version byte) (f farewell, err error) {
	if head&15 != 0 {
		return f, malformed
	}
	c := cursor{b: body}
	if version == v5 && len(c.b) > 0 {
		f.code = reason(c.byte())
		if len(c.b) > 0 {
			if err := c.properties(inDisconnect, &f.props); err != nil {
				return f, err
			}
		}
	}
	return f, c.whole()
}

// decodeEmpty is for PINGREQ.
func decodeEmpty(head byte, body []byte) error {
	if head&15 != 0 || len(body) > 0 {
		return malformed
	}
	return nil
}

// reasonOf is what the client is told about an end: nothing if it was ordinary.
func reasonOf(err error) reason {
	var r reason
	errors.As(err, &r)
	return r
}
