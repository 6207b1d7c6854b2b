package homie

import (
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
)

// Names is what all that one gateway says has in common.
type Names struct {
	Gateway string // gateway id, [a-z0-9]
	Prefix  string // first level of all topics
	// Unit is how people write a SenML unit, and what a value has to be multiplied
	// with to be in it.
	Unit func(senml string) (name string, factor int)
}

// Root is the id of the gateway, the device that all others are children of. A
// device's id has it in front, so that no other device on the broker has the same.
func (n Names) Root() string { return "hg-" + n.Gateway }

// Child is the id of a device of the home.
func (n Names) Child(device string) string { return n.Root() + "-" + device }

// Topic is one of a device by its id: $state, $description, node/property.
func (n Names) Topic(id, what string) string { return n.Prefix + "/5/" + id + "/" + what }

// Sets is the filter of all topics that take commands, of others' devices too.
func (n Names) Sets() string { return n.Prefix + "/5/+/+/+/set" }

// Target takes a topic that takes commands apart; ok is false for any other, and
// for one that is not of a device of this gateway.
func (n Names) Target(topic string) (device, node, property string, ok bool) {
	rest, below := strings.CutPrefix(topic, n.Prefix+"/5/"+n.Root()+"-")
	level := strings.Split(rest, "/")
	if !below || len(level) != 4 || level[3] != "set" || !protocol.ValidDeviceID(level[0]) {
		return "", "", "", false
	}
	return level[0], level[1], level[2], true
}

// Ours reports whether a topic is one of this gateway's or of its devices', under
// any prefix.
func (n Names) Ours(topic string) bool {
	level := strings.Split(topic, "/")
	return len(level) >= 4 && level[1] == "5" && (level[2] == n.Root() || strings.HasPrefix(level[2], n.Root()+"-"))
}
