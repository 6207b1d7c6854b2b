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

// A trigger is no entity: it has no unique_id and none of an entity's keys.
func TestTriggers(t *testing.T) {
	for body, ok := range map[string]bool{
		`"automation_type":"trigger","type":"button_short_press","subtype":"button_1","topic":"a","payload":"x","value_template":"y"`: true,
		`"automation_type":"trigger","type":"button_short_press","topic":"a"`:                                                         false,
		`"automation_type":"action","type":"a","subtype":"b","topic":"c"`:                                                             false,
		`"automation_type":"trigger","type":"a","subtype":"b","topic":"c","unique_id":"d"`:                                            false,
		`"automation_type":"trigger","type":"a","subtype":"b","topic":"c/#"`:                                                          false,
	} {
		payload := `{` + body + `,"device":{"identifiers":["i"]},"origin":{"name":"o"}}`
		if err := Component("homeassistant/device_automation/n/o/config", "homeassistant", []byte(payload)); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
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
		"enum with precision":    {"sensor", `"state_topic":"a","device_class":"enum","options":["x"],"suggested_display_precision":1`, false},
		"temperature total":      {"sensor", `"state_topic":"a","device_class":"temperature","unit_of_measurement":"°C","state_class":"total"`, false},
		"energy measured":        {"sensor", `"state_topic":"a","device_class":"energy","unit_of_measurement":"Wh","state_class":"measurement"`, false},
		"energy":                 {"sensor", `"state_topic":"a","device_class":"energy","unit_of_measurement":"Wh","state_class":"total_increasing"`, true},
		"wind":                   {"sensor", `"state_topic":"a","device_class":"wind_direction","unit_of_measurement":"°","state_class":"measurement_angle"`, true},
		"wind as a number":       {"sensor", `"state_topic":"a","device_class":"wind_direction","unit_of_measurement":"°","state_class":"measurement"`, false},
		"an angle in W":          {"sensor", `"state_topic":"a","unit_of_measurement":"W","state_class":"measurement_angle"`, false},
		"reset without total":    {"sensor", `"state_topic":"a","last_reset_value_template":"x"`, false},
		"expires at once":        {"sensor", `"state_topic":"a","expire_after":0`, false},
		"siren":                  {"siren", `"command_topic":"a","support_duration":false`, true},
		"siren with a class":     {"siren", `"command_topic":"a","device_class":"siren"`, false},
		"cover":                  {"cover", `"command_topic":"a","state_topic":"b","payload_stop":null`, true},
		"cover of nothing":       {"cover", `"name":"x"`, true},
		"cover set, not read":    {"cover", `"set_position_topic":"a"`, false},
		"cover hopes":            {"cover", `"command_topic":"a"`, false},
		"cover turned round":     {"cover", `"position_topic":"a","position_open":0`, false},
		"cover template alone":   {"cover", `"position_topic":"a","set_position_template":"x"`, false},
		"tilt set, not read":     {"cover", `"state_topic":"a","tilt_command_topic":"b"`, false},
		"tilt of no width":       {"cover", `"state_topic":"a","tilt_min":5,"tilt_max":5`, false},
		"valve":                  {"valve", `"command_topic":"a","state_topic":"b","payload_open":"open","state_open":"open"`, true},
		"valve by position":      {"valve", `"command_topic":"a","state_topic":"b","reports_position":true`, true},
		"valve by both":          {"valve", `"command_topic":"a","state_topic":"b","reports_position":true,"payload_open":"open"`, false},
		"valve stopped":          {"valve", `"command_topic":"a","state_topic":"b","state_stopped":"stopped"`, false},
		"lock":                   {"lock", `"command_topic":"a","state_jammed":"jammed","payload_open":"open"`, true},
		"lock that only says":    {"lock", `"state_topic":"a"`, false},
		"fan":                    {"fan", `"command_topic":"a","preset_modes":["eco"],"preset_mode_command_topic":"b","preset_mode_state_topic":"c"`, true},
		"fan from 0":             {"fan", `"command_topic":"a","speed_range_min":0`, false},
		"fan of one speed":       {"fan", `"command_topic":"a","speed_range_min":3,"speed_range_max":3`, false},
		"fan with presets alone": {"fan", `"command_topic":"a","preset_modes":["eco"]`, false},
		"fan reset by a preset":  {"fan", `"command_topic":"a","preset_modes":["None"],"preset_mode_command_topic":"b","preset_mode_state_topic":"c"`, false},
		"fan set, not read":      {"fan", `"command_topic":"a","percentage_command_topic":"b"`, false},
		"climate":                {"climate", `"modes":["heat"],"mode_command_topic":"a","mode_state_topic":"b","precision":0.5,"temperature_unit":"C"`, true},
		"climate that bakes":     {"climate", `"modes":["bake"]`, false},
		"climate in K":           {"climate", `"temperature_unit":"K"`, false},
		"climate to 2 decimals":  {"climate", `"precision":0.01`, false},
		"climate preset none":    {"climate", `"preset_modes":["none"],"preset_mode_command_topic":"a","preset_mode_state_topic":"b"`, false},
		"climate with presets":   {"climate", `"preset_mode_command_topic":"a","preset_mode_state_topic":"b"`, false},
		"climate humidity":       {"climate", `"min_humidity":40,"max_humidity":40`, false},
		"climate above 100":      {"climate", `"max_humidity":101`, false},
		"climate reads humidity": {"climate", `"target_humidity_state_topic":"a"`, false},
		"climate turned round":   {"climate", `"min_temp":40`, false},
		"climate hopes":          {"climate", `"temperature_command_topic":"a"`, false},
		"humidifier":             {"humidifier", `"command_topic":"a","target_humidity_command_topic":"b","target_humidity_state_topic":"c"`, true},
		"humidifier, no target":  {"humidifier", `"command_topic":"a"`, false},
		"humidifier modes":       {"humidifier", `"command_topic":"a","target_humidity_command_topic":"b","target_humidity_state_topic":"c","modes":["quiet"]`, false},
		"humidifier resets":      {"humidifier", `"command_topic":"a","target_humidity_command_topic":"b","target_humidity_state_topic":"c","modes":["None"],"mode_command_topic":"d","mode_state_topic":"e"`, false},
		"humidifier 0 to 0":      {"humidifier", `"command_topic":"a","target_humidity_command_topic":"b","target_humidity_state_topic":"c","max_humidity":0`, false},
		"update":                 {"update", `"state_topic":"a","value_template":"x","device_class":"firmware"`, true},
		"update without install": {"update", `"command_topic":"a"`, false},
		"update read from none":  {"update", `"value_template":"x"`, false},
		"enum with a unit":       {"sensor", `"state_topic":"a","device_class":"enum","options":["x"],"unit_of_measurement":"W"`, false},
	} {
		payload := `{"unique_id":"x",` + c.body + `,"device":{"identifiers":["i"]},"origin":{"name":"o"}}`
		err := Component("homeassistant/"+c.platform+"/n/o/config", "homeassistant", []byte(payload))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
