package hacheck

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// classUnits are the sensor classes and their units; "-" is none.
const classUnits = `apparent_power mVA VA kVA
aqi -
area m² cm² km² mm² in² ft² yd² mi² ac ha
atmospheric_pressure cbar bar hPa mmHg inHg kPa mbar Pa psi
battery %
blood_glucose_concentration mg/dL mmol/L
carbon_monoxide ppm
carbon_dioxide ppm
conductivity S/cm mS/cm µS/cm
current A mA
data_rate bit/s kbit/s Mbit/s Gbit/s B/s kB/s MB/s GB/s KiB/s MiB/s GiB/s
data_size bit kbit Mbit Gbit B kB MB GB TB PB EB ZB YB KiB MiB GiB TiB PiB EiB ZiB YiB
distance km m cm mm mi nmi yd in ft
duration d h min s ms µs
energy J kJ MJ GJ mWh Wh kWh MWh GWh TWh cal kcal Mcal Gcal
energy_storage J kJ MJ GJ mWh Wh kWh MWh GWh TWh cal kcal Mcal Gcal
frequency Hz kHz MHz GHz
gas m³ L ft³ CCF
humidity %
illuminance lx
irradiance W/m² BTU/(h⋅ft²)
moisture %
nitrogen_dioxide µg/m³
nitrogen_monoxide µg/m³
nitrous_oxide µg/m³
ozone µg/m³
ph -
pm1 µg/m³
pm10 µg/m³
pm25 µg/m³
power mW W kW MW GW TW
power_factor % -
precipitation cm in mm
precipitation_intensity in/d in/h mm/d mm/h
pressure cbar bar hPa mmHg inHg kPa mbar Pa psi
reactive_power var kvar
signal_strength dB dBm
sound_pressure dB dBA
speed ft/s in/d in/h in/s km/h kn m/s mph mm/d mm/s
sulphur_dioxide µg/m³
temperature °C °F K
volatile_organic_compounds µg/m³
volatile_organic_compounds_parts ppm ppb
voltage V mV µV kV MV
volume ft³ CCF m³ gal L mL fl._oz.
volume_storage ft³ CCF m³ gal L mL fl._oz.
volume_flow_rate m³/h m³/s ft³/min L/h L/min L/s gal/min mL/s
water ft³ CCF m³ gal L
weight kg g mg µg oz lb st
wind_direction °
wind_speed Beaufort ft/s km/h kn m/s mph
`

var units = func() map[string][]string {
	m := map[string][]string{"monetary": {"EUR", "USD", "GBP", "CHF"}, "date": {"-"}, "timestamp": {"-"}, "enum": {"-"}}
	for line := range strings.Lines(classUnits) {
		f := strings.Fields(strings.ReplaceAll(line, "fl._oz.", "fl.\u00a0oz."))
		for i := range f {
			f[i] = strings.ReplaceAll(f[i], "\u00a0", " ")
		}
		m[f[0]] = f[1:]
	}
	return m
}()

func sensorClass() check {
	return check{"a class of sensors", func(v any) bool { s, _ := v.(string); _, ok := units[s]; return ok }}
}

// unitFits: a unit must be in the table of its class.
func unitFits(c map[string]any) error {
	class, ok := c["device_class"].(string)
	if !ok {
		return nil
	}
	unit, _ := c["unit_of_measurement"].(string)
	if unit == "" {
		unit = "-"
	}
	if !slices.Contains(units[class], unit) {
		return fmt.Errorf("unit %q is none of class %s", unit, class)
	}
	return nil
}

func sensorRule(c map[string]any) error {
	_, options := c["options"]
	if options != (c["device_class"] == "enum") {
		return fmt.Errorf("options and the class enum belong together")
	}
	if options && (c["state_class"] != nil || c["unit_of_measurement"] != nil || c["suggested_display_precision"] != nil) {
		return fmt.Errorf("options exclude state_class, unit and precision")
	}
	if c["last_reset_value_template"] != nil && c["state_class"] != "total" {
		return fmt.Errorf("last_reset_value_template needs state_class total")
	}
	if c["state_class"] == "measurement_angle" && c["unit_of_measurement"] != "°" {
		return fmt.Errorf("measurement_angle needs the unit °")
	}
	if err := stateFits(c); err != nil {
		return err
	}
	return unitFits(c)
}

