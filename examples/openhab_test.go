package examples_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// ohChannels are the channel types of openHAB's generic MQTT things that the
// example uses: the item that each is for, and the properties that its
// documentation names besides those of every channel.
var ohChannels = map[string]struct{ item, properties string }{
	"string":        {"String", "allowedStates"},
	"number":        {"Number", "min max step unit"},
	"dimmer":        {"Dimmer", "on off min max step"},
	"switch":        {"Switch", "on off"},
	"contact":       {"Contact", "on off"},
	"rollershutter": {"Rollershutter", "on off stop stopCommandTopic"},
}

const ohEveryChannel = "stateTopic commandTopic transformationPattern formatBeforePublish postCommand retained qos trigger"

type ohChannel struct {
	uid, kind  string
	properties map[string]string
}

// Every topic in the file for openHAB exists in the simulated home, what is said
// there is a value of its channel, and what the channel would send is obeyed.
func TestOpenHABThings(t *testing.T) {
	t.Parallel()
	h := startHome(t)
	o := observe(t, h.broker, "hearthgate/#")
	things, channels := readThings(t)
	for name, p := range things {
		if p["payloadAvailable"] != "online" || p["payloadNotAvailable"] != "offline" {
			t.Errorf("%s: availability is online or offline, not %v", name, p)
		}
		o.wait(p["availabilityTopic"], "online")
	}
	for _, c := range channels {
		known := strings.Fields(ohEveryChannel + " " + ohChannels[c.kind].properties)
		for property := range c.properties {
			if !slices.Contains(known, property) {
				t.Errorf("%s: a %s has no property %q", c.uid, c.kind, property)
			}
		}
		if topic := c.properties["commandTopic"]; topic != "" {
			for _, payload := range c.sends() {
				if r := o.command(topic, payload); !r.obeyed() {
					t.Errorf("%s: %q: %s (%s)", c.uid, payload, r.Outcome, r.Message)
				}
			}
		}
	}
	for _, c := range channels {
		topic := c.properties["stateTopic"]
		if topic == "" || c.properties["trigger"] == "true" && isEvent(t, o, topic) {
			continue
		}
		value := c.transform(t, o.wait(topic, ""))
		if !c.takes(value) {
			t.Errorf("%s: %q on %s is no value of a %s %v", c.uid, value, topic, c.kind, c.properties)
		}
	}
}

// Each item is linked to a channel that exists and that fits its type.
func TestOpenHABItems(t *testing.T) {
	t.Parallel()
	_, channels := readThings(t)
	kinds := map[string]string{}
	for _, c := range channels {
		kinds[c.uid] = c.kind
	}
	b, err := os.ReadFile("openhab/hearthgate.items")
	must(t, err)
	item := regexp.MustCompile(`^([A-Z]\w*)(?::\w+)?\s+\w+\s+"[^"]*"\s+(?:<\w+>\s+)?\{ channel="([^"]+)"(?:, \w+="[^"]*")* \}$`)
	seen := map[string]bool{}
	for i, line := range strings.Split(string(b), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "//") {
			continue
		}
		m := item.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("line %d is no item: %s", i+1, line)
			continue
		}
		if want := ohChannels[kinds[m[2]]].item; want != m[1] {
			t.Errorf("line %d: a %s is linked to %s, which is for a %q", i+1, m[1], m[2], want)
		}
		seen[m[2]] = true
	}
	for _, c := range channels {
		if !seen[c.uid] && c.properties["trigger"] != "true" {
			t.Errorf("%s has no item", c.uid)
		}
	}
}

// readThings reads what the example uses of the syntax of a .things file.
func readThings(t *testing.T) (things map[string]map[string]string, channels []ohChannel) {
	t.Helper()
	b, err := os.ReadFile("openhab/hearthgate.things")
	must(t, err)
	thing := regexp.MustCompile(`^Thing topic (\w+) "[^"]+" \[ (.+) \] \{$`)
	channel := regexp.MustCompile(`^Type (\w+) : (\w+) "[^"]+" \[ (.+) \]$`)
	things = map[string]map[string]string{}
	open, uid := 0, ""
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "//") {
			continue
		}
		open += strings.Count(line, "{") - strings.Count(line, "}")
		switch m := thing.FindStringSubmatch(line); {
		case m != nil:
			uid = "mqtt:topic:hearthgate:" + m[1]
			things[uid] = ohProperties(m[2])
		case strings.HasPrefix(line, "Type "):
			m := channel.FindStringSubmatch(line)
			if m == nil || ohChannels[m[1]].item == "" {
				t.Fatalf("line %d is no channel: %s", i+1, line)
			}
			channels = append(channels, ohChannel{uid + ":" + m[2], m[1], ohProperties(m[3])})
		case !regexp.MustCompile(`^(|\}|Channels:|Bridge mqtt:broker:hearthgate "\w+" \[ .+ \] \{)$`).MatchString(line):
			t.Fatalf("line %d: %s", i+1, line)
		}
	}
	if open != 0 || len(channels) == 0 {
		t.Fatalf("%d braces are open, and there are %d channels", open, len(channels))
	}
	return things, channels
}

