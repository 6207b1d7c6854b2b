package hacheck

import (
	"slices"
	"strings"
)

// platform is what a component of that platform may and must have.
type platform struct {
	required []string
	keys     keys
	rule     func(c map[string]any) error
	noEntity bool // has no unique_id and nothing else that entities have
}

var onOff = keys{"payload_on": text, "payload_off": text}

var platforms = map[string]platform{
	"sensor": {[]string{"state_topic"}, keys{
		"state_topic": topic, "value_template": template, "device_class": sensorClass(), "unit_of_measurement": text,
		"state_class":                 oneOf("measurement", "measurement_angle", "total", "total_increasing"),
		"suggested_display_precision": whole, "expire_after": positive, "force_update": boolean, "options": texts,
		"last_reset_value_template": template,
	}, sensorRule, false},
	"binary_sensor": {[]string{"state_topic"}, join(onOff, keys{
		"state_topic": topic, "value_template": template, "off_delay": positive, "expire_after": positive, "force_update": boolean,
		"device_class": oneOf("battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door", "garage_door", "gas",
			"heat", "light", "lock", "moisture", "motion", "moving", "occupancy", "opening", "plug", "power", "presence", "problem",
			"running", "safety", "smoke", "sound", "tamper", "update", "vibration", "window"),
	}), nil, false},
	"switch": {[]string{"command_topic"}, join(onOff, writable, keys{
		"state_on": text, "state_off": text, "device_class": oneOf("outlet", "switch"),
	}), nil, false},
	"siren": {[]string{"command_topic"}, join(onOff, writable, keys{
		"state_on": text, "state_off": text, "available_tones": texts, "support_duration": boolean, "support_volume_set": boolean,
		"command_off_template": template, "state_value_template": template,
	}), nil, false},
	"number": {[]string{"command_topic"}, join(writable, keys{
		"min": number, "max": number, "step": {"a number, at least 0.001", func(v any) bool { f, ok := v.(float64); return ok && f >= 0.001 }},
		"mode": oneOf("auto", "box", "slider"), "device_class": sensorClass(), "unit_of_measurement": text, "payload_reset": text,
	}), numberRule, false},
	"select": {[]string{"command_topic", "options"}, join(writable, keys{"options": texts}), nil, false},
	"text": {[]string{"command_topic"}, join(writable, keys{
		"min": whole, "max": whole, "mode": oneOf("text", "password"), "pattern": text,
	}), textRule, false},
	"button": {[]string{"command_topic"}, keys{
		"command_topic": topic, "command_template": template, "payload_press": text, "retain": boolean,
		"device_class": oneOf("identify", "restart", "update"),
	}, nil, false},
	"scene": {[]string{"command_topic"}, keys{"command_topic": topic, "payload_on": text, "retain": boolean}, nil, false},
	"event": {[]string{"state_topic", "event_types"}, keys{
		"state_topic": topic, "value_template": template, "event_types": texts, "device_class": oneOf("button", "doorbell", "motion"),
	}, nil, false},
	"light": {[]string{"command_topic", "schema"}, join(writable, keys{
		"schema": oneOf("json"), "supported_color_modes": texts, "brightness": boolean, "brightness_scale": positive,
		"color_temp_kelvin": boolean, "min_kelvin": positive, "max_kelvin": positive, "effect": boolean, "effect_list": texts,
		"transition": boolean, "flash": boolean, "white_scale": positive,
	}), lightRule, false},
	"cover": {nil, join(writable, keys{
		"device_class": oneOf("awning", "blind", "curtain", "damper", "door", "garage", "gate", "shade", "shutter", "window"),
		"payload_open": payload, "payload_close": payload, "payload_stop": payload, "payload_stop_tilt": payload,
		"state_open": text, "state_opening": text, "state_closed": text, "state_closing": text, "state_stopped": text,
		"position_topic": topic, "position_template": template, "set_position_topic": topic, "set_position_template": template,
		"position_open": position, "position_closed": position,
		"tilt_command_topic": topic, "tilt_command_template": template, "tilt_status_topic": topic, "tilt_status_template": template,
		"tilt_min": position, "tilt_max": position, "tilt_opened_value": position, "tilt_closed_value": position, "tilt_optimistic": boolean,
	}), coverRule, false},
	"valve": {nil, join(writable, keys{
		"device_class": oneOf("water", "gas"), "reports_position": boolean, "position_open": position, "position_closed": position,
		"payload_open": payload, "payload_close": payload, "payload_stop": payload,
		"state_open": text, "state_opening": text, "state_closed": text, "state_closing": text,
	}), valveRule, false},
	"lock": {[]string{"command_topic"}, join(writable, keys{
		"payload_lock": text, "payload_unlock": text, "payload_open": text, "payload_reset": text, "code_format": text,
		"state_locked": text, "state_locking": text, "state_unlocked": text, "state_unlocking": text,
		"state_open": text, "state_opening": text, "state_jammed": text,
	}), nil, false},
	"fan": {[]string{"command_topic"}, join(onOff, writable, attribute("percentage"), attribute("preset_mode"), attribute("oscillation"), attribute("direction"), keys{
		"state_value_template": template, "percentage_value_template": template, "preset_mode_value_template": template,
		"oscillation_value_template": template, "direction_value_template": template,
		"speed_range_min": positive, "speed_range_max": positive, "preset_modes": texts,
		"payload_oscillation_on": text, "payload_oscillation_off": text,
		"payload_reset_percentage": anyText, "payload_reset_preset_mode": anyText,
	}).but("value_template"), fanRule, false},
	"climate": {nil, join(onOff, attribute("mode"), attribute("temperature"), attribute("temperature_high"), attribute("temperature_low"),
		attribute("target_humidity"), attribute("fan_mode"), attribute("preset_mode"), attribute("swing_mode"), attribute("swing_horizontal_mode"), keys{
			"modes": eachOf("auto", "off", "cool", "heat", "dry", "fan_only", "heat_cool"), "fan_modes": texts, "preset_modes": texts,
			"swing_modes": texts, "swing_horizontal_modes": texts, "preset_mode_value_template": template,
			"current_temperature_topic": topic, "current_temperature_template": template,
			"current_humidity_topic": topic, "current_humidity_template": template,
			"action_topic": topic, "action_template": template, "power_command_topic": topic, "power_command_template": template,
			"min_temp": number, "max_temp": number, "temp_step": {"a number above 0", func(v any) bool { f, ok := v.(float64); return ok && f > 0 }},
			"min_humidity": number, "max_humidity": number, "initial": number, "temperature_unit": oneOf("C", "F"),
			"precision":  {"0.1, 0.5 or 1", func(v any) bool { return v == 0.1 || v == 0.5 || v == 1.0 }},
			"optimistic": boolean, "retain": writable["retain"], "value_template": template,
		}), climateRule, false},
	"humidifier": {[]string{"command_topic", "target_humidity_command_topic"}, join(onOff, writable, attribute("target_humidity"), attribute("mode"), keys{
		"device_class": oneOf("humidifier", "dehumidifier"), "state_value_template": template, "modes": texts,
		"current_humidity_topic": topic, "current_humidity_template": template, "action_topic": topic, "action_template": template,
		"min_humidity": whole, "max_humidity": whole, "payload_reset_humidity": anyText, "payload_reset_mode": anyText,
	}).but("value_template"), humidifierRule, false},
	"update": {nil, keys{
		"state_topic": topic, "value_template": template, "latest_version_topic": topic, "latest_version_template": template,
		"command_topic": topic, "payload_install": text, "device_class": oneOf("firmware"), "title": text, "release_summary": text,
		"release_url": text, "retain": writable["retain"], "display_precision": whole,
	}, updateRule, false},
	"device_automation": {[]string{"automation_type", "type", "subtype", "topic"}, keys{
		"automation_type": oneOf("trigger"), "type": text, "subtype": text, "topic": topic, "payload": text, "value_template": template,
		"qos": entityKeys["qos"],
	}, nil, true},
}

// attribute is a value of its own among several of an entity.
func attribute(name string) keys {
	return keys{
		name + "_command_topic": topic, name + "_command_template": template,
		name + "_state_topic": topic, name + "_state_template": template,
	}
}

// but takes a key out again.
func (k keys) but(name string) keys {
	delete(k, name)
	return k
}

func eachOf(words ...string) check {
	return check{"some of " + strings.Join(words, ", "), func(v any) bool {
		l, ok := v.([]any)
		return ok && len(l) > 0 && !slices.ContainsFunc(l, func(v any) bool { s, _ := v.(string); return !slices.Contains(words, s) })
	}}
}

var writable = keys{
	"command_topic": topic, "command_template": template, "state_topic": topic, "value_template": template,
	"optimistic": boolean, "retain": {"false: we refuse retained commands", func(v any) bool { return v == false }},
}
