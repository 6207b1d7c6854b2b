package homie

import "strings"

// An id of Homie is made of [a-z0-9-]; a component or an attribute may have a '_'
// as well. In its id '_' is a hyphen and '-' are two. Where several of them stand
// side by side they are spelled out between three hyphens and one, u for each '_'
// and d for each '-'. So no two names share an id, whatever their device has beside
// them, and each id says what it was made of:
//
//	color_temp   color-temp
//	front-door   front--door
//	a__b         a---uu-b

const spelled = "---"

// idOf is the id for the name of a component or an attribute.
func idOf(name string) string {
	if !strings.ContainsAny(name, "_-") {
		return name
	}
	var b strings.Builder
	for name != "" {
		n := joints(name, "_-")
		switch run := name[:n]; run {
		case "":
			n = 1
			b.WriteByte(name[0])
		case "_":
			b.WriteString("-")
		case "-":
			b.WriteString("--")
		default:
			b.WriteString(spelled + spelling.Replace(run) + "-")
		}
		name = name[n:]
	}
	return b.String()
}

var (
	spelling = strings.NewReplacer("_", "u", "-", "d")
	reading  = strings.NewReplacer("u", "_", "d", "-")
)

// nameOf is the name that an id was made of; ok is false if it was made of none.
func nameOf(id string) (name string, ok bool) {
	var b strings.Builder
	for rest := id; rest != ""; {
		n := joints(rest, "-")
		switch {
		case n == 0:
			n = 1
			b.WriteByte(rest[0])
		case n == 1:
			b.WriteByte('_')
		case n == 2:
			b.WriteByte('-')
		default:
			n = len(spelled)
			word, _, closed := strings.Cut(rest[n:], "-")
			if !closed {
				return "", false
			}
			b.WriteString(reading.Replace(word))
			n += len(word) + 1
		}
		rest = rest[n:]
	}
	name = b.String()
	return name, idOf(name) == id
}

// joints is how many of the first bytes of s are in set.
func joints(s, set string) int { return len(s) - len(strings.TrimLeft(s, set)) }
