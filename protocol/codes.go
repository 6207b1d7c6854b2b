package protocol

import "strconv"

// ErrorCode is error.1.
type ErrorCode uint64

// Error codes.
const (
	Malformed     ErrorCode = 1
	InvalidRecord ErrorCode = 2 // or an invalid description
	Unsupported   ErrorCode = 3
	TooLarge      ErrorCode = 4
)

// ResultCode is result.2.
type ResultCode uint64

// Result codes.
const (
	ResultOK          ResultCode = 0
	ResultInvalid     ResultCode = 1
	ResultUnsupported ResultCode = 2
	ResultBusy        ResultCode = 3
	ResultFailed      ResultCode = 4
	ResultDenied      ResultCode = 5
	ResultTooLate     ResultCode = 6
)

// CloseCode is the code of a WebSocket close frame.
type CloseCode uint16

// Close codes (RFC 6455 §7.4.1 and ours from 4000).
const (
	CloseNormal         CloseCode = 1000
	CloseGoingAway      CloseCode = 1001
	CloseFraming        CloseCode = 1002
	CloseText           CloseCode = 1003
	CloseInvalidPayload CloseCode = 1007
	CloseTooBig         CloseCode = 1009
	CloseMalformed      CloseCode = 4000
	CloseRevoked        CloseCode = 4002
	ClosePairingOver    CloseCode = 4003
	CloseHelloTimeout   CloseCode = 4005
	CloseSilence        CloseCode = 4006
	CloseReplaced       CloseCode = 4007
	CloseRestart        CloseCode = 4010
	CloseOverloaded     CloseCode = 4011 // or storage failing
	CloseIdentityClash  CloseCode = 4014
	CloseInternal       CloseCode = 4015
)

// Limits bounds what Decode takes. The zero value of a field is its default.
type Limits struct {
	Message     int // bytes a message, 64 KiB
	Records     int // records a frame, 1,000
	Components  int // components a device, 128
	Text        int // bytes a text value, 1 KiB
	Description int // bytes a describe, 16 KiB
}

// Refusal is why a frame was not taken. Either the link ends (Close != 0) or
// an error frame answers it (Code != 0); with a Seq that seq is settled by it.
type Refusal struct {
	Close   CloseCode
	Code    ErrorCode
	Message string
	Seq     uint64
	Boot    *Boot
}

func (r *Refusal) Error() string {
	if r.Close != 0 {
		return "close " + strconv.Itoa(int(r.Close)) + ": " + r.Message
	}
	return "error " + strconv.Itoa(int(r.Code)) + ": " + r.Message
}
