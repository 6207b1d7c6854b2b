// Package hacheck tells whether Home Assistant would take an MQTT discovery
// message whole: its closed schemas and cross-key rules as tables. It is for
// tests. It shares nothing with the package that writes such messages, so that
// one mistake is not made twice.
package hacheck

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// check of a value: what it wants, and whether it has it.
type check struct {
	want string
	ok   func(any) bool
}

var (
	text     = check{"a text", func(v any) bool { s, ok := v.(string); return ok && s != "" }}
	boolean  = check{"a bool", func(v any) bool { _, ok := v.(bool); return ok }}
	number   = check{"a number", func(v any) bool { _, ok := v.(float64); return ok }}
	whole    = check{"a whole number, at least 0", func(v any) bool { f, ok := v.(float64); return ok && f == math.Trunc(f) && f >= 0 }}
	positive = check{"a whole number above 0", func(v any) bool { f, ok := v.(float64); return ok && f == math.Trunc(f) && f > 0 }}
	texts    = check{"a list of texts that is not empty", func(v any) bool {
		l, ok := v.([]any)
		return ok && len(l) > 0 && !slices.ContainsFunc(l, func(v any) bool { _, ok := v.(string); return !ok })
	}}
	topic = check{"a topic to publish on", func(v any) bool {
		s, ok := v.(string)
		return ok && s != "" && len(s) <= 65535 && !strings.ContainsAny(s, "+#\x00~") && !strings.HasPrefix(s, "$")
	}}
	anyText    = check{"a text", func(v any) bool { _, ok := v.(string); return ok }}
	payload    = check{"a text or null", func(v any) bool { s, ok := v.(string); return ok && s != "" || v == nil }}
	position   = check{"a whole number", func(v any) bool { f, ok := v.(float64); return ok && f == math.Trunc(f) }}
	nameOrNull = check{"a text or null", func(v any) bool { _, ok := v.(string); return ok || v == nil }}
	template   = text
)

func oneOf(words ...string) check {
	return check{"one of " + strings.Join(words, ", "), func(v any) bool { s, ok := v.(string); return ok && slices.Contains(words, s) }}
}

type keys map[string]check

func join(all ...keys) keys {
	k := keys{}
	for _, ks := range all {
		for name, c := range ks {
			k[name] = c
		}
	}
	return k
}

var availabilityKeys = keys{
	"availability": {"a list", func(v any) bool { _, ok := v.([]any); return ok }}, "availability_mode": oneOf("all", "any", "latest"),
	"availability_topic": topic, "availability_template": template, "payload_available": text, "payload_not_available": text,
}

var deviceKeys = keys{
	"identifiers": texts, "connections": {"a list", func(v any) bool { _, ok := v.([]any); return ok }},
	"name": text, "manufacturer": text, "model": text, "model_id": text, "hw_version": text, "sw_version": text,
	"serial_number": text, "suggested_area": text, "via_device": text,
	"configuration_url": {"an address", func(v any) bool {
		s, _ := v.(string)
		return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "homeassistant://")
	}},
}

var originKeys = keys{"name": text, "sw_version": text, "support_url": text}

var entityKeys = join(availabilityKeys, keys{
	"platform": text, "unique_id": text, "name": nameOrNull, "default_entity_id": text, "entity_category": oneOf("config", "diagnostic"),
	"enabled_by_default": boolean, "icon": text, "entity_picture": text, "json_attributes_topic": topic, "json_attributes_template": template,
	"qos": {"0, 1 or 2", func(v any) bool { return v == 0.0 || v == 1.0 || v == 2.0 }}, "encoding": text,
})

var objectID = regexp.MustCompile(`^[a-z0-9_-]+$`)

// Device checks a device-based message and where it is published.
func Device(topicName, prefix string, payload []byte) error {
	parts := strings.Split(strings.TrimPrefix(topicName, prefix+"/"), "/")
	if len(parts) != 3 || parts[0] != "device" || parts[2] != "config" || !objectID.MatchString(parts[1]) {
		return fmt.Errorf("topic %q is none of a device", topicName)
	}
	root, err := parse(payload)
	if err != nil {
		return err
	}
	allowed := join(availabilityKeys, keys{"device": object, "origin": object, "components": object, "state_topic": topic,
		"command_topic": topic, "qos": entityKeys["qos"], "encoding": text})
	if err := closed("root", root, allowed, "device", "origin", "components"); err != nil {
		return err
	}
	if err := common(root); err != nil {
		return err
	}
	ids := map[string]bool{}
	for key, v := range root["components"].(map[string]any) {
		c, ok := v.(map[string]any)
		if !ok || !objectID.MatchString(key) {
			return fmt.Errorf("component %q: not an object, or its key is no id", key)
		}
		if err := component(c, ids); err != nil {
			return fmt.Errorf("component %q: %w", key, err)
		}
	}
	return nil
}

