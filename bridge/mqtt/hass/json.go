package hass

import (
	"maps"
	"slices"
	"strconv"

	"github.com/hearthgate/hearthgate/protocol"
)

// object writes a JSON object with its members in the order of the calls, so
// that equal input gives equal bytes. Empty texts are left out.
type object struct{ b []byte }

func (o *object) raw(key string, json []byte) *object {
	if len(o.b) == 0 {
		o.b = append(o.b, '{')
	} else {
		o.b = append(o.b, ',')
	}
	o.b = appendText(o.b, key)
	o.b = append(o.b, ':')
	o.b = append(o.b, json...)
	return o
}

func (o *object) text(key, v string) *object {
	if v == "" {
		return o
	}
	return o.raw(key, appendText(nil, v))
}

func (o *object) bool(key string, v bool) *object {
	return o.raw(key, strconv.AppendBool(nil, v))
}

func (o *object) null(key string) *object { return o.raw(key, []byte("null")) }

func (o *object) int(key string, v int64) *object {
	return o.raw(key, strconv.AppendInt(nil, v, 10))
}

func (o *object) number(key string, v float64) *object {
	return o.raw(key, strconv.AppendFloat(nil, v, 'f', -1, 64))
}

func (o *object) list(key string, vs []string) *object {
	b := []byte{'['}
	for i, v := range vs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, v)
	}
	return o.raw(key, append(b, ']'))
}

// members appends all members of another object.
func (o *object) members(other object) *object {
	if len(other.b) == 0 {
		return o
	}
	if len(o.b) == 0 {
		o.b = append(o.b, other.b...)
		return o
	}
	o.b = append(append(o.b, ','), other.b[1:]...)
	return o
}

// end is the whole object. o itself can still grow.
func (o *object) end() []byte {
	if len(o.b) == 0 {
		return []byte("{}")
	}
	return append(slices.Clone(o.b), '}')
}

func appendText(b []byte, s string) []byte { return protocol.Text(s).AppendJSON(b) }

func quoted(s string) string { return string(appendText(nil, s)) }

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
