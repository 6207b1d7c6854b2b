package examples_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// What of Home Assistant the examples use, and the keys that its documentation
// names for it. An example that uses more adds a line here, from the documentation.
var (
	haTriggers = map[string][]string{
		"mqtt":          {"topic", "payload", "value_template", "qos", "encoding"},
		"state":         {"entity_id", "from", "to", "not_from", "not_to", "for", "attribute"},
		"time":          {"at", "weekday"},
		"numeric_state": {"entity_id", "above", "below", "for", "attribute", "value_template"},
	}
	haConditions = map[string][]string{
		"template": {"value_template"},
	}
	haActions = map[string][]string{ // the keys of data
		"mqtt.publish":                   {"topic", "payload", "evaluate_payload", "qos", "retain"},
		"persistent_notification.create": {"title", "message", "notification_id"},
		"lock.lock":                      {"code"},
		"cover.close_cover":              {},
		"light.turn_on":                  {"brightness_pct", "brightness", "color_temp_kelvin", "effect", "rgb_color"},
	}
	haCards = map[string][]string{
		"heading":       {"heading", "heading_style", "icon", "tap_action", "badges"},
		"tile":          {"entity", "name", "icon", "color", "vertical", "hide_state", "state_content", "features", "tap_action"},
		"history-graph": {"entities", "title", "hours_to_show", "min_y_axis", "max_y_axis"},
	}
	haFeatures = map[string]string{ // and the platform that has it
		"light-brightness":   "light",
		"light-color-temp":   "light",
		"target-temperature": "climate",
		"cover-open-close":   "cover",
		"cover-position":     "cover",
		"fan-speed":          "fan",
		"lock-commands":      "lock",
		"numeric-input":      "number",
	}
	haSceneKeys = map[string][]string{ // the attributes that a scene may set
		"light":   {"state", "brightness", "color_temp_kelvin", "rgb_color", "effect"},
		"climate": {"state", "temperature", "preset_mode"},
		"switch":  {"state"},
	}
)

// haFiles are the examples, strictly: another key at the top is a mistake.
type haFiles struct {
	pkg struct {
		Automation []haAutomation
		Scene      []struct {
			ID, Name string
			Entities map[string]map[string]any
		}
	}
	views []struct {
		Title, Path, Type string
		Sections          []struct {
			Type  string
			Cards []map[string]any
		}
	}
	blueprint struct {
		Blueprint struct {
			Name, Description, Domain string
			Homeassistant             struct {
				MinVersion string `yaml:"min_version"`
			}
			Input map[string]struct {
				Name, Description string
				Default           any
				Selector          map[string]any
			}
		}
		Mode       string
		Triggers   []map[string]any
		Variables  map[string]string
		Conditions []map[string]any
		Actions    string // !input
	}
}

type haAutomation struct {
	ID, Alias, Mode               string
	Triggers, Conditions, Actions []map[string]any
}