// classStates are the state classes of each class of sensors: m is measurement,
// a measurement_angle, t total, i total_increasing. Home Assistant takes another
// one too, but says in its log that it is wrong, and its statistics are.
const classStates = `m apparent_power aqi atmospheric_pressure battery blood_glucose_concentration carbon_monoxide carbon_dioxide conductivity current data_rate energy_storage frequency
m humidity illuminance irradiance moisture nitrogen_dioxide nitrogen_monoxide nitrous_oxide ozone ph pm1 pm10 pm25 power_factor power precipitation_intensity pressure reactive_power
m signal_strength sound_pressure speed sulphur_dioxide temperature volatile_organic_compounds volatile_organic_compounds_parts voltage volume_flow_rate volume_storage wind_speed
ti energy gas volume water
t monetary
mti area data_size distance duration precipitation weight
a wind_direction
- date timestamp enum
`

func stateFits(c map[string]any) error {
	class, _ := c["device_class"].(string)
	state, ok := c["state_class"].(string)
	if class == "" || !ok {
		return nil
	}
	letter := map[string]string{"measurement": "m", "measurement_angle": "a", "total": "t", "total_increasing": "i"}[state]
	for line := range strings.Lines(classStates) {
		if f := strings.Fields(line); slices.Contains(f[1:], class) && !strings.Contains(f[0], letter) {
			return fmt.Errorf("state class %s is none of class %s", state, class)
		}
	}
	return nil
}

func numberRule(c map[string]any) error {
	low, high := 1.0, 100.0
	if f, ok := c["min"].(float64); ok {
		low = f
	}
	if f, ok := c["max"].(float64); ok {
		high = f
	}
	if low > high {
		return fmt.Errorf("min %v is above max %v", low, high)
	}
	if class := c["device_class"]; class == "enum" || class == "date" || class == "timestamp" {
		return fmt.Errorf("class %v is none of a number", class)
	}
	return unitFits(c)
}

func textRule(c map[string]any) error {
	low, high := 0.0, 255.0
	if f, ok := c["min"].(float64); ok {
		low = f
	}
	if f, ok := c["max"].(float64); ok {
		high = f
	}
	if low > high || high > 255 {
		return fmt.Errorf("length from %v to %v: at most 255", low, high)
	}
	return nil
}

func lightRule(c map[string]any) error {
	known := []string{"onoff", "brightness", "color_temp", "hs", "xy", "rgb", "rgbw", "rgbww", "white"}
	modes, _ := c["supported_color_modes"].([]any)
	seen := map[any]bool{}
	for _, m := range modes {
		s, _ := m.(string)
		switch {
		case !slices.Contains(known, s):
			return fmt.Errorf("color mode %v is not known", m)
		case seen[m]:
			return fmt.Errorf("color mode %v comes twice", m)
		case (s == "onoff" || s == "brightness") && len(modes) > 1:
			return fmt.Errorf("color mode %v stands only alone", m)
		}
		seen[m] = true
	}
	if seen["white"] && len(modes) == 1 {
		return fmt.Errorf("color mode white stands only beside a colour")
	}
	if seen["brightness"] && c["brightness"] != true {
		return fmt.Errorf("color mode brightness without brightness")
	}
	low, isLow := c["min_kelvin"].(float64)
	high, isHigh := c["max_kelvin"].(float64)
	if isLow && isHigh && low > high {
		return fmt.Errorf("min_kelvin is above max_kelvin")
	}
	if (c["effect_list"] != nil) != (c["effect"] == true) {
		return fmt.Errorf("effect and effect_list belong together")
	}
	return nil
}

// needs: the first key only makes sense beside the second.
func needs(c map[string]any, pairs ...[2]string) error {
	for _, p := range pairs {
		if c[p[0]] != nil && c[p[1]] == nil {
			return fmt.Errorf("%s needs %s", p[0], p[1])
		}
	}
	return nil
}

// together: both keys or none.
func together(c map[string]any, a, b string) error {
	return errors.Join(needs(c, [2]string{a, b}), needs(c, [2]string{b, a}))
}

