package mqtt

import (
	"github.com/hearthgate/hearthgate/internal/decimal"
	"github.com/hearthgate/hearthgate/protocol"
)

// appendState appends the plain text of a value as a state topic carries it.
func appendState(b []byte, v protocol.Value, precision *int) []byte {
	switch {
	case v.IsBool():
		if v.AsBool() {
			return append(b, "ON"...)
		}
		return append(b, "OFF"...)
	case v.IsText():
		if v.AsText() == "" {
			return append(b, "None"...) // an empty retained payload would delete the topic
		}
		return append(b, v.AsText()...)
	}
	return appendNumber(b, v, precision)
}

// appendNumber appends the shortest decimal that gives the number back in the
// width in which it was received, rounded to precision and not padded.
func appendNumber(b []byte, v protocol.Value, precision *int) []byte {
	if precision == nil || *precision < 0 || v.Kind() == protocol.Uint || v.Kind() == protocol.Neg {
		return append(b, v.String()...)
	}
	return decimal.Append(b, v.String(), *precision)
}