func readHomeAssistant(t *testing.T) *haFiles {
	t.Helper()
	f := &haFiles{}
	for name, into := range map[string]any{
		"package.yaml": &f.pkg, "dashboard.yaml": &f.views, "blueprint.yaml": &f.blueprint,
	} {
		b, err := os.ReadFile(filepath.Join("home-assistant", name))
		must(t, err)
		if err := yaml.UnmarshalWithOptions(b, into, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// Home Assistant reads YAML 1.1, where these words are true and false.
		if m := regexp.MustCompile(`(?mi): +(on|off|yes|no) *(#.*)?$`).Find(b); m != nil {
			t.Errorf("%s: %q needs quotes", name, m)
		}
	}
	return f
}

// The files for Home Assistant name only what it documents and what the simulated
// home has: entities that it would make of our discovery, topics on which we
// publish, commands that devices take.
func TestHomeAssistantExamples(t *testing.T) {
	t.Parallel()
	f := readHomeAssistant(t)
	h := startHome(t)
	o := observe(t, h.broker, "hearthgate/#", "homeassistant/#")
	ha := &haHome{t: t, o: o, entities: discovered(t, o, 10+1)}

	for _, a := range f.pkg.Automation {
		ha.where = a.Alias
		ha.automation(a.Triggers, a.Conditions, a.Actions)
	}
	for _, s := range f.pkg.Scene {
		ha.where = "scene " + s.Name
		for id, want := range s.Entities {
			ha.entity(id)
			ha.keys(want, haSceneKeys[platform(id)])
		}
	}
	for _, v := range f.views {
		for _, s := range v.Sections {
			for _, card := range s.Cards {
				ha.where = "dashboard"
				ha.card(card)
			}
		}
	}
	ha.where = "blueprint"
	b := f.blueprint
	results, _ := b.Blueprint.Input["results"].Default.(string)
	for _, trigger := range b.Triggers {
		if trigger["topic"] == "results" { // !input results
			trigger["topic"] = results
		}
	}
	if _, ok := b.Blueprint.Input[b.Actions]; !ok {
		t.Errorf("blueprint: its actions are %q, which is no input", b.Actions)
	}
	ha.automation(b.Triggers, b.Conditions, nil)
	for _, template := range b.Variables {
		ha.template(template)
	}
}

// haHome is what Home Assistant would know of the simulated home.
type haHome struct {
	t        *testing.T
	o        *observer
	entities map[string]bool
	where    string
}

// discovered are the entity ids of all devices, the gateway among them, once they
// are announced.
func discovered(t *testing.T, o *observer, devices int) map[string]bool {
	t.Helper()
	configs := func() (all []string) {
		for _, topic := range o.topics() {
			if strings.HasPrefix(topic, "homeassistant/device/") {
				all = append(all, topic)
			}
		}
		return all
	}
	proctest.Until(t, "all devices are announced", func() bool { return len(configs()) == devices })
	entities := map[string]bool{}
	for _, topic := range configs() {
		var config struct {
			Components map[string]struct {
				ID string `json:"default_entity_id"`
			}
		}
		must(t, json.Unmarshal([]byte(o.wait(topic, "{")), &config))
		for _, c := range config.Components {
			entities[c.ID] = true
		}
	}
	return entities
}

func (h *haHome) automation(triggers, conditions, actions []map[string]any) {
	for _, trigger := range triggers {
		h.known(trigger, "trigger", haTriggers)
		h.names(trigger)
		if topic, ok := trigger["topic"].(string); ok {
			h.topic(topic)
		}
	}
	for _, condition := range conditions {
		h.known(condition, "condition", haConditions)
		h.names(condition)
	}
	for _, action := range actions {
		name, _ := action["action"].(string)
		keys, ok := haActions[name]
		if !ok {
			h.t.Errorf("%s: the action %q is not in the table", h.where, name)
		}
		data, _ := action["data"].(map[string]any)
		h.keys(data, keys)
		h.keys(action, []string{"action", "data", "target"})
		h.names(data)
		if target, ok := action["target"].(map[string]any); ok {
			h.names(target)
			if id, _ := target["entity_id"].(string); platform(id) != platform(name) {
				h.t.Errorf("%s: %s is nothing for %s", h.where, id, name)
			}
		}
		if name == "mqtt.publish" {
			topic, _ := data["topic"].(string)
			payload, _ := data["payload"].(string)
			if r := h.o.command(topic, payload); !r.obeyed() {
				h.t.Errorf("%s: %s on %s: %s (%s)", h.where, payload, topic, r.Outcome, r.Message)
			}
			if data["retain"] == true {
				h.t.Errorf("%s: the gateway refuses retained commands", h.where)
			}
		}
	}
}

func (h *haHome) card(card map[string]any) {
	h.known(card, "type", haCards)
	h.names(card)
	entities, _ := card["entities"].([]any)
	for _, e := range entities {
		h.names(e.(map[string]any))
	}
	features, _ := card["features"].([]any)
	for _, f := range features {
		kind, _ := f.(map[string]any)["type"].(string)
		if id, _ := card["entity"].(string); haFeatures[kind] != platform(id) || kind == "" {
			h.t.Errorf("%s: %s has no feature %q", h.where, id, kind)
		}
	}
}

// known checks what something is and which keys it has against a table.
func (h *haHome) known(thing map[string]any, key string, table map[string][]string) {
	kind, _ := thing[key].(string)
	keys, ok := table[kind]
	if !ok {
		h.t.Errorf("%s: the %s %q is not in the table", h.where, key, kind)
	}
	h.keys(thing, append([]string{key}, keys...))
}

func (h *haHome) keys(thing map[string]any, allowed []string) {
	for key := range thing {
		if !slices.Contains(allowed, key) {
			h.t.Errorf("%s: the key %q is not documented", h.where, key)
		}
	}
}

// names checks the entities and templates among the values.
func (h *haHome) names(thing map[string]any) {
	for key, value := range thing {
		text, ok := value.(string)
		switch {
		case ok && (key == "entity" || key == "entity_id"):
			h.entity(text)
		case ok && strings.Contains(text, "{{"):
			h.template(text)
		}
	}
}

func platform(entity string) string {
	p, _, _ := strings.Cut(entity, ".")
	return p
}

func (h *haHome) entity(id string) {
	if !h.entities[id] {
		h.t.Errorf("%s: there is no entity %s", h.where, id)
	}
}

// topic checks that something is published there.
func (h *haHome) topic(filter string) {
	if strings.HasSuffix(filter, "/result") { // said only when there was a command
		if r := h.o.command("hearthgate/device/kitchen-plug/power/set", "1"); r.Outcome != "unsupported" {
			h.t.Errorf("a command that cannot be done: %+v", r)
		}
	}
	as := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(filter), `\+`, "[^/]+") + "$")
	proctest.Until(h.t, "a message on "+filter, func() bool { return slices.ContainsFunc(h.o.topics(), as.MatchString) })
}

// template checks that the messages have the members that a template reads.
func (h *haHome) template(text string) {
	for _, m := range regexp.MustCompile(`(?:payload|value)_json\.(\w+)`).FindAllStringSubmatch(text, -1) {
		member := `"` + m[1] + `":`
		said := slices.ContainsFunc(h.o.topics(), func(topic string) bool {
			return (strings.HasSuffix(topic, "/result") || strings.HasSuffix(topic, "/lifecycle")) &&
				slices.ContainsFunc(h.o.messages(topic), func(text string) bool { return strings.Contains(text, member) })
		})
		if !said {
			h.t.Errorf("%s: no result and no lifecycle has %s", h.where, member)
		}
	}
}
