package broker

import "encoding/binary"

// Property identifiers of MQTT 5 (§2.2.2.2).
const (
	propPayloadFormat   = 0x01
	propMessageExpiry   = 0x02
	propContentType     = 0x03
	propResponseTopic   = 0x08
	propCorrelation     = 0x09
	propSubscriptionID  = 0x0b
	propSessionExpiry   = 0x11
	propAssignedID      = 0x12
	propServerKeepalive = 0x13
	propAuthMethod      = 0x15
	propAuthData        = 0x16
	propRequestProblem  = 0x17
	propWillDelay       = 0x18
	propRequestResponse = 0x19
	propReasonString    = 0x1f
	propReceiveMaximum  = 0x21
	propAliasMaximum    = 0x22
	propTopicAlias      = 0x23
	propUser            = 0x26
	propMaximumPacket   = 0x27
)

// place is where a property may stand: a set of packets.
type place uint16

const (
	inConnect place = 1 << iota
	inWill
	inPublish
	inSubscribe
	inAck // and UNSUBSCRIBE, as far as a client's goes
	inDisconnect
	inAuth
)

// A property's value is one of these.
const (
	asFlag = 1 + iota // a byte that is 0 or 1
	as16
	as32
	asVarint
	asText
	asBinary
	asPair
)

// grammar is what a client may send: the table of §2.2.2.2. What goes on to
// subscribers unchanged is forwarded.
var grammar = [0x28]struct {
	kind      byte
	where     place
	forwarded bool
}{
	propPayloadFormat:   {asFlag, inPublish | inWill, true},
	propMessageExpiry:   {as32, inPublish | inWill, false},
	propContentType:     {asText, inPublish | inWill, true},
	propResponseTopic:   {asText, inPublish | inWill, true},
	propCorrelation:     {asBinary, inPublish | inWill, true},
	propSubscriptionID:  {asVarint, inSubscribe, false},
	propSessionExpiry:   {as32, inConnect | inDisconnect, false},
	propAuthMethod:      {asText, inConnect | inAuth, false},
	propAuthData:        {asBinary, inConnect | inAuth, false},
	propRequestProblem:  {asFlag, inConnect, false},
	propWillDelay:       {as32, inWill, false},
	propRequestResponse: {asFlag, inConnect, false},
	propReasonString:    {asText, inAck | inDisconnect | inAuth, false},
	propReceiveMaximum:  {as16, inConnect, false},
	propAliasMaximum:    {as16, inConnect, false},
	propTopicAlias:      {as16, inPublish, false},
	propUser:            {asPair, inConnect | inWill | inPublish | inSubscribe | inAck | inDisconnect | inAuth, true},
	propMaximumPacket:   {as32, inConnect, false},
}

// properties are those that the broker acts upon, and the others of a message as
// they came.
type properties struct {
	forwarded []byte // encoded

	expiry        uint32 // of the message, s
	sessionExpiry uint32 // s
	willDelay     uint32 // s
	maxPacket     uint32 // 0 is none
	receiveMax    uint16 // 0 is none
	identifier    int    // 0 is none

	hasExpiry, hasSessionExpiry, hasAuthMethod, hasAlias bool
}

// properties reads a block of properties with its length.
func (c *cursor) properties(where place, p *properties) error {
	block := cursor{b: c.take(c.varint())}
	if c.failed {
		return malformed
	}
	all, onlyForwarded := block.b, true
	var seen uint64
	for len(block.b) > 0 {
		before := block.b
		id := block.byte()
		if int(id) >= len(grammar) || grammar[id].kind == 0 {
			return malformed
		}
		rule := &grammar[id]
		if rule.where&where == 0 || seen&(1<<id) != 0 && id != propUser {
			return protocolError
		}
		seen |= 1 << id
		if err := p.read(&block, id); err != nil {
			return err
		}
		if block.failed {
			return malformed
		}
		switch {
		case !rule.forwarded && onlyForwarded: // from here on what goes on has to be gathered
			onlyForwarded = false
			p.forwarded = append([]byte(nil), all[:len(all)-len(before)]...)
		case rule.forwarded && !onlyForwarded:
			p.forwarded = append(p.forwarded, before[:len(before)-len(block.b)]...)
		}
	}
	if onlyForwarded {
		p.forwarded = all
	}
	return nil
}

// read reads the value of one property.
func (p *properties) read(c *cursor, id byte) error {
	var n int
	switch grammar[id].kind {
	case asFlag:
		if n = int(c.byte()); n > 1 {
			return protocolError
		}
	case as16:
		n = int(c.uint16())
	case as32:
		p.set32(id, c.uint32())
		return p.wrong(id, c)
	case asVarint:
		n = c.varint()
	case asText:
		if topic := c.text(); id == propResponseTopic && !c.failed && !validTopic(topic) {
			return protocolError
		}
	case asBinary:
		c.binary()
	case asPair:
		c.text()
		c.text()
	}
	switch id {
	case propReceiveMaximum:
		p.receiveMax = uint16(n)
	case propSubscriptionID:
		p.identifier = n
	case propAuthMethod:
		p.hasAuthMethod = true
	case propTopicAlias:
		p.hasAlias = true
	}
	return p.wrong(id, c)
}

func (p *properties) set32(id byte, n uint32) {
	switch id {
	case propMessageExpiry:
		p.expiry, p.hasExpiry = n, true
	case propSessionExpiry:
		p.sessionExpiry, p.hasSessionExpiry = n, true
	case propWillDelay:
		p.willDelay = n
	case propMaximumPacket:
		p.maxPacket = n
	}
}

// wrong knows the values that must not be 0.
func (p *properties) wrong(id byte, c *cursor) error {
	zero := id == propReceiveMaximum && p.receiveMax == 0 ||
		id == propMaximumPacket && p.maxPacket == 0 ||
		id == propSubscriptionID && p.identifier == 0
	if zero && !c.failed {
		return protocolError
	}
	return nil
}

func append16(b []byte, id byte, n uint16) []byte {
	return binary.BigEndian.AppendUint16(append(b, id), n)
}

func append32(b []byte, id byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, id), n)
}
