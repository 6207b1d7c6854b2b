package hass

import (
	"slices"
	"strconv"

	"github.com/hearthgate/hearthgate/protocol"
)

// sensorClasses are the device classes of sensor and number with the units that
// each takes; "" in the list means that none is right too. Home Assistant
// refuses a unit that is not in the table of its class.
var sensorClasses = map[string][]string{
	"apparent_power":                   {"mVA", "VA", "kVA"},
	"aqi":                              {""},
	"area":                             {"m²", "cm²", "km²", "mm²", "in²", "ft²", "yd²", "mi²", "ac", "ha"},
	"atmospheric_pressure":             {"hPa", "Pa", "kPa", "bar", "cbar", "mbar", "mmHg", "inHg", "psi"},
	"battery":                          {"%"},
	"blood_glucose_concentration":      {"mg/dL", "mmol/L"},
	"carbon_monoxide":                  {"ppm"},
	"carbon_dioxide":                   {"ppm"},
	"conductivity":                     {"S/cm", "mS/cm", "µS/cm"},
	"current":                          {"A", "mA"},
	"data_rate":                        {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "B/s", "kB/s", "MB/s", "GB/s"},
	"data_size":                        {"bit", "kbit", "Mbit", "Gbit", "B", "kB", "MB", "GB", "TB"},
	"distance":                         {"km", "m", "cm", "mm", "mi", "yd", "in", "ft"},
	"duration":                         {"d", "h", "min", "s", "ms", "µs"},
	"energy":                           {"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal", "Gcal"},
	"energy_storage":                   {"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal", "Gcal"},
	"frequency":                        {"Hz", "kHz", "MHz", "GHz"},
	"gas":                              {"m³", "L", "ft³", "CCF"},
	"humidity":                         {"%"},
	"illuminance":                      {"lx"},
	"irradiance":                       {"W/m²", "BTU/(h⋅ft²)"},
	"moisture":                         {"%"},
	"nitrogen_dioxide":                 {"µg/m³"},
	"nitrogen_monoxide":                {"µg/m³"},
	"nitrous_oxide":                    {"µg/m³"},
	"ozone":                            {"µg/m³"},
	"ph":                               {""},
	"pm1":                              {"µg/m³"},
	"pm10":                             {"µg/m³"},
	"pm25":                             {"µg/m³"},
	"power":                            {"mW", "W", "kW", "MW", "GW", "TW"},
	"power_factor":                     {"%", ""},
	"precipitation":                    {"mm", "cm", "in"},
	"precipitation_intensity":          {"mm/h", "mm/d", "in/h", "in/d"},
	"pressure":                         {"hPa", "Pa", "kPa", "bar", "cbar", "mbar", "mmHg", "inHg", "psi"},
	"reactive_power":                   {"var", "kvar"},
	"signal_strength":                  {"dB", "dBm"},
	"sound_pressure":                   {"dB", "dBA"},
	"speed":                            {"m/s", "km/h", "mm/s", "mph", "kn", "ft/s", "in/s"},
	"sulphur_dioxide":                  {"µg/m³"},
	"temperature":                      {"°C", "°F", "K"},
	"volatile_organic_compounds":       {"µg/m³"},
	"volatile_organic_compounds_parts": {"ppm", "ppb"},
	"voltage":                          {"V", "mV", "µV", "kV"},
	"volume":                           {"L", "mL", "m³", "ft³", "gal", "fl. oz.", "CCF"},
	"volume_storage":                   {"L", "mL", "m³", "ft³", "gal", "fl. oz.", "CCF"},
	"volume_flow_rate":                 {"m³/h", "m³/s", "ft³/min", "L/h", "L/min", "L/s", "gal/min", "mL/s"},
	"water":                            {"L", "m³", "ft³", "gal", "CCF"},
	"weight":                           {"kg", "g", "mg", "µg", "oz", "lb", "st"},
	"wind_direction":                   {"°"},
	"wind_speed":                       {"m/s", "km/h", "mph", "kn", "ft/s", "Beaufort"},
}

// timeClasses are of sensors alone, and without a unit.
var timeClasses = []string{"date", "timestamp"}

// otherClasses are the device classes of the platforms without units.
var otherClasses = map[string][]string{
	"binary_sensor": {"battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door", "garage_door", "gas",
		"heat", "light", "lock", "moisture", "motion", "moving", "occupancy", "opening", "plug", "power", "presence", "problem",
		"running", "safety", "smoke", "sound", "tamper", "update", "vibration", "window"},
	"switch":     {"outlet", "switch"},
	"button":     {"identify", "restart", "update"},
	"event":      {"button", "doorbell", "motion"},
	"cover":      {"awning", "blind", "curtain", "damper", "door", "garage", "gate", "shade", "shutter", "window"},
	"valve":      {"gas", "water"},
	"humidifier": {"dehumidifier", "humidifier"},
}

