package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/hearthgate/hearthgate/internal/when"
	"github.com/hearthgate/hearthgate/protocol"
)

// ParseJSON reads the JSON form of a command, the same over MQTT, HTTP and the
// admin socket: {"id":"…","set":{"desk/on":true,"desk/brightness":40},"ttl":"30s"},
// id and ttl optional, other keys ignored. Settings keep their order; integers
// keep all their digits. Device is left for the caller to fill. With an error,
// what could be read (the id, so that the answer can carry it) is returned too.
func ParseJSON(body []byte) (Request, error) {
	var r Request
	in, err := parseForm(body)
	r.ID = in.ID
	if err != nil {
		return r, err
	}
	if r.Set, err = parseSet(in.Set, MaxSettings); err != nil {
		return r, err
	}
	r.TTL, err = parseTTL(in.TTL)
	return r, err
}

// words is the result as a person reads it: what was asked and how it ended.
func (r *Result) words() string {
	var b []byte
	for _, s := range r.Set {
		b = append(append(b, s.Name...), '=')
		if s.Value.Kind() == protocol.None {
			b = append(b, s.Text...)
		} else {
			b = s.Value.AppendJSON(b)
		}
		b = append(b, ' ')
	}
	b = append(append(b, "ended as "...), r.Outcome...)
	if r.Message != "" {
		b = append(append(b, ": "...), r.Message...)
	}
	return string(b)
}

// ParseGroupJSON reads the JSON form of a command to a group. Its set is a value
// for all members, or an object of their attributes:
// {"id":"…","set":true,"ttl":"30s"}, {"set":{"on":true,"brightness":40}}.
func ParseGroupJSON(body []byte) (GroupRequest, error) {
	var r GroupRequest
	in, err := parseForm(body)
	r.ID = in.ID
	if err != nil {
		return r, err
	}
	if bytes.HasPrefix(in.Set, []byte("{")) {
		r.Set, err = parseSet(in.Set, maxAttributes)
		if err == nil && len(r.Set) == 0 {
			err = errors.New("nothing to set")
		}
	} else {
		if r.Value, err = ParseValue(in.Set); err != nil {
			err = fmt.Errorf("set: %w, or an object of attributes", err)
		}
	}
	if err != nil {
		return r, err
	}
	r.TTL, err = parseTTL(in.TTL)
	return r, err
}

// ParseSceneJSON reads the JSON form of starting a scene: {"id":"…","ttl":"30s"},
// both optional.
func ParseSceneJSON(body []byte) (SceneRequest, error) {
	in, err := parseForm(body)
	r := SceneRequest{ID: in.ID}
	if err == nil {
		r.TTL, err = parseTTL(in.TTL)
	}
	return r, err
}

// form is what every command in JSON has.
type form struct {
	ID  string          `json:"id"`
	Set json.RawMessage `json:"set"`
	TTL json.RawMessage `json:"ttl"`
}

func parseForm(body []byte) (in form, err error) {
	if !utf8.Valid(body) {
		return in, errors.New("not valid UTF-8")
	}
	err = json.Unmarshal(body, &in)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return in, nil
	case !errors.As(err, &wrong):
		return in, fmt.Errorf(`not a command: want an object such as {"set":{"desk/on":true}}: %w`, err)
	case wrong.Field == "id":
		return in, fmt.Errorf(`id: want a text in quotes, such as "a1", not a %s`, wrong.Value)
	}
	return in, fmt.Errorf(`not a command: want an object such as {"set":{"desk/on":true}}, found: %s`, wrong.Value)
}

// ParseValue reads one value of JSON, integers with all their digits.
func ParseValue(raw json.RawMessage) (protocol.Value, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	token, err := d.Token()
	if err != nil {
		return protocol.Value{}, errNoValue
	}
	return jsonValue(token)
}

// parseTTL: a duration as text, "30s", "1d".
func parseTTL(raw json.RawMessage) (time.Duration, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return 0, fmt.Errorf(`ttl: want a duration in quotes, such as "30s" or "1d", not %s`, raw)
	}
	d, err := when.Duration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf(`ttl: want a duration above 0, such as "30s" or "1d", not %q`, s)
	}
	return d, nil
}

