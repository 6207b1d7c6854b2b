package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// natsServer is the peer for sizes: nats-server 2.x for arm64, stripped, in KiB.
const natsServer = 14.9

// sizes builds the stripped gateway for each machine it is meant for.
func sizes(b *bench) error {
	targets := []string{"arm64", "arm 7", "arm 6", "amd64"}
	if b.quick {
		targets = targets[:1]
	}
	for _, t := range targets {
		arch, arm, _ := strings.Cut(t, " ")
		out := filepath.Join(b.dir, "size-"+arch+arm)
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./cmd/gateway")
		cmd.Dir = b.source
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOARM="+arm)
		if words, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, words)
		}
		info, err := os.Stat(out)
		if err != nil {
			return err
		}
		l := line{What: "binary, linux " + t, Ours: float64(info.Size()) / (1 << 20), Unit: "MiB"}
		if arch == "arm64" {
			l.Ship, l.Goal, l.Note = atMost(14), atMost(10), fmt.Sprintf("nats-server has %v MiB", natsServer)
		}
		b.report.add(l)
		os.Remove(out)
	}
	return nil
}