// states: what Home Assistant commands must have a state, or it believes its
// own command.
func states(c map[string]any, names ...string) error {
	for _, n := range names {
		if err := needs(c, [2]string{n + "_command_topic", n + "_state_topic"}); err != nil {
			return err
		}
	}
	return nil
}

func numberOr(c map[string]any, key string, absent float64) float64 {
	if f, ok := c[key].(float64); ok {
		return f
	}
	return absent
}

// has reports whether a list has that word.
func has(list any, word string) bool {
	l, _ := list.([]any)
	return slices.Contains(l, any(word))
}

func coverRule(c map[string]any) error {
	if numberOr(c, "position_closed", 0) == numberOr(c, "position_open", 100) {
		return fmt.Errorf("position_open is position_closed")
	}
	if numberOr(c, "tilt_min", 0) >= numberOr(c, "tilt_max", 100) {
		return fmt.Errorf("tilt_min is not below tilt_max")
	}
	if c["command_topic"] != nil && c["state_topic"] == nil && c["position_topic"] == nil {
		return fmt.Errorf("a command without a state")
	}
	return needs(c, [2]string{"set_position_topic", "position_topic"}, [2]string{"value_template", "state_topic"},
		[2]string{"position_template", "position_topic"}, [2]string{"set_position_template", "set_position_topic"},
		[2]string{"tilt_command_template", "tilt_command_topic"}, [2]string{"tilt_status_template", "tilt_status_topic"},
		[2]string{"tilt_command_topic", "tilt_status_topic"})
}

func valveRule(c map[string]any) error {
	if c["reports_position"] == true {
		for _, k := range []string{"payload_open", "payload_close", "state_open", "state_closed"} {
			if _, ok := c[k]; ok {
				return fmt.Errorf("%s beside reports_position", k)
			}
		}
	}
	if numberOr(c, "position_closed", 0) >= numberOr(c, "position_open", 100) {
		return fmt.Errorf("position_closed is not below position_open")
	}
	return needs(c, [2]string{"command_topic", "state_topic"})
}

func fanRule(c map[string]any) error {
	low, high := numberOr(c, "speed_range_min", 1), numberOr(c, "speed_range_max", 100)
	if low < 1 || low >= high {
		return fmt.Errorf("speeds from %v to %v", low, high)
	}
	reset, ok := c["payload_reset_preset_mode"].(string)
	if !ok {
		reset = "None"
	}
	if has(c["preset_modes"], reset) {
		return fmt.Errorf("the preset %q is the one that resets", reset)
	}
	return errors.Join(together(c, "preset_modes", "preset_mode_command_topic"),
		states(c, "percentage", "preset_mode", "oscillation", "direction"))
}

func humidityRange(c map[string]any, low, high float64) error {
	low, high = numberOr(c, "min_humidity", low), numberOr(c, "max_humidity", high)
	if low >= high || high > 100 {
		return fmt.Errorf("humidity from %v to %v", low, high)
	}
	return nil
}

func climateRule(c map[string]any) error {
	if has(c["preset_modes"], "none") {
		return fmt.Errorf("the preset none is always there")
	}
	if numberOr(c, "min_temp", 7) > numberOr(c, "max_temp", 35) {
		return fmt.Errorf("min_temp is above max_temp")
	}
	return errors.Join(humidityRange(c, 30, 99), together(c, "preset_modes", "preset_mode_command_topic"),
		needs(c, [2]string{"target_humidity_state_topic", "target_humidity_command_topic"}),
		states(c, "mode", "temperature", "temperature_high", "temperature_low", "target_humidity", "fan_mode", "preset_mode"))
}

func humidifierRule(c map[string]any) error {
	reset, ok := c["payload_reset_mode"].(string)
	if !ok {
		reset = "None"
	}
	if has(c["modes"], reset) {
		return fmt.Errorf("the mode %q is the one that resets", reset)
	}
	return errors.Join(humidityRange(c, 0, 100), together(c, "modes", "mode_command_topic"), states(c, "target_humidity", "mode"))
}

func updateRule(c map[string]any) error {
	return errors.Join(together(c, "command_topic", "payload_install"), needs(c, [2]string{"value_template", "state_topic"},
		[2]string{"latest_version_template", "latest_version_topic"}))
}
