package main

import "fmt"

// profile puts the gateway under the load of one part while perf watches it.
func (b *bench) profile(args []string) error {
	part := "telemetry"
	if len(args) > 0 {
		part = args[0]
	}
	switch part {
	case "telemetry":
		f, err := b.gatewayFlow(8, false)
		if err != nil {
			return err
		}
		fmt.Printf("8 in flight: %.0f messages/s, %.1f µs CPU each; %s\n", f.rate, f.cpu, f.note())
	case "commands":
		r, err := b.embeddedRoundTrip()
		if err != nil {
			return err
		}
		fmt.Printf("%d commands/s: p50 %.0f µs, p99 %.0f µs, %.0f µs CPU each\n", commandRate, r.p50, r.p99, r.cpu)
	case "links":
		r, err := b.gatewayRest(true)
		if err != nil {
			return err
		}
		fmt.Printf("%d wss links: %.1f KiB each, %.0f µs CPU a heartbeat\n", b.connections, r.memory, r.beat)
	default:
		return fmt.Errorf("there is no load %q to profile: telemetry, commands or links", part)
	}
	return nil
}
