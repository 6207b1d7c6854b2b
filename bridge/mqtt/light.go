package mqtt

import (
	"strconv"

	"github.com/hearthgate/hearthgate/protocol"
)

// lightState is what a light said, attribute by attribute, to be published as
// one JSON object in the schema of Home Assistant.
type lightState struct {
	on         protocol.Value
	brightness protocol.Value
	colorTemp  protocol.Value
	rgb        protocol.Value
	effect     protocol.Value
	mode       string // of the colour attribute that was reported last
	modeTime   int64
}

// set takes a value of an attribute that was said at that time.
func (l *lightState) set(attribute string, v protocol.Value, at int64) {
	switch attribute {
	case "on":
		l.on = v
	case "brightness":
		l.brightness = v
	case "color_temp":
		l.colorTemp = v
		l.colored("color_temp", at)
	case "rgb":
		l.rgb = v
		l.colored("rgb", at)
	case "effect":
		l.effect = v
	}
}

func (l *lightState) colored(mode string, at int64) {
	if at >= l.modeTime || l.mode == "" {
		l.mode, l.modeTime = mode, at
	}
}

// colorAs keeps the colour that was meant before, if none has come since: which of two at
// one moment was the last is not in the store.
func (l *lightState) colorAs(was *lightState) {
	if l.modeTime == was.modeTime && was.mode != "" {
		l.mode = was.mode
	}
}

// sameWords reports whether what a person would call the state is the same:
// only numbers differ.
func (l *lightState) sameWords(o *lightState) bool {
	return l.on == o.on && l.effect == o.effect && l.mode == o.mode && l.rgb == o.rgb
}

// append appends the JSON. color_mode stands beside a colour and names the one
// that was reported last; the other is left out, since it is no longer true.
func (l *lightState) append(b []byte) []byte {
	b = append(b, `{"state":`...)
	switch {
	case !l.on.IsBool():
		b = append(b, "null"...)
	case l.on.AsBool():
		b = append(b, `"ON"`...)
	default:
		b = append(b, `"OFF"`...)
	}
	if l.brightness.IsNumber() {
		b = append(b, `,"brightness":`...)
		b = l.brightness.AppendJSON(b)
	}
	switch {
	case l.mode == "color_temp" && l.colorTemp.IsNumber():
		b = append(b, `,"color_mode":"color_temp","color_temp":`...)
		b = l.colorTemp.AppendJSON(b)
	case l.mode == "rgb":
		if rgb, ok := parseRGB(l.rgb.AsText()); ok {
			b = append(b, `,"color_mode":"rgb","color":{"r":`...)
			b = strconv.AppendUint(b, uint64(rgb>>16), 10)
			b = append(b, `,"g":`...)
			b = strconv.AppendUint(b, uint64(rgb>>8&255), 10)
			b = append(b, `,"b":`...)
			b = strconv.AppendUint(b, uint64(rgb&255), 10)
			b = append(b, '}')
		}
	}
	if l.effect.IsText() && l.effect.AsText() != "" {
		b = append(b, `,"effect":`...)
		b = l.effect.AppendJSON(b)
	}
	return append(b, '}')
}

// parseRGB reads #rrggbb.
func parseRGB(s string) (uint32, bool) {
	if len(s) != 7 || s[0] != '#' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[1:], 16, 32)
	return uint32(n), err == nil
}
