package mqtt

import (
	"encoding/hex"
	"encoding/json"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// The small JSON documents that change rarely.

// bridgeInfo is <b>/bridge/info.
type bridgeInfo struct {
	Gateway  string `json:"gateway"`
	Version  string `json:"version"`
	Protocol string `json:"protocol"`
}

// bridgeEvent is <b>/bridge/event.
type bridgeEvent struct {
	Type    string `json:"type"`
	Time    int64  `json:"time"` // ms since 1970
	Device  string `json:"device,omitempty"`
	Topic   string `json:"topic,omitempty"`
	Message string `json:"message"`
}

// lifecycle is <b>/device/<d>/lifecycle.
type lifecycle struct {
	State    store.PresenceState `json:"state"`
	Since    int64               `json:"since"`
	Cause    string              `json:"cause,omitempty"`
	NextWake int64               `json:"next_wake,omitempty"`
	Seen     int64               `json:"seen,omitempty"` // when it was there last, if that is neither now nor since
	Restarts uint64              `json:"restarts,omitempty"`
	Gaps     uint64              `json:"gaps,omitempty"` // how often it had to drop data
}

// deviceInfo is <b>/device/<d>/info, the device's card.
type deviceInfo struct {
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Area         string          `json:"area,omitempty"`
	Model        string          `json:"model,omitempty"`
	Manufacturer string          `json:"manufacturer,omitempty"`
	Serial       string          `json:"serial,omitempty"`
	Hardware     string          `json:"hardware,omitempty"`
	Firmware     string          `json:"firmware,omitempty"`
	Boot         string          `json:"boot,omitempty"`
	WakeInterval uint64          `json:"wake_interval,omitempty"`
	Created      int64           `json:"created"`
	Revoked      bool            `json:"revoked,omitempty"`
	Components   []componentInfo `json:"components"`
	Warnings     []string        `json:"warnings,omitempty"` // what of it Home Assistant cannot be told
}

type componentInfo struct {
	ID         string                   `json:"id"`
	Kind       string                   `json:"kind"`
	Name       string                   `json:"name,omitempty"`
	Unit       string                   `json:"unit,omitempty"`
	Class      string                   `json:"class,omitempty"`
	Category   string                   `json:"category,omitempty"`
	Min        *float64                 `json:"min,omitempty"`
	Max        *float64                 `json:"max,omitempty"`
	Step       *float64                 `json:"step,omitempty"`
	Options    []string                 `json:"options,omitempty"`
	Precision  *int                     `json:"precision,omitempty"`
	StateClass string                   `json:"state_class,omitempty"`
	Freshness  uint64                   `json:"freshness,omitempty"`
	Attributes map[string]attributeInfo `json:"attributes,omitempty"`
}

type attributeInfo struct {
	Min     *float64 `json:"min,omitempty"`
	Max     *float64 `json:"max,omitempty"`
	Step    *float64 `json:"step,omitempty"`
	Options []string `json:"options,omitempty"`
}

// cardOf is the device's card.
func cardOf(d registry.Device) deviceInfo {
	c := deviceInfo{
		ID: d.ID, Name: d.Name, Area: d.Area, Firmware: d.Firmware, WakeInterval: d.WakeInterval,
		Created: d.Created, Revoked: d.Revoked, Components: []componentInfo{},
		Model: d.Description.Model, Manufacturer: d.Description.Manufacturer,
		Serial: d.Description.Serial, Hardware: d.Description.Hardware,
	}
	if d.LastBoot != (protocol.Boot{}) {
		c.Boot = hex.EncodeToString(d.LastBoot[:])
	}
	for _, k := range d.Description.Components {
		ci := componentInfo{ID: k.ID, Kind: k.Kind, Name: k.Name, Unit: k.Unit, Class: k.Class, Category: k.Category,
			Min: k.Min, Max: k.Max, Step: k.Step, Options: k.Options, Precision: k.Precision,
			StateClass: k.StateClass, Freshness: k.Freshness}
		for name, a := range k.Attributes {
			if ci.Attributes == nil {
				ci.Attributes = map[string]attributeInfo{}
			}
			ci.Attributes[name] = attributeInfo(a)
		}
		c.Components = append(c.Components, ci)
	}
	for _, w := range hass.Warnings(d) {
		c.Warnings = append(c.Warnings, w.String())
	}
	return c
}

// lifecycleOf is what the last presence entry says; a device that never came
// is unknown since it was added.
func lifecycleOf(d registry.Device, p store.PresenceChange, known bool) lifecycle {
	l := lifecycle{State: store.Unknown, Since: d.Created, Restarts: d.Restarts, Gaps: d.Gaps}
	switch {
	case known:
		l.State, l.Since, l.Cause, l.NextWake = p.State, p.Since, p.Cause, p.NextWake
	case d.Revoked:
		l.State = store.Disabled
	}
	return l
}

// availability is the word for it that Home Assistant reads.
func (l lifecycle) availability() string {
	if l.State == store.Online || l.State == store.Sleeping {
		return "online"
	}
	return "offline"
}

// document is the JSON of one of the structs above, which cannot fail.
func document(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("mqtt: " + err.Error()) // a float that is no number: descriptions have none
	}
	return b
}
