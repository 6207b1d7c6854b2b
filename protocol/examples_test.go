package protocol

import (
	"encoding/hex"
	"testing"
)

// The examples of PROTOCOL.md that the gateway and our own client write in the
// same bytes.
func TestExamplesSurviveDecodingAndEncoding(t *testing.T) {
	for name, want := range map[string]string{
		"hello":     "8204a3014801020304050607080248b653c3a0c31fa57f0365312e342e30",
		"welcome":   "8209a7016e6b69746368656e2d73656e736f72021b000001a1fb67180003181e04000510061a0001000007f5",
		"describe":  "8205a3016454482d31026441636d650782a5016b74656d7065726174757265026673656e736f72046343656c056b74656d70657261747572650b01a401646465736b02656c6967687403694465736b206c616d700ea3626f6ea06a6272696768746e657373a06a636f6c6f725f74656d70a207190a8c08191964",
		"telemetry": "8206a201010282a2006b74656d706572617475726502f94d60a200676465736b2f6f6e04f4",
		"relative":  "8206a201020281a3006b74656d706572617475726502f94d5006383b",
		"ack":       "820aa10102",
		"command":   "820ba301070282a200676465736b2f6f6e04f5a2006f6465736b2f6272696768746e65737302182803191388",
		"result":    "8207a201070482a200676465736b2f6f6e04f5a2006f6465736b2f6272696768746e657373021828",
		"error":     "8203a30102026d7265636f726420303a204e614e0304",
		"bye":       "8202a20165736c65657002190258",
		"ping":      "8200a101182a",
		"pong":      "8201a201182a021b000001a1fb671800",
	} {
		b, err := hex.DecodeString(want)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Decode(b, Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d, ok := f.(*Describe); ok {
			if h := d.Hash(); hex.EncodeToString(h[:]) != "b653c3a0c31fa57f" {
				t.Errorf("hash %x", h)
			}
			if _, err := NewDescription(d, nil, Limits{}); err != nil {
				t.Error(err)
			}
			d.Raw = nil
		}
		if got := hex.EncodeToString(Append(nil, f)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func BenchmarkDecodeTelemetry(b *testing.B) {
	frame, _ := hex.DecodeString("8206a201010282a2006b74656d706572617475726502f94d60a200676465736b2f6f6e04f4")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(frame, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendAck(b *testing.B) {
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], Ack{Seq: 12345})
	}
}