// Component checks a message about a single component.
func Component(topicName, prefix string, payload []byte) error {
	parts := strings.Split(strings.TrimPrefix(topicName, prefix+"/"), "/")
	if len(parts) != 4 || parts[3] != "config" || !objectID.MatchString(parts[1]) || !objectID.MatchString(parts[2]) {
		return fmt.Errorf("topic %q is none of a component", topicName)
	}
	c, err := parse(payload)
	if err != nil {
		return err
	}
	if err := common(c); err != nil {
		return err
	}
	delete(c, "device")
	delete(c, "origin")
	c["platform"] = parts[0]
	return component(c, map[string]bool{})
}

var object = check{"an object", func(v any) bool { _, ok := v.(map[string]any); return ok }}

func parse(payload []byte) (map[string]any, error) {
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(payload))
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if d.More() {
		return nil, fmt.Errorf("something follows the JSON")
	}
	return m, nil
}

// closed checks an object of which no other key is allowed.
func closed(what string, m map[string]any, allowed keys, required ...string) error {
	for _, k := range required {
		if _, ok := m[k]; !ok {
			return fmt.Errorf("%s: %s is missing", what, k)
		}
	}
	for k, v := range m {
		c, ok := allowed[k]
		if !ok {
			return fmt.Errorf("%s: key %q is not known", what, k)
		}
		if !c.ok(v) {
			return fmt.Errorf("%s: %s is %v, want %s", what, k, v, c.want)
		}
	}
	return nil
}

// common checks device, origin and availability.
func common(m map[string]any) error {
	device, ok := m["device"].(map[string]any)
	if !ok {
		return fmt.Errorf("device is missing")
	}
	if err := closed("device", device, deviceKeys); err != nil {
		return err
	}
	if device["identifiers"] == nil && device["connections"] == nil {
		return fmt.Errorf("device: neither identifiers nor connections")
	}
	origin, ok := m["origin"].(map[string]any)
	if !ok {
		return fmt.Errorf("origin is missing")
	}
	if err := closed("origin", origin, originKeys, "name"); err != nil {
		return err
	}
	return availability(m)
}

func availability(m map[string]any) error {
	list, both := m["availability"].([]any)
	if _, single := m["availability_topic"]; single && both {
		return fmt.Errorf("availability in both forms")
	}
	for _, v := range list {
		a, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("availability: not a list of objects")
		}
		if err := closed("availability", a, keys{"topic": topic, "payload_available": text, "payload_not_available": text, "value_template": template}, "topic"); err != nil {
			return err
		}
	}
	return nil
}

func component(c map[string]any, ids map[string]bool) error {
	name, _ := c["platform"].(string)
	p, ok := platforms[name]
	if !ok {
		return fmt.Errorf("platform %q is not known", name)
	}
	if len(c) == 1 {
		return nil // remove it
	}
	if p.noEntity {
		return closed(name, c, join(keys{"platform": text}, p.keys), p.required...)
	}
	if err := closed(name, c, join(entityKeys, p.keys), append([]string{"unique_id"}, p.required...)...); err != nil {
		return err
	}
	id, _ := c["unique_id"].(string)
	if !objectID.MatchString(id) {
		return fmt.Errorf("unique_id %q is no id", id)
	}
	if ids[name+" "+id] {
		return fmt.Errorf("unique_id %q comes twice", id)
	}
	ids[name+" "+id] = true
	if e, ok := c["default_entity_id"].(string); ok && !regexp.MustCompile(`^`+name+`\.[a-z0-9_]+$`).MatchString(e) {
		return fmt.Errorf("default_entity_id %q is none of a %s", e, name)
	}
	if (name == "sensor" || name == "binary_sensor") && c["entity_category"] == "config" {
		return fmt.Errorf("a %s is no configuration", name)
	}
	if err := availability(c); err != nil {
		return err
	}
	if p.rule != nil {
		return p.rule(c)
	}
	return nil
}
