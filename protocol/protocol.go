// Package protocol is what a device and the gateway say to each other: frames,
// records, descriptions of components, limits and codes, and their bytes.
//
// It is pure: no sockets, no clock, no goroutines. PROTOCOL.md beside this file
// describes the bytes, hearthgate.cddl is their grammar.
package protocol

// Subprotocol is the WebSocket subprotocol that a device must offer.
const Subprotocol = "hearthgate.v1"

// Type is the number of a frame on the wire.
type Type uint64

// The frames of version 1. 14 to 16 are reserved for firmware update.
const (
	TypePing      Type = 0
	TypePong      Type = 1
	TypeBye       Type = 2
	TypeError     Type = 3
	TypeHello     Type = 4
	TypeDescribe  Type = 5
	TypeTelemetry Type = 6
	TypeResult    Type = 7
	TypeLog       Type = 8
	TypeWelcome   Type = 9
	TypeAck       Type = 10
	TypeCommand   Type = 11
	TypeGrant     Type = 12
	TypeReveal    Type = 13
)

var typeNames = [...]string{
	"ping", "pong", "bye", "error", "hello", "describe", "telemetry", "result",
	"log", "welcome", "ack", "command", "grant", "reveal",
}

// String is the name of the frame, or its number if it has none.
func (t Type) String() string {
	if t < Type(len(typeNames)) {
		return typeNames[t]
	}
	return "type " + number(uint64(t))
}

// Boot names one run of a device's counter: 8 random bytes, chosen when seq
// starts again at 1.
type Boot [8]byte

// Hash is the first 8 bytes of a SHA-256 (hello.2, hello.10).
type Hash [8]byte

// Frame is one of the structs below.
type Frame interface{ Type() Type }

// Ping asks for a pong; the token comes back in it. Device to gateway.
type Ping struct{ Token uint64 }

// Pong answers a ping. Time is in ms since 1970, 0 = the gateway does not know.
type Pong struct {
	Token uint64
	Time  int64
}

// Bye announces the end of a link. Seconds: from a device until it will be
// back (0: not planned), from the gateway how long to hold off.
type Bye struct {
	Reason  string
	Seconds uint64
}

// Error tells the device what was wrong. With a Seq it settles that seq alone.
type Error struct {
	Code    ErrorCode
	Message string
	Seq     uint64 // 0 = about no telemetry frame
	Boot    *Boot  // nil = hello's
}

// Hello opens a link. Optional fields are their defaults when absent.
type Hello struct {
	Boot         Boot
	Description  *Hash // nil = the device does not say
	Firmware     string
	WakeInterval uint64 // s, 0 = always on
	MaxFrame     uint64 // bytes, default 4096
	Clock        *int64 // ms since 1970
	Boots        []Boot // other boots it still has frames of, 7 at most
	Heartbeat    uint64 // s, 0 = no wish
	Commitment   []byte // 32 bytes, pairing
	CA           *Hash
}

// Describe is what a device says it is. Raw holds the body map as it was sent,
// which is what its hash is taken over.
type Describe struct {
	Model, Manufacturer, Serial, Hardware, Name, Area string
	Components                                        []Component
	Raw                                               []byte
}

// Telemetry carries measurements. Records are resolved as far as that goes
// without a clock; see Resolve.
type Telemetry struct {
	Seq       uint64
	Records   []Record
	Boot      *Boot  // nil = hello's
	Age       uint64 // ms from composing to sending
	Uncertain bool   // age unknown
}

// Result answers a command. Records say the state after.
type Result struct {
	ID      uint64
	Code    ResultCode
	Message string
	Records []Record
	// Refused is set when something inside the records was wrong (error 2
	// without a seq); the code counts all the same and Records is empty.
	Refused *Refusal
}

// Log is a line of the device's log. Level: 0 debug, 1 info, 2 warn, 3 error.
type Log struct {
	Level uint64
	Text  string
}

// Welcome answers hello.
type Welcome struct {
	Device     string
	Time       int64 // ms since 1970, 0 = unknown
	Heartbeat  uint64
	Settled    uint64 // last settled seq of hello's boot
	Window     uint64
	MaxFrame   uint64
	Describe   bool
	Waiting    uint64
	Status     uint64 // 0 accepted, 1 pairing pending
	Durability Durability
	Nonce      []byte
	Boots      []SettledBoot
}

// SettledBoot is one pair of welcome.12.
type SettledBoot struct {
	Boot Boot
	Seq  uint64
}

// Durability is what an ack means (welcome.10).
type Durability uint64

// The meanings of an ack.
const (
	OnDisk     Durability = 0
	Replicated Durability = 1
	InMemory   Durability = 2
)

// Ack says that every record of the boot up to Seq is durable.
type Ack struct {
	Seq  uint64
	Boot *Boot // nil = hello's
}

// Command asks for values. Left is in ms. Attempt counts from 1.
type Command struct {
	ID      uint64
	Records []Record // only Name and Value count
	Left    uint64
	Attempt uint64
}

// Grant gives credentials (pairing and rotation).
type Grant struct {
	Device, Token string
	CA            []byte // DER
	ServerName    string
	URLs          []string
	NextCA        []byte // DER
}

// Reveal shows the nonce that hello.9 committed to.
type Reveal struct{ Nonce [16]byte }

func (Ping) Type() Type       { return TypePing }
func (Pong) Type() Type       { return TypePong }
func (Bye) Type() Type        { return TypeBye }
func (Error) Type() Type      { return TypeError }
func (*Hello) Type() Type     { return TypeHello }
func (*Describe) Type() Type  { return TypeDescribe }
func (*Telemetry) Type() Type { return TypeTelemetry }
func (*Result) Type() Type    { return TypeResult }
func (Log) Type() Type        { return TypeLog }
func (*Welcome) Type() Type   { return TypeWelcome }
func (Ack) Type() Type        { return TypeAck }
func (*Command) Type() Type   { return TypeCommand }
func (*Grant) Type() Type     { return TypeGrant }
func (Reveal) Type() Type     { return TypeReveal }