func ohProperties(text string) map[string]string {
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+)=(?:"([^"]*)"|([\w.]+))`).FindAllStringSubmatch(text, -1) {
		all[m[1]] = m[2] + m[3]
	}
	return all
}

// transform does what the channel's transformation does.
func (c ohChannel) transform(t *testing.T, text string) string {
	t.Helper()
	pattern := c.properties["transformationPattern"]
	if pattern == "" {
		return text
	}
	name, ok := strings.CutPrefix(pattern, "JSONPATH:$.")
	var all map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil || !ok || all[name] == nil {
		t.Errorf("%s: %s has nothing of %s: %v", c.uid, text, pattern, err)
	}
	if f, ok := all[name].(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(all[name])
}

// takes says whether a received text is a value of the channel.
func (c ohChannel) takes(value string) bool {
	word := func(name, standard string) string {
		if w, ok := c.properties[name]; ok {
			return w
		}
		return standard
	}
	switch c.kind {
	case "switch":
		return value == word("on", "ON") || value == word("off", "OFF")
	case "contact":
		return value == word("on", "OPEN") || value == word("off", "CLOSED")
	case "number", "dimmer":
		f, err := strconv.ParseFloat(value, 64)
		return err == nil && c.within(f)
	case "string":
		allowed := c.properties["allowedStates"]
		return value != "" && (allowed == "" || slices.Contains(strings.Split(allowed, ","), value))
	}
	return false
}

func (c ohChannel) within(f float64) bool {
	low, err1 := strconv.ParseFloat(c.properties["min"], 64)
	high, err2 := strconv.ParseFloat(c.properties["max"], 64)
	return (err1 != nil || f >= low) && (err2 != nil || f <= high)
}

// sends is what openHAB publishes when the channel's item is commanded.
func (c ohChannel) sends() []string {
	p := c.properties
	switch c.kind {
	case "switch":
		return []string{"OFF", "ON"}
	case "number", "dimmer":
		return []string{p["max"], p["min"]}
	case "rollershutter":
		return []string{p["off"], p["stop"], p["on"]}
	case "string":
		return strings.Split(p["allowedStates"], ",")
	}
	return nil
}

// isEvent says whether a topic is that of an event which may come at any time: it
// is on the card of its device.
func isEvent(t *testing.T, o *observer, topic string) bool {
	t.Helper()
	parts := strings.Split(topic, "/")
	var card struct{ Components []struct{ ID, Kind string } }
	must(t, json.Unmarshal([]byte(o.wait("hearthgate/device/"+parts[2]+"/info", "components")), &card))
	return len(parts) == 5 && parts[4] == "event" && slices.ContainsFunc(card.Components, func(c struct{ ID, Kind string }) bool {
		return c.ID == parts[3] && c.Kind == "event"
	})
}

// ohPlatforms are the Home Assistant components that openHAB documents as
// supported by its discovery.
const ohPlatforms = "alarm_control_panel binary_sensor button camera climate cover device_automation fan light lock number scene select sensor switch update vacuum"

// With `mqtt.discovery: components` openHAB finds all devices of the home by
// itself; components that it does not know (an event) it leaves out.
func TestOpenHABDiscovery(t *testing.T) {
	t.Parallel()
	h := startHome(t, "--mqtt.discovery", "components")
	o := observe(t, h.broker, "homeassistant/#")
	form := regexp.MustCompile(`^homeassistant/(\w+)/hg_[a-z0-9]{8}_([a-z0-9-]+)/[\w-]+/config$`)
	proctest.Until(t, "ten devices in openHAB's inbox", func() bool {
		inbox := map[string]bool{}
		for _, topic := range o.topics() {
			if m := form.FindStringSubmatch(topic); m != nil && slices.Contains(strings.Fields(ohPlatforms), m[1]) {
				var c struct {
					State   string `json:"state_topic"`
					Command string `json:"command_topic"`
					Device  struct{ Identifiers []string }
				}
				must(t, json.Unmarshal([]byte(o.messages(topic)[0]), &c))
				inbox[m[2]] = inbox[m[2]] || len(c.Device.Identifiers) == 1 && c.State+c.Command != ""
			}
		}
		return len(inbox) == 10
	})
}
