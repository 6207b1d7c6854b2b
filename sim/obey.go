package sim

import (
	"fmt"
	"math"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
)

// setter is what a model does with one desired value. It checks first and
// returns what to do, so that a command is carried out whole or not at all.
type setter func(v protocol.Value) (do func(), problem string)

// obey carries out a command by the model's table of setters.
func obey(set []protocol.Record, setters map[string]setter) (protocol.ResultCode, string) {
	var do []func()
	for _, r := range set {
		o, ok := setters[r.Name]
		if !ok {
			return protocol.ResultUnsupported, r.Name + " cannot be set"
		}
		f, problem := o(r.Value)
		if problem != "" {
			return protocol.ResultInvalid, r.Name + ": " + problem
		}
		do = append(do, f)
	}
	for _, f := range do {
		f()
	}
	return protocol.ResultOK, ""
}

func setBool(f func(bool)) setter {
	return func(v protocol.Value) (func(), string) {
		if !v.IsBool() {
			return nil, "want true or false"
		}
		return func() { f(v.AsBool()) }, ""
	}
}

func setNumber(low, high float64, f func(float64)) setter {
	return func(v protocol.Value) (func(), string) {
		n := v.AsFloat()
		if !v.IsNumber() || math.IsNaN(n) || n < low || n > high {
			return nil, fmt.Sprintf("want a number from %g to %g", low, high)
		}
		return func() { f(n) }, ""
	}
}

func setWord(options []string, f func(string)) setter {
	return func(v protocol.Value) (func(), string) {
		if !v.IsText() || !slices.Contains(options, v.AsText()) {
			return nil, fmt.Sprintf("want one of %q", options)
		}
		return func() { f(v.AsText()) }, ""
	}
}

func press(f func()) setter {
	return func(protocol.Value) (func(), string) { return f, "" }
}
