// Package sim holds models of smart-home devices, for demonstrations, tests and
// benchmarks: what they report, when, and how they take commands.
//
// A model is a pure step machine. Time is passed in and chance comes from a
// seed, so the same seed and the same times give the same home; sockets and
// clocks are in Fleet, which plays models over package client.
package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// Model is one simulated device. Calls come one at a time.
type Model interface {
	// Describe is what the device says it is; always the same.
	Describe() *protocol.Describe
	// Next is when Step has something to do; it may change with each call of
	// Step or Command.
	Next() time.Time
	// Step lets time pass until now and returns what the device reports.
	Step(now time.Time) []protocol.Record
	// Command carries out desired values, all or none, and returns the state
	// after.
	Command(now time.Time, set []protocol.Record) (code protocol.ResultCode, message string, state []protocol.Record)
}

// Sleeper is a Model that is awake only while it reports.
type Sleeper interface {
	Model
	WakeInterval() time.Duration
}

// Device is a model with the id and the name that it has in its home.
type Device struct {
	ID, Name string
	Model    Model
}

// Options of a model. The zero value of a field is the model's own habit.
type Options struct {
	Seed  uint64
	Start time.Time     // when it is switched on
	Every time.Duration // between two reports of its measurements
}

func (o Options) every(own time.Duration) time.Duration {
	if o.Every > 0 {
		return o.Every
	}
	return own
}

// rng is the model's own chance, apart from its neighbours'.
func (o Options) rng(salt uint64) *rand.Rand { return rand.New(rand.NewPCG(o.Seed, salt)) }

// pace is the part of a model that reports at intervals.
type pace struct {
	every time.Duration
	next  time.Time
}

func newPace(o Options, own time.Duration) pace {
	return pace{every: o.every(own), next: o.Start}
}

// due reports whether it is time, and sets the next time.
func (p *pace) due(now time.Time) bool {
	if now.Before(p.next) {
		return false
	}
	for !p.next.After(now) {
		// A clock that was far ahead must not make this loop long.
		if behind := now.Sub(p.next); behind > p.every {
			p.next = p.next.Add(behind.Truncate(p.every))
		}
		p.next = p.next.Add(p.every)
	}
	return true
}

func number(name string, v float64) protocol.Record {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return protocol.Record{Name: name, Value: protocol.Int(int64(v))}
	}
	return protocol.Record{Name: name, Value: protocol.Float(v)}
}

func truth(name string, v bool) protocol.Record {
	return protocol.Record{Name: name, Value: protocol.Bool(v)}
}

func word(name, v string) protocol.Record {
	return protocol.Record{Name: name, Value: protocol.Text(v)}
}

// round keeps so many decimals, as a sensor's firmware would.
func round(v float64, decimals int) float64 {
	scale := math.Pow10(decimals)
	return math.Round(v*scale) / scale
}

func clamp(v, low, high float64) float64 { return max(low, min(v, high)) }

// daily is a wave of a day's length around 0 that is highest in the afternoon.
func daily(now time.Time, amplitude float64) float64 {
	hour := float64(now.Unix()%86400) / 3600
	return amplitude * math.Cos((hour-15)/24*2*math.Pi)
}

func ptr[T any](v T) *T { return &v }
