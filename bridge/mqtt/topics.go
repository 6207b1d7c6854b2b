package mqtt

import (
	"fmt"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
)

// topics builds the topics below a base topic. Whatever goes into one is
// checked: a broker would take `+`, `#` or `$SYS` from a client that it trusts
// at their word.
type topics struct{ base string }

// newTopics checks the base topic, which may have several levels.
func newTopics(base string) (topics, error) {
	if err := checkTopic(base); err != nil {
		return topics{}, fmt.Errorf("base topic %q: %w", base, err)
	}
	return topics{base}, nil
}

// checkTopic checks a topic of one or more levels to publish on.
func checkTopic(topic string) error {
	if strings.HasPrefix(topic, "$") {
		return fmt.Errorf("begins with $, which belongs to the broker")
	}
	for level := range strings.SplitSeq(topic, "/") {
		if !validLevel(level) {
			return fmt.Errorf("level %q is empty or has one of + # $ or a control character", level)
		}
	}
	return nil
}

// validLevel reports whether s may stand between two slashes.
func validLevel(s string) bool {
	if s == "" || len(s) > 1024 {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == '+' || r == '#' || r == '/' || r == '$' || r == '\uFFFD' {
			return false
		}
	}
	return true
}

// bridge is a topic of the gateway itself: state, epoch, info, health, event.
func (t topics) bridge(what string) string { return t.base + "/bridge/" + what }

// device is a topic of a device: info, availability, lifecycle, result. ok is
// false when the id is none.
func (t topics) device(id, what string) (topic string, ok bool) {
	if !protocol.ValidDeviceID(id) {
		return "", false
	}
	return t.base + "/device/" + id + "/" + what, true
}

// point is a topic of a component or of one of its attributes (name is
// "component" or "component/attribute"): state, event.
func (t topics) point(id, name, what string) (topic string, ok bool) {
	if !protocol.ValidDeviceID(id) || !validName(name) {
		return "", false
	}
	return t.base + "/device/" + id + "/" + name + "/" + what, true
}

// validName reports whether name is "component" or "component/attribute".
func validName(name string) bool {
	component, attribute, two := strings.Cut(name, "/")
	return validLevel(component) && (!two || validLevel(attribute))
}

// stream is where every accepted frame of a device goes.
func (t topics) stream(id string) (topic string, ok bool) {
	if !protocol.ValidDeviceID(id) {
		return "", false
	}
	return t.base + "/stream/" + id, true
}

// target is where a message on a topic that takes commands wants to.
type target struct {
	device string
	name   string // of the point for …/set, "" for …/command
	many   many   // instead of a device
}

// many is a group or a scene.
type many struct {
	what string // group or scene
	id   string
	set  bool // …/set, not …/command
}

// via is what command.Request.Via is of its members.
func (m many) via() string { return m.what + "/" + m.id }

// target takes a topic of …/set or …/command apart; ok is false for any
// other topic and for an id that is none.
func (t topics) target(topic string) (to target, ok bool) {
	rest, below := strings.CutPrefix(topic, t.base+"/")
	if !below {
		return target{}, false
	}
	what, rest, _ := strings.Cut(rest, "/")
	id, rest, _ := strings.Cut(rest, "/")
	if !protocol.ValidDeviceID(id) {
		return target{}, false
	}
	switch what {
	case "group", "scene":
		return target{many: many{what, id, rest == "set"}}, rest == "set" || rest == "command"
	case "device":
		if rest == "command" {
			return target{device: id}, true
		}
		name, isSet := strings.CutSuffix(rest, "/set")
		return target{device: id, name: name}, isSet && validName(name)
	}
	return target{}, false
}

// result is where the outcome of a command goes: to the device's topic or to
// that of the group or scene that it was part of.
func (t topics) result(device, via string) (topic string, ok bool) {
	if via == "" {
		return t.device(device, "result")
	}
	_, id, _ := strings.Cut(via, "/")
	return t.base + "/" + via + "/result", protocol.ValidDeviceID(id)
}
