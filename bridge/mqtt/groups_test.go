package mqtt

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// outcomesOf gathers n results of a group or scene, by device.
func (c *client) outcomesOf(topic string, n int) map[string]map[string]any {
	c.t.Helper()
	all := map[string]map[string]any{}
	for range n {
		c.expectThat("an outcome on "+topic, func(x heard) bool {
			var m map[string]any
			if x.topic != topic || json.Unmarshal([]byte(x.payload), &m) != nil {
				return false
			}
			device, _ := m["device"].(string)
			delete(m, "device")
			delete(m, "ms")
			delete(m, "message")
			all[device] = m
			return true
		})
	}
	return all
}

func TestGroupsAndScenesOverMQTT(t *testing.T) {
	for name, start := range brokers {
		t.Run(name, func(t *testing.T) {
			o, dial := start(t)
			h := newHome(t)
			h.add("lamp", lamp)
			h.add("reading", lamp)
			h.plugIn("lamp")
			if err := h.reg.PutGroup(registry.Group{ID: "lights", Kind: "light"}); err != nil {
				t.Fatal(err)
			}
			film := registry.Scene{ID: "film", Set: []registry.SceneValue{{Device: "lamp", Name: "desk/brightness", Value: protocol.Int(9)}}}
			if err := h.reg.PutScene(film); err != nil {
				t.Fatal(err)
			}
			c := newClient(t, dial, "hearthgate/group/+/result", "hearthgate/scene/+/result")
			h.run(o)
			eventually(t, "connected", func() bool { return h.bridge.Status().Connected })

			on := map[string]any{"desk/on": true}
			both := map[string]map[string]any{
				"lamp":    {"id": nil, "set": on, "outcome": "ok", "state": on},
				"reading": {"id": nil, "set": on, "outcome": "offline"},
			}
			c.publish("hearthgate/group/lights/set", "ON", false)
			if d := cmp.Diff(both, c.outcomesOf("hearthgate/group/lights/result", 2)); d != "" {
				t.Errorf("/set ON: %s", d)
			}
			both["lamp"]["id"], both["reading"]["id"] = "7", "7"
			c.publish("hearthgate/group/lights/command", `{"id":"7","set":{"on":true}}`, false)
			if d := cmp.Diff(both, c.outcomesOf("hearthgate/group/lights/result", 2)); d != "" {
				t.Errorf("/command: %s", d)
			}
			c.publish("hearthgate/group/lights/set", `{"on":true,"brightness":3}`, false)
			if got := c.outcomesOf("hearthgate/group/lights/result", 2)["lamp"]; got["outcome"] != "ok" || len(got["set"].(map[string]any)) != 2 {
				t.Errorf("an object on /set: %v", got)
			}
			c.publish("hearthgate/scene/film/set", "ON", false)
			want := map[string]map[string]any{"lamp": {"id": nil, "outcome": "ok", "set": map[string]any{"desk/brightness": 9.0}, "state": map[string]any{"desk/brightness": 9.0}}}
			if d := cmp.Diff(want, c.outcomesOf("hearthgate/scene/film/result", 1)); d != "" {
				t.Errorf("scene: %s", d)
			}
			for topic, x := range map[string]struct{ payload, outcome string }{
				"group/nobody":  {"ON", "unsupported"},
				"group/lights2": {`{"id":`, "invalid"},
				"scene/film":    {"{", "invalid"},
				"scene/none":    {`{"id":"5"}`, "unsupported"},
			} {
				last := "/command"
				if !strings.HasPrefix(x.payload, "{") {
					last = "/set"
				}
				c.publish("hearthgate/"+topic+last, x.payload, false)
				if got := c.outcomesOf("hearthgate/"+topic+"/result", 1)[""]; got["outcome"] != x.outcome {
					t.Errorf("%s %s: %v, want %s", topic, x.payload, got, x.outcome)
				}
			}
		})
	}
}

func TestASceneIsAnEntityAsLongAsItIsThere(t *testing.T) {
	m := startMosquitto(t, true)
	h := newHome(t)
	h.add("lamp", lamp)
	c := newClient(t, m.dial, "homeassistant/#")
	h.run(Options{Broker: "mqtt://" + m.Address})
	config := "homeassistant/device/hg_" + h.store.GatewayID() + "/config"
	c.expectThat("the gateway", func(x heard) bool { return x.topic == config })
	film := registry.Scene{ID: "film", Set: []registry.SceneValue{{Device: "lamp", Name: "desk/on", Value: protocol.Bool(false)}}}
	if err := h.reg.PutScene(film); err != nil {
		t.Fatal(err)
	}
	c.expectThat("the scene", func(x heard) bool {
		return x.topic == config && strings.Contains(x.payload, `"command_topic":"hearthgate/scene/film/set"`)
	})
	if err := h.reg.RemoveScene("film"); err != nil {
		t.Fatal(err)
	}
	c.expectThat("that it goes", func(x heard) bool {
		return x.topic == config && strings.Contains(x.payload, `"scene-film":{"platform":"scene"}`)
	})
	c.expectThat("that it is gone", func(x heard) bool { return x.topic == config && !strings.Contains(x.payload, "scene-film") })
}
