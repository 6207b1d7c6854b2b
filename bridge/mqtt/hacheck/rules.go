package hacheck

import (
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
	m := map[string][]string{"date": {"-"}, "timestamp": {"-"}, "enum": {"-"}}
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
	return unitFits(c)
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
