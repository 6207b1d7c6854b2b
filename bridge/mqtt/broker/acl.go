package broker

import "strings"

// role is what a connection was found to be when it came.
type role int

const (
	nobody  role = iota // not yet authenticated: may do nothing
	user                // an account of the home, from anywhere
	local               // a program on this machine that gave no account
	gateway             // the gateway itself
)

// A topic beyond these makes the broker's tree of topics large or deep.
const (
	maxTopic  = 1 << 10 // bytes
	maxLevels = 32
)

// rules say who may read and write which topics. <b> is the base topic, <p> the
// discovery prefix, <h> the Homie prefix, if the gateway publishes there:
//
//	         read              write
//	user     <b>/#, <p>/#, <h>/#  <b>/device/+/+/set, <b>/device/+/+/+/set,
//	                           <b>/device/+/command, <b>/group/+/set,
//	                           <b>/group/+/command, <b>/scene/+/set,
//	                           <b>/scene/+/command, <p>/status, <h>/5/+/+/+/set
//	local    all               the same below <b>; below <p> all but the gateway's
//	                           own hg_… ids; below <h>/5 all but those of hg-… ids,
//	                           of which the set alone; elsewhere all
//	gateway  all               all
//
// So a state topic says what a device said, whoever else is on the broker, and
// this machine's programs can use it as the home's broker all the same: other
// bridges announce their devices below <p> too. Nobody may retain a /set or
// /command: it would be carried out again at each connect.
type rules struct {
	base, prefix string
	homie        string // "" = the gateway publishes nothing there
}

// mayRead is about a subscription's filter or the topic of a delivery.
func (r rules) mayRead(who role, filter string) bool {
	switch who {
	case local, gateway:
		return true
	case user:
		filter = withoutShare(filter)
		return below(filter, r.base) || below(filter, r.prefix) || r.homie != "" && below(filter, r.homie)
	}
	return false
}

// mayWrite is about one message, or a will. It returns why not, or "".
func (r rules) mayWrite(who role, topic string, retained bool) string {
	switch {
	case who == gateway:
		return ""
	case who == nobody:
		return "not authenticated"
	case !reasonable(topic):
		return "the topic is too long or too deep"
	case topic[0] == '$':
		return "topics that begin with $ are the broker's"
	case below(topic, r.base):
		return r.mayCommand(topic[len(r.base):], retained)
	case topic == r.prefix+"/status":
		return ""
	case r.isHomie(topic):
		return r.mayHomie(who, topic[len(r.homie+homieVersion):], retained)
	case who == user:
		return "an account may write only to set, command and " + r.prefix + "/status"
	case below(topic, r.prefix) && strings.Contains(topic[len(r.prefix):], "/hg_"):
		return "what the gateway announces is its own"
	}
	return ""
}

// mayCommand is mayWrite below the base topic, which is cut off.
func (r rules) mayCommand(topic string, retained bool) string {
	if !isCommand(topic) {
		return "only the gateway writes below " + r.base + ", others to set and command"
	}
	if retained {
		return retainedCommand
	}
	return ""
}

// takesCommands reports whether the gateway acts on what clients publish there.
func (r rules) takesCommands(topic string) bool {
	return below(topic, r.base) && isCommand(topic[len(r.base):]) ||
		r.isHomie(topic) && isHomieSet(topic[len(r.homie+homieVersion):])
}

// homieVersion is the level behind the prefix of the Homie convention 5.
const homieVersion = "/5"

func (r rules) isHomie(topic string) bool {
	return r.homie != "" && below(topic, r.homie+homieVersion)
}

// mayHomie is mayWrite below the Homie prefix and version, which are cut off. Other
// devices of that convention may be on the broker, too.
func (r rules) mayHomie(who role, topic string, retained bool) string {
	ours := strings.HasPrefix(topic, "/hg-")
	switch {
	case isHomieSet(topic) && retained && (ours || who == user):
		return retainedCommand
	case isHomieSet(topic):
		return ""
	case ours:
		return "what the gateway announces is its own"
	case who == user:
		return "an account may write only to set"
	}
	return ""
}

// isHomieSet knows /<device>/<node>/<property>/set.
func isHomieSet(topic string) bool {
	return strings.Count(topic, "/") == 4 && strings.HasSuffix(topic, "/set")
}

// retainedCommand is why a command with the retain flag is refused.
const retainedCommand = "a command must not be retained"

// isCommand knows /device/<d>/<c>/set and the like.
func isCommand(topic string) bool {
	level := strings.Split(topic, "/")[1:]
	switch len(level) {
	case 3:
		return level[0] == "device" && level[2] == "command" ||
			(level[0] == "group" || level[0] == "scene") && (level[2] == "set" || level[2] == "command")
	case 4, 5:
		return level[0] == "device" && level[len(level)-1] == "set"
	}
	return false
}

// below reports whether topic, or all that a filter matches, is base or below it.
func below(topic, base string) bool {
	rest, ok := strings.CutPrefix(topic, base)
	return ok && (rest == "" || rest[0] == '/')
}

func reasonable(topic string) bool {
	return topic != "" && len(topic) <= maxTopic && strings.Count(topic, "/") < maxLevels && !strings.ContainsRune(topic, 0)
}

// withoutShare returns the filter inside $share/<group>/<filter>, or filter.
func withoutShare(filter string) string {
	if level := strings.SplitN(filter, "/", 3); len(level) == 3 && strings.EqualFold(level[0], "$share") {
		return level[2]
	}
	return filter
}