// parseSet walks the object itself, because a map would lose the order. With more
// than most members it is refused: results carry what was asked, those of a group
// once for each member, and some are remembered.
func parseSet(raw json.RawMessage, most int) ([]Setting, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New(`set: want an object of names and values, such as {"set":{"desk/on":true}}`)
	}
	var set []Setting
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("set: %w", err)
		}
		token, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("set: %w", err)
		}
		v, err := jsonValue(token)
		if err != nil {
			return nil, fmt.Errorf("set %q: %w", name, err)
		}
		if len(set) == most {
			return nil, fmt.Errorf("set: more than %d names", most)
		}
		set = append(set, Setting{Name: name.(string), Value: v})
	}
	if _, err := d.Token(); err != nil && err != io.EOF {
		return nil, fmt.Errorf("set: %w", err)
	}
	return set, nil
}

var errNoValue = errors.New("want a number, true, false or a text")

func jsonValue(t json.Token) (protocol.Value, error) {
	switch t := t.(type) {
	case bool:
		return protocol.Bool(t), nil
	case string:
		return protocol.Text(t), nil
	case json.Number:
		if u, err := strconv.ParseUint(t.String(), 10, 64); err == nil {
			return protocol.MakeValue(protocol.Uint, u, ""), nil
		}
		if i, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return protocol.Int(i), nil
		}
		f, err := t.Float64()
		if err != nil {
			return protocol.Value{}, fmt.Errorf("number %s is out of range", t)
		}
		return protocol.Float(f), nil
	}
	return protocol.Value{}, errNoValue
}

// AppendJSON appends the result as it stands on the result topic and in HTTP
// answers: {"id":…,"outcome":"ok","ms":12,"state":{…}}, "message" where there is
// one. Without an id it is null, and "set" says what was asked. Of a group or a
// scene "device" and "set" tell the members apart.
func (r Result) AppendJSON(b []byte) []byte {
	b = appendID(b, r.ID)
	b = appendMember(b, r.Via, r.Device)
	if r.ID == "" || r.Via != "" {
		b = append(b, `,"set":`...)
		b = AppendSet(b, r.Set)
	}
	b = append(b, `,"outcome":`...)
	b = appendText(b, string(r.Outcome))
	b = append(b, `,"ms":`...)
	b = strconv.AppendInt(b, r.Took.Milliseconds(), 10)
	if r.Message != "" {
		b = append(b, `,"message":`...)
		b = appendText(b, r.Message)
	}
	if len(r.State) > 0 {
		b = append(b, `,"state":{`...)
		for i, rec := range r.State {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, rec.Name), ':')
			b = rec.Value.AppendJSON(b)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// AppendWaiting appends what is said of a command that waits on disk:
// {"id":…,"status":"waiting","until":ms}.
func AppendWaiting(b []byte, r Request, until time.Time) []byte {
	b = appendID(b, r.ID)
	b = appendMember(b, r.Via, r.Device)
	if r.ID == "" || r.Via != "" {
		b = append(b, `,"set":`...)
		b = AppendSet(b, r.Set)
	}
	b = append(b, `,"status":"waiting","until":`...)
	b = strconv.AppendInt(b, until.UnixMilli(), 10)
	return append(b, '}')
}

// AppendSet appends settings in the form of the command: {"desk/on":true}.
func AppendSet(b []byte, set []Setting) []byte {
	b = append(b, '{')
	for i, s := range set {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, s.Name), ':')
		if s.Value.Kind() == protocol.None {
			b = appendText(b, s.Text)
		} else {
			b = s.Value.AppendJSON(b)
		}
	}
	return append(b, '}')
}

func appendID(b []byte, id string) []byte {
	b = append(b, `{"id":`...)
	if id == "" {
		return append(b, "null"...)
	}
	return appendText(b, id)
}

// appendMember says which device of a group or scene it was.
func appendMember(b []byte, via, device string) []byte {
	if via == "" || device == "" {
		return b
	}
	return appendText(append(b, `,"device":`...), device)
}

func appendText(b []byte, s string) []byte { return protocol.Text(s).AppendJSON(b) }
