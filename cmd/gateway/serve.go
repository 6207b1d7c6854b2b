package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"

	"github.com/spf13/cobra"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Args:  cobra.NoArgs,
		Example: `  hearthgate serve --data /var/lib/hearthgate
  hearthgate serve --mqtt.broker mqtt://192.168.1.10:1883 --store.commit 5s`,
	}
	settingFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := configOf(c)
		if err != nil {
			return err
		}
		tune()
		log := newLog(os.Stderr, cfg)
		for _, name := range strayEnvironment(os.Environ()) {
			log.Warn("no such setting; hearthgate config lists them all", "environment", name)
		}
		g, err := open(cfg, log)
		if err != nil {
			return err
		}
		g.announce(log)
		return g.run(c.Context())
	}
	return c
}

// tune fits the runtime to what the gateway does. A write that waits for the
// disk keeps the only processor for 20 µs and more until the runtime takes it
// away; with a second one everybody else goes on at once, on one core too
// (before: 37,000 frames/s on one core, after: 53,000; bench/profile.sh).
func tune() {
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
}

// announce says where everything is.
func (g *gateway) announce(log *slog.Logger) {
	log.Info("hearthgate is running", "version", versionText(), "gateway", g.store.GatewayID(), "data", absolute(g.cfg.Data))
	for _, s := range g.servers {
		if log.Enabled(context.Background(), slog.LevelDebug) || s.name != "admin" {
			log.Info("listening", "for", s.name, "address", s.listener.Addr().String())
		}
	}
	switch {
	case g.cfg.MQTTBroker != "":
		log.Info("mqtt", "broker", withoutPassword(g.cfg.MQTTBroker))
	case g.broker != nil:
		log.Info("listening", "for", "mqtt.listen", "address", g.broker.Addr())
	}
	if ca := g.keys.CAFile(); ca != "" && g.cfg.ListenHTTPS != "" {
		log.Info("devices trust this certificate", "file", ca)
	}
}
