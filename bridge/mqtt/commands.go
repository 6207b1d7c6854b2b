package mqtt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hearthgate/hearthgate/command"
)

// maxCommand is how many bytes a payload that asks for a command may have.
const maxCommand = 64 << 10

// parseCommand reads a message on …/command, on a light's …/set or on another
// …/set. Beside an error the request has what could be read.
func parseCommand(to target, light bool, payload []byte) (command.Request, error) {
	r := command.Request{Device: to.device}
	err := checkPayload(payload)
	switch {
	case err != nil:
	case to.name == "":
		r, err = command.ParseJSON(payload)
		r.Device = to.device
	case light:
		r.Set, err = parseLight(to.name, payload)
	default:
		r.Set = []command.Setting{{Name: to.name, Text: string(payload)}}
	}
	return r, err
}

func checkPayload(payload []byte) error {
	switch {
	case len(payload) > maxCommand:
		return fmt.Errorf("%d bytes are more than the %d that a command may have", len(payload), maxCommand)
	case !utf8.Valid(payload):
		return errors.New("not valid UTF-8")
	}
	return nil
}

// parseGroupCommand reads a message on a group's …/command or …/set. On the
// latter it is a plain value or an object of attributes.
func parseGroupCommand(to many, payload []byte) (command.GroupRequest, error) {
	r := command.GroupRequest{Group: to.id}
	err := checkPayload(payload)
	switch {
	case err != nil:
	case !to.set:
		r, err = command.ParseGroupJSON(payload)
	case bytes.HasPrefix(payload, []byte("{")):
		r, err = command.ParseGroupJSON(slices.Concat([]byte(`{"set":`), payload, []byte("}")))
	default:
		r.Text = string(payload)
	}
	r.Group = to.id
	return r, err
}

// parseSceneCommand reads a message on a scene's …/command, or on its …/set,
// where any payload starts it.
func parseSceneCommand(to many, payload []byte) (command.SceneRequest, error) {
	var r command.SceneRequest
	err := checkPayload(payload)
	if err == nil && !to.set {
		r, err = command.ParseSceneJSON(payload)
	}
	r.Scene = to.id
	return r, err
}

// lightCommand is what Home Assistant sends to a light with the JSON schema.
// Members that we do not offer (transition, flash) are not read.
type lightCommand struct {
	State      *string      `json:"state"`
	Brightness *json.Number `json:"brightness"`
	ColorTemp  *json.Number `json:"color_temp"`
	Color      *struct {
		R, G, B *uint8
	} `json:"color"`
	Effect *string `json:"effect"`
}

// parseLight makes one command of it. Values stay texts: the description says
// what they must be.
func parseLight(light string, payload []byte) ([]command.Setting, error) {
	var in lightCommand
	if err := json.Unmarshal(payload, &in); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			err = errors.New(strings.TrimSpace(strings.ToLower(wrong.Field) + " cannot be a " + wrong.Value))
		}
		return nil, fmt.Errorf(`a light takes JSON such as {"state":"ON","brightness":40}: %w`, err)
	}
	var set []command.Setting
	add := func(attribute, text string) {
		set = append(set, command.Setting{Name: light + "/" + attribute, Text: text})
	}
	if in.State != nil {
		add("on", *in.State)
	}
	if in.Brightness != nil {
		add("brightness", in.Brightness.String())
	}
	if in.ColorTemp != nil {
		add("color_temp", in.ColorTemp.String())
	}
	if c := in.Color; c != nil {
		if c.R == nil || c.G == nil || c.B == nil {
			return nil, errors.New("color must have r, g and b")
		}
		add("rgb", fmt.Sprintf("#%02x%02x%02x", *c.R, *c.G, *c.B))
	}
	if in.Effect != nil {
		add("effect", *in.Effect)
	}
	if len(set) == 0 {
		return nil, errors.New("nothing to set: want state, brightness, color_temp, color or effect")
	}
	return set, nil
}
