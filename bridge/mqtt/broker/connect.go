package broker

// lastWill is the message that a connection leaves behind when it just ends.
type lastWill struct {
	topic   string
	payload []byte
	qos     byte
	retain  bool
	props   properties
}

// connectPacket is a CONNECT. Nothing of it is the packet's memory.
type connectPacket struct {
	version   byte
	clean     bool
	keepalive uint16 // s
	id        string
	will      *lastWill
	hasUser   bool
	user      string
	password  string
	props     properties

	assigned bool // the id is ours
	capped   bool // so is the keepalive
}

// Flags of CONNECT (MQTT 5 §3.1.2.3).
const (
	flagReserved = 1 << iota
	flagClean
	flagWill
	_ // QoS
	_
	flagWillRetain
	flagPassword
	flagUser
)

func decodeConnect(head byte, body []byte, k *connectPacket) error {
	if head != typeConnect<<4 {
		return malformed
	}
	c := cursor{b: body}
	name := string(c.binary())
	k.version = c.byte()
	if c.failed {
		return malformed
	}
	if !(name == "MQTT" && (k.version == v311 || k.version == v5) || name == "MQIsdp" && k.version == v31) {
		return unsupportedVersion
	}
	flags := c.byte()
	k.clean, k.hasUser = flags&flagClean != 0, flags&flagUser != 0
	k.keepalive = c.uint16()
	if k.version == v5 {
		if err := c.properties(inConnect, &k.props); err != nil {
			return err
		}
		k.props.forwarded = nil // user properties of CONNECT say nothing to anyone
	}
	k.id = string(c.text())
	qos := flags >> 3 & 3
	switch {
	case flags&flagWill != 0:
		k.will = &lastWill{qos: qos, retain: flags&flagWillRetain != 0}
		if err := k.will.decode(&c, k.version); err != nil {
			return err
		}
	case qos != 0 || flags&flagWillRetain != 0:
		return malformed
	}
	if k.hasUser {
		k.user = string(c.text())
	}
	if flags&flagPassword != 0 {
		k.password = string(c.binary())
	}
	if flags&flagReserved != 0 || qos == 3 || k.version != v5 && flags&flagPassword != 0 && !k.hasUser {
		return malformed
	}
	return c.whole()
}

func (w *lastWill) decode(c *cursor, version byte) error {
	if version == v5 {
		if err := c.properties(inWill, &w.props); err != nil {
			return err
		}
		w.props.forwarded = append([]byte(nil), w.props.forwarded...)
	}
	w.topic = string(c.text())
	w.payload = append([]byte(nil), c.binary()...)
	return nil
}
