package sim_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/sim"
)

var start = time.Date(2026, 6, 1, 6, 0, 0, 0, time.UTC)

// live lets a model run for so long and returns each report with its time.
func live(m sim.Model, d time.Duration) (reports [][]protocol.Record) {
	for end := start.Add(d); !m.Next().After(end); {
		if r := m.Step(m.Next()); len(r) > 0 {
			reports = append(reports, r)
		}
	}
	return reports
}

func TestEveryModelReportsWhatItDescribes(t *testing.T) {
	for _, d := range append(sim.Crowd(12, sim.Options{Start: start}), sim.Home(sim.Options{Start: start})...) {
		t.Run(d.ID, func(t *testing.T) {
			if !protocol.ValidDeviceID(d.ID) {
				t.Errorf("%q is no device id", d.ID)
			}
			desc, err := protocol.NewDescription(d.Model.Describe(), nil, protocol.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			said := map[string]bool{}
			for _, report := range live(d.Model, 24*time.Hour) {
				for _, r := range report {
					said[r.Name] = true
					if made, err := desc.Check(&r); err != nil || made != nil {
						t.Fatalf("%s = %s: made %v, %v", r.Name, r.Value, made, err)
					}
				}
			}
			for _, p := range desc.Points() {
				if p.Reports && !said[p.Name] && p.Attribute != "action" {
					t.Errorf("%s was never reported in a day", p.Name)
				}
			}
		})
	}
}

func TestTheSameSeedGivesTheSameDay(t *testing.T) {
	for i := range 12 {
		day := func(seed uint64) [][]protocol.Record {
			return live(sim.Crowd(12, sim.Options{Start: start, Seed: seed})[i].Model, 6*time.Hour)
		}
		if diff := cmp.Diff(day(1), day(1), cmp.Comparer(func(a, b protocol.Value) bool { return a == b })); diff != "" {
			t.Errorf("model %d: %s", i, diff)
		}
	}
}

// set makes the records of a command.
func set(pairs ...any) (records []protocol.Record) {
	for i := 0; i < len(pairs); i += 2 {
		r := protocol.Record{Name: pairs[i].(string)}
		switch v := pairs[i+1].(type) {
		case bool:
			r.Value = protocol.Bool(v)
		case int:
			r.Value = protocol.Int(int64(v))
		case string:
			r.Value = protocol.Text(v)
		}
		records = append(records, r)
	}
	return records
}

// read is the value of a name in a report, as text.
func read(t *testing.T, records []protocol.Record, name string) string {
	t.Helper()
	for _, r := range records {
		if r.Name == name {
			return r.Value.String()
		}
	}
	t.Fatalf("no %s in %v", name, records)
	return ""
}

func TestCommandsAreCarriedOutWholeOrNotAtAll(t *testing.T) {
	lamp := sim.NewLamp(sim.Options{Start: start})
	lamp.Step(start)
	for _, c := range []struct {
		name string
		set  []protocol.Record
		code protocol.ResultCode
	}{
		{"unknown", set("light/on", true, "light/rgb", "#ff0000"), protocol.ResultUnsupported},
		{"wrong type", set("light/on", true, "light/brightness", "much"), protocol.ResultInvalid},
		{"out of range", set("light/on", true, "light/brightness", 101), protocol.ResultInvalid},
	} {
		code, message, state := lamp.Command(start, c.set)
		if code != c.code || message == "" || state != nil {
			t.Errorf("%s: code %d, %q, %v", c.name, code, message, state)
		}
	}
	code, _, state := lamp.Command(start, set("light/brightness", 40))
	if code != protocol.ResultOK || read(t, state, "light/on") != "false" || read(t, state, "light/brightness") != "40" {
		t.Errorf("code %d, state %v: the refused commands must have changed nothing", code, state)
	}
}

func TestABlindTakesItsTime(t *testing.T) {
	blind := sim.NewBlind(sim.Options{Start: start})
	blind.Step(start)
	_, _, state := blind.Command(start, set("blind/position", 50))
	if read(t, state, "blind/state") != "closing" {
		t.Fatalf("state %v, want closing", state)
	}
	now := start
	for range 4 {
		now = blind.Next()
		state = blind.Step(now)
	}
	if now != start.Add(4*time.Second) || read(t, state, "blind/position") != "80" {
		t.Fatalf("after %s: %v, want 80 after 4 s", now.Sub(start), state)
	}
	_, _, state = blind.Command(now, set("blind/action", "stop"))
	if read(t, state, "blind/state") != "open" || read(t, state, "blind/position") != "80" {
		t.Errorf("stopped: %v", state)
	}
	if blind.Next().Before(now.Add(time.Minute)) {
		t.Errorf("a blind that stands reports again at %s", blind.Next())
	}
}

func TestALockIsUnderWay(t *testing.T) {
	lock := sim.NewLock(sim.Options{Start: start})
	lock.Step(start)
	_, _, state := lock.Command(start, set("lock/action", "unlock"))
	if read(t, state, "lock/state") != "unlocking" {
		t.Fatalf("state %v", state)
	}
	if got := read(t, lock.Step(lock.Next()), "lock/state"); got != "unlocked" {
		t.Errorf("after two seconds: %s", got)
	}
}

func TestAThermostatHoldsItsTarget(t *testing.T) {
	room := sim.NewThermostat(sim.Options{Start: start})
	room.Step(start)
	room.Command(start, set("thermostat/target", 24))
	var last string
	for _, report := range live(room, 24*time.Hour) {
		last = read(t, report, "thermostat/temperature")
	}
	if last < "23" || last > "25" {
		t.Errorf("%s °C after a day, want about 24", last)
	}
}

func TestAMeterCountsUpAndStopsWhenSwitchedOff(t *testing.T) {
	plug := sim.NewPlug(sim.Options{Start: start})
	reports := live(plug, time.Hour)
	first, last := read(t, reports[0], "energy"), read(t, reports[len(reports)-1], "energy")
	if first == last {
		t.Errorf("an hour took nothing: %s kWh", last)
	}
	_, _, state := plug.Command(plug.Next(), set("socket", false))
	if read(t, state, "power") != "0" {
		t.Errorf("switched off: %v", state)
	}
}
