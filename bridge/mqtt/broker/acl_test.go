package broker

import (
	"strings"
	"testing"
)

var homeRules = rules{base: "hearthgate", prefix: "homeassistant", homie: "homie"}

func TestWhoMayWriteWhat(t *testing.T) {
	const yes, no = true, false
	tests := []struct {
		topic       string
		user, local bool
	}{
		{"hearthgate/device/lamp/desk/set", yes, yes},
		{"hearthgate/device/lamp/desk/brightness/set", yes, yes},
		{"hearthgate/device/lamp/command", yes, yes},
		{"hearthgate/group/kitchen/set", yes, yes},
		{"hearthgate/group/kitchen/command", yes, yes},
		{"hearthgate/scene/film/set", yes, yes},
		{"hearthgate/scene/film/result", no, no},
		{"homeassistant/status", yes, yes},

		{"hearthgate", no, no},
		{"hearthgate/bridge/state", no, no},
		{"hearthgate/bridge/epoch", no, no},
		{"hearthgate/bridge/set", no, no},
		{"hearthgate/device/lamp/desk/state", no, no},
		{"hearthgate/device/lamp/availability", no, no},
		{"hearthgate/device/lamp/set", no, no},
		{"hearthgate/device/lamp/result", no, no},
		{"hearthgate/device/lamp/desk/command", no, no},
		{"hearthgate/device/lamp/a/b/c/set", no, no},
		{"hearthgate/group/kitchen/result", no, no},
		{"hearthgate/stream/lamp", no, no},
		{"hearthgate//device/lamp/command", no, no},

		{"homeassistant/device/hg_abcd1234_lamp/config", no, no},
		{"homeassistant/light/hg_abcd1234_lamp/desk/config", no, no},
		{"homeassistant/light/zigbee_7/config", no, yes},
		{"homeassistant", no, yes},
		{"homie/5/hg-abcd1234-lamp/desk/on/set", yes, yes},
		{"homie/5/hg-abcd1234-lamp/desk/on", no, no},
		{"homie/5/hg-abcd1234-lamp/$state", no, no},
		{"homie/5/hg-abcd1234/$state", no, no},
		{"homie/5/hg-abcd1234-lamp/desk/set", no, no},
		{"homie/5/esp-7/relay/on/set", yes, yes},
		{"homie/5/esp-7/relay/on", no, yes},
		{"homie/4/hg-abcd1234/$state", no, yes},
		{"homie/5", no, yes},
		{"zigbee2mqtt/lamp", no, yes},
		{"hearthgate2/device/lamp/command", no, yes},
		{"", no, no},
		{strings.Repeat("x", maxTopic), no, yes},
		{strings.Repeat("x", maxTopic+1), no, no},
		{strings.Repeat("/", maxLevels), no, no},
		{"a\x00b", no, no},
	}
	for _, tt := range tests {
		for who, want := range map[role]bool{nobody: false, user: tt.user, local: tt.local, gateway: true} {
			if why := homeRules.mayWrite(who, tt.topic, false); (why == "") != want {
				t.Errorf("role %d writes %q: %q, want allowed %v", who, tt.topic, why, want)
			}
		}
	}
	for _, topic := range []string{"hearthgate/device/lamp/desk/set", "hearthgate/device/lamp/command", "hearthgate/group/g/set", "homie/5/hg-abcd1234-lamp/desk/on/set"} {
		for _, who := range []role{user, local} {
			if homeRules.mayWrite(who, topic, true) == "" {
				t.Errorf("role %d may retain %s", who, topic)
			}
		}
	}
	off := rules{base: "hearthgate", prefix: "homeassistant"}
	if off.mayWrite(user, "homie/5/esp-7/relay/on/set", false) == "" || off.mayWrite(local, "homie/5/hg-abcd1234/$state", true) != "" ||
		off.mayRead(user, "homie/5/#") || off.takesCommands("homie/5/hg-abcd1234-lamp/desk/on/set") {
		t.Error("without Homie its topics are as any others")
	}
	if why := homeRules.mayWrite(local, "homie/5/esp-7/relay/on/set", true); why != "" {
		t.Errorf("what another Homie device takes is its own affair: %s", why)
	}
	if why := homeRules.mayWrite(user, "homeassistant/status", true); why != "" {
		t.Errorf("a retained birth message is refused: %s", why)
	}
}

func TestWhoMayReadWhat(t *testing.T) {
	tests := map[string]bool{ // for an account; local programs and the gateway read all
		"hearthgate/#":                     true,
		"hearthgate":                       true,
		"hearthgate/device/+/+/state":      true,
		"homeassistant/#":                  true,
		"$share/g/hearthgate/#":            true,
		"$SHARE/g/homeassistant/status":    true,
		"homie/5/+/$state":                 true,
		"+/5/+/$state":                     false,
		"#":                                false,
		"+/device/lamp/desk/state":         false,
		"hearthgate2/#":                    false,
		"zigbee2mqtt/#":                    false,
		"$SYS/#":                           false,
		"$share/g/#":                       false,
		"$share/hearthgate/zigbee2mqtt/#":  false,
		"$share/hearthgate/":               false,
		"hearthgate#":                      false,
		"hearthgat+/device/lamp/something": false,
	}
	for filter, want := range tests {
		if got := homeRules.mayRead(user, filter); got != want {
			t.Errorf("an account reads %q: %v, want %v", filter, got, want)
		}
		if !homeRules.mayRead(local, filter) || !homeRules.mayRead(gateway, filter) || homeRules.mayRead(nobody, filter) {
			t.Errorf("%q: local programs and the gateway read all, others nothing", filter)
		}
	}
}
