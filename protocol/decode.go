package protocol

// Decode reads one frame, of either direction. b is not kept. Any error is a
// *Refusal with what PROTOCOL.md answers to it. Records are checked for their
// form (SenML) but not against a description; see Description.Check.
func Decode(b []byte, l Limits) (Frame, error) { panic("not written yet") }

// Append appends the bytes of f to b: deterministic (RFC 8949 §4.2.1 key order
// and shortest integers), defaults left out. The gateway's frames and the
// device's are both written by it. Records in telemetry and results keep the
// width of their values; those of a command are sent as Value.Normal.
func Append(b []byte, f Frame) []byte { panic("not written yet") }