// class is the component's class where Home Assistant takes it, else "": an
// entity without a class is better than none.
func (b *describer) class(platform string, c *protocol.Component, u unit) string {
	if c.Class == "" {
		return ""
	}
	class := classFor(platform, c.Class, u.name)
	units, known := sensorClasses[c.Class]
	switch {
	case class != "":
		if slices.Contains(timeClasses, class) && c.StateClass != "" {
			b.warn(c, "the class %q does not go with a state class; left out", class)
			return ""
		}
	case (platform == "sensor" || platform == "number") && known && u.name == "":
		b.warn(c, "the class %q needs a unit, such as %s; left out", c.Class, units[0])
	case (platform == "sensor" || platform == "number") && known:
		b.warn(c, "the class %q does not go with the unit %q; left out", c.Class, c.Unit)
	default:
		b.warn(c, "a %s has no class %q; left out", platform, c.Class)
	}
	return class
}

// classFor is class where Home Assistant takes it for that platform and unit,
// else "".
func classFor(platform, class, unit string) string {
	taken := slices.Contains(otherClasses[platform], class)
	if platform == "sensor" || platform == "number" {
		taken = slices.Contains(sensorClasses[class], unit) || class == "monetary" && isCurrency(unit)
	}
	if platform == "sensor" && unit == "" {
		taken = taken || slices.Contains(timeClasses, class)
	}
	if !taken {
		return ""
	}
	return class
}

// isCurrency: three capital letters, as ISO 4217 has them.
func isCurrency(unit string) bool {
	return len(unit) == 3 && !slices.ContainsFunc([]byte(unit), func(c byte) bool { return c < 'A' || c > 'Z' })
}

// Not every class goes with every state class: what is read off a meter grows,
// what is measured at a moment does not. Classes that are in neither list go
// with both.
var (
	onlyTotals = []string{"energy", "gas", "volume", "water"}
	anyState   = []string{"", "area", "data_size", "distance", "duration", "precipitation", "weight"}
)

// stateClass is the component's state class where it goes with its class, else
// "".
func (b *describer) stateClass(c *protocol.Component, class string) string {
	s := c.StateClass
	switch total := s == "total" || s == "total_increasing"; {
	case s == "" || slices.Contains(anyState, class):
		return s
	case class == "wind_direction" && s == "measurement":
		return "measurement_angle" // the mean of 359° and 1° is no south wind
	case class == "monetary" && s == "total":
		return s
	case class != "monetary" && total == slices.Contains(onlyTotals, class):
		return s
	}
	b.warn(c, "the state class %q does not go with the class %q; left out", s, class)
	return ""
}

// unit is how Home Assistant writes a SenML unit. factor is what a value has
// to be multiplied with, a power of ten; 1 for nearly all.
type unit struct {
	name   string
	factor int
}

// shown and asked are the templates for a value from the device and one for it.
// They round off what binary fractions leave: 0.57 is 57 %, not 56.99999999999999.
func (u unit) shown() string {
	return "{{ (value | float * " + strconv.Itoa(u.factor) + ") | round(6) }}"
}

func (u unit) asked() string {
	return "{{ (value | float / " + strconv.Itoa(u.factor) + ") | round(9) }}"
}

// digits is how many decimals fewer the multiplied value has.
func (u unit) digits() (n int) {
	for f := u.factor; f >= 10; f /= 10 {
		n++
	}
	return n
}

var units = map[string]unit{
	"Cel": {"°C", 1}, "%RH": {"%", 1}, "%EL": {"%", 1}, "/": {"%", 100},
	"dBW": {"", 1}, "deg": {"°", 1}, "m2": {"m²", 1}, "m3": {"m³", 1}, "l": {"L", 1}, "l/s": {"L/s", 1}, "m3/s": {"m³/s", 1},
	"ug/m3": {"µg/m³", 1}, "W/m2": {"W/m²", 1}, "S/m": {"mS/cm", 10}, "pH": {"", 1}, "count": {"", 1}, "1": {"", 1},
	"": {"", 1},
}

// unitFor is the unit for a SenML unit; one that is not in the table is
// written alike (W, kWh, hPa, ppm …) or unknown and goes through as it is.
func unitFor(senml string) unit {
	if u, ok := units[senml]; ok {
		return u
	}
	return unit{senml, 1}
}

// Unit is how people write a SenML unit, and what a value has to be multiplied
// with to be in it: °C and 1 for Cel, % and 100 for the ratio /.
func Unit(senml string) (name string, factor int) {
	u := unitFor(senml)
	return u.name, u.factor
}
