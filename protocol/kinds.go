package protocol

import (
	"maps"
	"slices"
)

// Kinds of components that need their name in code. The others are only rows
// of the table below.
const (
	KindSensor       = "sensor"
	KindBinarySensor = "binary_sensor"
	KindSwitch       = "switch"
	KindSiren        = "siren"
	KindNumber       = "number"
	KindSelect       = "select"
	KindText         = "text"
	KindButton       = "button"
	KindEvent        = "event"
	KindLight        = "light"
	KindCover        = "cover"
	KindValve        = "valve"
	KindLock         = "lock"
	KindFan          = "fan"
	KindClimate      = "climate"
	KindHumidifier   = "humidifier"
)

// trait says what one value of a kind is like.
type trait struct {
	name     string // the attribute, "" for a kind with a single value
	typ      PointType
	settable bool
	silent   bool     // never reports
	options  []string // fixed; a component may name fewer
	own      bool     // the component must name the options
	percent  bool     // 0-100 unless it says otherwise
	colour   bool     // #rrggbb
}

// kinds is the table of PROTOCOL.md, "Kinds". A kind with a single value has one
// trait without a name.
var kinds = map[string][]trait{
	KindSensor:       {{typ: AnyPoint}},
	KindBinarySensor: {{typ: BoolPoint}},
	KindSwitch:       {{typ: BoolPoint, settable: true}},
	KindSiren:        {{typ: BoolPoint, settable: true}},
	KindNumber:       {{typ: NumberPoint, settable: true}},
	KindSelect:       {{typ: TextPoint, settable: true, own: true}},
	KindText:         {{typ: TextPoint, settable: true}},
	KindButton:       {{typ: AnyPoint, settable: true, silent: true}},
	KindEvent:        {{typ: TextPoint, own: true}},
	KindLight: {
		{name: "on", typ: BoolPoint, settable: true},
		{name: "brightness", settable: true, percent: true},
		{name: "color_temp", settable: true},
		{name: "rgb", typ: TextPoint, settable: true, colour: true},
		{name: "effect", typ: TextPoint, settable: true, own: true},
	},
	KindCover: {
		{name: "state", typ: TextPoint, options: []string{"open", "opening", "closed", "closing", "stopped"}},
		{name: "position", settable: true, percent: true},
		{name: "tilt", settable: true, percent: true},
		{name: "action", typ: TextPoint, settable: true, options: []string{"open", "close", "stop"}},
	},
	KindValve: {
		{name: "state", typ: TextPoint, options: []string{"open", "opening", "closed", "closing", "stopped"}},
		{name: "position", settable: true, percent: true},
		{name: "action", typ: TextPoint, settable: true, options: []string{"open", "close", "stop"}},
	},
	KindLock: {
		{name: "state", typ: TextPoint, options: []string{"locked", "locking", "unlocked", "unlocking", "jammed"}},
		{name: "action", typ: TextPoint, settable: true, options: []string{"lock", "unlock", "open"}},
	},
	KindFan: {
		{name: "on", typ: BoolPoint, settable: true},
		{name: "speed", settable: true, percent: true},
		{name: "preset", typ: TextPoint, settable: true, own: true},
		{name: "oscillate", typ: BoolPoint, settable: true},
		{name: "direction", typ: TextPoint, settable: true, options: []string{"forward", "reverse"}},
	},
	KindClimate: {
		{name: "mode", typ: TextPoint, settable: true, options: []string{"off", "heat", "cool", "heat_cool", "auto", "dry", "fan_only"}},
		{name: "target", settable: true},
		{name: "target_low", settable: true},
		{name: "target_high", settable: true},
		{name: "temperature"},
		{name: "humidity", percent: true},
		{name: "target_humidity", settable: true, percent: true},
		{name: "action", typ: TextPoint, options: []string{"off", "heating", "cooling", "drying", "idle", "fan"}},
		{name: "fan_mode", typ: TextPoint, settable: true, own: true},
		{name: "preset", typ: TextPoint, settable: true, own: true},
	},
	KindHumidifier: {
		{name: "on", typ: BoolPoint, settable: true},
		{name: "target", settable: true, percent: true},
		{name: "humidity", percent: true},
		{name: "mode", typ: TextPoint, settable: true, own: true},
		{name: "action", typ: TextPoint, options: []string{"off", "humidifying", "drying", "idle"}},
	},
}

// SettableKinds are the kinds that can be commanded, in the order of the alphabet.
func SettableKinds() []string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if slices.ContainsFunc(kinds[kind], func(t trait) bool { return t.settable }) {
			all = append(all, kind)
		}
	}
	return all
}

// hasAttributes reports whether components of that kind are made of attributes.
func hasAttributes(traits []trait) bool { return traits[0].name != "" }
