package hacheck

import (
	"strings"
	"testing"
)

const good = `{"device":{"identifiers":["hg_k3v9x2ab_kitchen-sensor"],"name":"Kitchen","via_device":"hg_k3v9x2ab"},
 "origin":{"name":"hearthgate","sw_version":"0.1.0"},
 "availability":[{"topic":"hearthgate/bridge/state"}],"availability_mode":"all",
 "components":{
  "temperature":{"platform":"sensor","unique_id":"hg_k3v9x2ab_kitchen-sensor_temperature","default_entity_id":"sensor.kitchen_sensor_temperature","device_class":"temperature","state_class":"measurement","unit_of_measurement":"°C","suggested_display_precision":1,"state_topic":"a/b"},
  "old":{"platform":"light"},
  "plug":{"platform":"switch","unique_id":"hg_k3v9x2ab_kitchen-sensor_plug","name":"Plug","state_topic":"a/c","command_topic":"a/d","qos":1}}}`

const topicOfGood = "homeassistant/device/hg_k3v9x2ab_kitchen-sensor/config"

func TestGoodMessagePasses(t *testing.T) {
	if err := Device(topicOfGood, "homeassistant", []byte(good)); err != nil {
		t.Error(err)
	}
}

// A checker that finds nothing is worse than none: each mistake must be found.
func TestMistakesAreFound(t *testing.T) {
	for name, change := range map[string][2]string{
		"unknown key at the root":       {`"availability_mode":"all"`, `"availability_mode":"all","extra":1`},
		"unknown key in device":         {`"name":"Kitchen"`, `"name":"Kitchen","extra":1`},
		"unknown key in origin":         {`"sw_version":"0.1.0"`, `"sw":"0.1.0"`},
		"unknown key in availability":   {`{"topic":"hearthgate/bridge/state"}`, `{"topic":"x","qos":1}`},
		"unknown key in a component":    {`"name":"Plug"`, `"name":"Plug","object_id":"x"`},
		"no unique_id":                  {`"unique_id":"hg_k3v9x2ab_kitchen-sensor_plug",`, ``},
		"no command topic":              {`"command_topic":"a/d",`, ``},
		"wildcard in a command topic":   {`"command_topic":"a/d"`, `"command_topic":"a/+"`},
		"~ in a topic":                  {`"command_topic":"a/d"`, `"command_topic":"~/d"`},
		"unit outside its class":        {`°C`, `W`},
		"class with no unit":            {`"unit_of_measurement":"°C",`, ``},
		"class of another platform":     {`"name":"Plug"`, `"device_class":"temperature"`},
		"state_class unknown":           {`"measurement"`, `"average"`},
		"wrong type":                    {`"suggested_display_precision":1`, `"suggested_display_precision":"1"`},
		"both forms of availability":    {`"availability_mode":"all"`, `"availability_topic":"x"`},
		"mode of availability unknown":  {`"availability_mode":"all"`, `"availability_mode":"some"`},
		"retained commands":             {`"name":"Plug"`, `"retain":true`},
		"unknown platform":              {`"platform":"light"`, `"platform":"lamp"`},
		"entity id of another platform": {`"default_entity_id":"sensor.`, `"default_entity_id":"switch.`},
		"no identifiers":                {`"identifiers":["hg_k3v9x2ab_kitchen-sensor"],`, ``},
		"options without enum":          {`"state_class":"measurement"`, `"options":["a"]`},
		"config category of a sensor":   {`"state_class":"measurement"`, `"entity_category":"config"`},
		"key of a component":            {`"old":`, `"old one":`},
		"trailing bytes":                {`"qos":1}}}`, `"qos":1}}} {}`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: the test changes nothing", name)
		}
		if err := Device(topicOfGood, "homeassistant", []byte(bad)); err == nil {
			t.Errorf("%s: was not found", name)
		}
	}
	if Device("homeassistant/device/a b/config", "homeassistant", []byte(good)) == nil {
		t.Error("a topic with a space passed")
	}
}

func TestRulesBetweenKeys(t *testing.T) {
	for name, c := range map[string]struct {
		platform, body string
		ok             bool
	}{
		"number":                 {"number", `"command_topic":"a","min":1,"max":5,"step":0.5`, true},
		"number turned round":    {"number", `"command_topic":"a","min":6,"max":5`, false},
		"number above default":   {"number", `"command_topic":"a","min":101`, false},
		"number with tiny step":  {"number", `"command_topic":"a","step":0.0001`, false},
		"light":                  {"light", `"command_topic":"a","schema":"json","supported_color_modes":["rgb","color_temp"]`, true},
		"light with onoff and":   {"light", `"command_topic":"a","schema":"json","supported_color_modes":["rgb","onoff"]`, false},
		"light twice rgb":        {"light", `"command_topic":"a","schema":"json","supported_color_modes":["rgb","rgb"]`, false},
		"light without schema":   {"light", `"command_topic":"a"`, false},
		"light effects":          {"light", `"command_topic":"a","schema":"json","effect":true`, false},
		"event":                  {"event", `"state_topic":"a","event_types":["press"]`, true},
		"event without types":    {"event", `"state_topic":"a","event_types":[]`, false},
		"text too long":          {"text", `"command_topic":"a","max":1000`, false},
		"select without options": {"select", `"command_topic":"a"`, false},
		"button with a state":    {"button", `"command_topic":"a","state_topic":"b"`, false},
		"enum with a unit":       {"sensor", `"state_topic":"a","device_class":"enum","options":["x"],"unit_of_measurement":"W"`, false},
	} {
		payload := `{"unique_id":"x",` + c.body + `,"device":{"identifiers":["i"]},"origin":{"name":"o"}}`
		err := Component("homeassistant/"+c.platform+"/n/o/config", "homeassistant", []byte(payload))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
