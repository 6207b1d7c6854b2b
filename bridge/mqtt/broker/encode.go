package broker

import "encoding/binary"

// appendHead appends a packet's first byte and the length of its body.
func appendHead(b []byte, head byte, length int) []byte {
	return appendVarint(append(b, head), length)
}

func appendVarint(b []byte, n int) []byte {
	for n > 0x7f {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func varintSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

// appendPublish appends a PUBLISH. The properties are encoded, remaining is what
// is left of the message's life in seconds, or negative if it has no end; only
// MQTT 5 has either.
func appendPublish(b []byte, version, flags byte, id uint16, topic, props, payload []byte, remaining int64) []byte {
	b = appendHead(b, typePublish<<4|flags, publishBody(version, flags, topic, props, payload, remaining))
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	if flags&6 != 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	if version == v5 {
		n := len(props)
		if remaining >= 0 {
			n += 5
		}
		b = appendVarint(b, n)
		if remaining >= 0 {
			b = append32(b, propMessageExpiry, uint32(remaining))
		}
		b = append(b, props...)
	}
	return append(b, payload...)
}

// publishBody is the length of a PUBLISH without its head.
func publishBody(version, flags byte, topic, props, payload []byte, remaining int64) int {
	n := 2 + len(topic) + len(payload)
	if flags&6 != 0 {
		n += 2
	}
	if version == v5 {
		p := len(props)
		if remaining >= 0 {
			p += 5
		}
		n += varintSize(p) + p
	}
	return n
}

// appendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP, with its reason where
// the version has one and there is something to say.
func appendAck(b []byte, version, kind byte, id uint16, code reason) []byte {
	head := kind << 4
	if kind == typePubrel {
		head |= 2
	}
	if version == v5 && code != success {
		return append(b, head, 3, byte(id>>8), byte(id), byte(code))
	}
	return append(b, head, 2, byte(id>>8), byte(id))
}

// appendCodes appends a SUBACK or UNSUBACK.
func appendCodes(b []byte, version, kind byte, id uint16, codes []byte) []byte {
	length := 2 + len(codes)
	if version == v5 {
		length++
	}
	b = binary.BigEndian.AppendUint16(appendHead(b, kind<<4, length), id)
	if version == v5 {
		b = append(b, 0) // no properties
	}
	return append(b, codes...)
}

// appendConnack appends a CONNACK. Code is the version's own.
func appendConnack(b []byte, version byte, present bool, code byte, props []byte) []byte {
	var flags byte
	if present {
		flags = 1
	}
	if version != v5 {
		return append(b, typeConnack<<4, 2, flags, code)
	}
	b = append(appendHead(b, typeConnack<<4, 2+varintSize(len(props))+len(props)), flags, code)
	return append(appendVarint(b, len(props)), props...)
}

// appendDisconnect appends a DISCONNECT, which only MQTT 5 has from a server.
func appendDisconnect(b []byte, code reason) []byte {
	return append(b, typeDisconnect<<4, 1, byte(code))
}
