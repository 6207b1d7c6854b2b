package sim

import "fmt"

// Home is a home of ten varied devices. Ids and names never change, so that
// examples can name them.
func Home(o Options) []Device {
	return []Device{
		{"living-room-thermostat", "Living room thermostat", NewThermostat(o)},
		{"living-room-lamp", "Living room lamp", NewLamp(o)},
		{"kitchen-plug", "Kitchen plug", NewPlug(o)},
		{"hall-motion", "Hall motion", NewMotion(o)},
		{"front-door", "Front door", NewDoor(o)},
		{"garden-sensor", "Garden sensor", NewGarden(o)},
		{"bedroom-blind", "Bedroom blind", NewBlind(o)},
		{"doorbell", "Doorbell", NewDoorbell(o)},
		{"bathroom-fan", "Bathroom fan", NewFan(o)},
		{"front-door-lock", "Front door lock", NewLock(o)},
	}
}

// models are all models, the most telling first.
var models = []func(Options) Model{
	func(o Options) Model { return NewThermostat(o) },
	func(o Options) Model { return NewLamp(o) },
	func(o Options) Model { return NewPlug(o) },
	func(o Options) Model { return NewMotion(o) },
	func(o Options) Model { return NewDoor(o) },
	func(o Options) Model { return NewGarden(o) },
	func(o Options) Model { return NewBlind(o) },
	func(o Options) Model { return NewDoorbell(o) },
	func(o Options) Model { return NewFan(o) },
	func(o Options) Model { return NewLock(o) },
	func(o Options) Model { return NewSiren(o) },
	func(o Options) Model { return NewValve(o) },
}

// Crowd is n devices of all models in turn, each with a seed of its own. Their
// ids are sim-0001 and so on.
func Crowd(n int, o Options) []Device {
	crowd := make([]Device, n)
	for i := range crowd {
		mine := o
		mine.Seed = o.Seed + uint64(i)
		id := fmt.Sprintf("sim-%04d", i+1)
		crowd[i] = Device{ID: id, Name: id, Model: models[i%len(models)](mine)}
	}
	return crowd
}
