package main

import (
	"context"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/sim"
)

// home feeds devices from models.
type home struct {
	fleet sim.Fleet
	known map[string]sim.Model // of sim.Home, by id
	crowd []sim.Device
}

// newHome chooses models: a device that is named like one of sim.Home is that
// one, the others are all models in turn.
func newHome(o *options, c *chaos) *home {
	so := sim.Options{Seed: o.seed, Start: time.Now(), Every: o.interval}
	h := &home{known: map[string]sim.Model{}, crowd: sim.Crowd(len(o.tokens), so)}
	for _, d := range sim.Home(so) {
		h.known[d.ID] = d.Model
	}
	if c != nil {
		h.fleet.Report = func(m *sim.Member, now time.Time, records []protocol.Record) {
			m.Client.Report(c.misdate(m.ID, now, records)...)
		}
	}
	return h
}

func (h *home) device(c credential, cfg client.Config) *client.Device {
	d := h.crowd[len(h.fleet.Members())]
	if m, ok := h.known[c.id]; ok {
		d.Model = m
	}
	d.ID, d.Name = c.id, c.id
	return h.fleet.Add(d, cfg).Client
}

func (h *home) run(ctx, hangUp context.Context, _ func()) {
	h.fleet.Run(ctx, hangUp)
}
