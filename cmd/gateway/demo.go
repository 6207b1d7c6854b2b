package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/sim"
)

func demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "A gateway, a broker and a simulated home, nothing to set up, nothing kept",
		Args:  cobra.NoArgs,
	}
	settingFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return demo(c) }
	return c
}

// demo runs on loopback with its data in a temporary directory, unless told
// otherwise by flags. A port that is taken is named and the next one used.
func demo(c *cobra.Command) error {
	cfg, err := configOf(c)
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	fate, end := "kept when the demo ends", "The demo is over."
	if !c.Flags().Changed("data") {
		fate, end = "gone when the demo ends", "The demo is over; nothing of it is left."
		dir, err := os.MkdirTemp("", "hearthgate-demo-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		cfg.Data = filepath.Join(dir, "data")
	}
	if !c.Flags().Changed("listen.https") {
		cfg.ListenHTTPS = "127.0.0.1:8443"
	}
	if !c.Flags().Changed("log.level") {
		cfg.LogLevel = "warn"
	}
	tune()
	log := newLog(os.Stderr, cfg)
	var g *gateway
	if err := settle(out, cfg, func() error { g, err = open(cfg, log); return err }); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(c.Context())
	defer stop()
	home, err := g.furnish()
	if err != nil {
		g.close()
		return err
	}
	g.explain(out, home, fate)
	lived := make(chan struct{})
	go func() { home.Run(ctx, ctx); close(lived) }()
	err = g.run(ctx)
	stop()
	<-lived
	fmt.Fprintln(out, "\n"+end)
	return err
}

// settle opens where ports are free. One that another program takes between our
// look and our opening is looked for again.
func settle(out io.Writer, cfg *Config, open func() error) error {
	for left := 10; ; left-- {
		for name, addr := range map[string]*string{"listen.https": &cfg.ListenHTTPS, "listen.http": &cfg.ListenHTTP, "mqtt.listen": &cfg.MQTTListen} {
			if err := moveToFree(out, name, addr); err != nil {
				return err
			}
		}
		if err := open(); left == 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
}

func moveToFree(out io.Writer, name string, addr *string) error {
	if *addr == "" {
		return nil
	}
	free, err := freePort(*addr)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if free != *addr {
		fmt.Fprintf(out, "%s: %s is taken, so this demo uses %s\n", name, *addr, free)
		*addr = free
	}
	return nil
}

// furnish adds ten simulated devices to the gateway.
func (g *gateway) furnish() (*sim.Fleet, error) {
	url := g.address("listen.http")
	if url == "" {
		return nil, errors.New("listen.http is empty; the simulated home connects there")
	}
	fleet := &sim.Fleet{}
	for _, d := range sim.Home(sim.Options{Seed: 1, Start: time.Now()}) {
		token, err := g.registry.Add(d.ID, d.Name)
		if err != nil {
			return nil, fmt.Errorf("simulated home: %w", err)
		}
		fleet.Add(d, client.Config{Firmware: "1.0.0", Options: client.Options{URL: "ws://" + url + "/device", Token: token}})
	}
	return fleet, nil
}

// explain says what runs, where to look and what to try.
func (g *gateway) explain(out io.Writer, home *sim.Fleet, fate string) {
	mqttHost, mqttPort := g.brokerAddress()
	at := ""
	if mqttPort != "1883" {
		at = " -p " + mqttPort
	}
	if mqttHost != "127.0.0.1" {
		at = " -h " + mqttHost + at
	}
	var ids []string
	for _, m := range home.Members() {
		ids = append(ids, m.ID)
	}
	base := g.cfg.MQTTBaseTopic
	fmt.Fprintf(out, `Hearthgate %s is running with a simulated home of %d devices:
  %s

  devices    wss://%s/device   (without TLS: ws://%s/device)
  MQTT       %s:%s   topics %s/#, Home Assistant discovery under %s/#
  API        http://%s/api/v1
  data       %s (%s)

Try, in another terminal:
  mosquitto_sub%s -t '%s/#' -v
  mosquitto_pub%s -t %s/device/living-room-lamp/light/set -m '{"state":"ON","brightness":40}'
  %s watch --data %s

Ctrl-C ends it.
`, versionText(), len(ids), wrap(ids, 72), g.address("listen.https"), g.address("listen.http"),
		mqttHost, mqttPort, base, g.cfg.MQTTDiscoveryPrefix, g.address("listen.http"), g.cfg.Data, fate,
		at, base, at, base, ourCommand(), g.cfg.Data)
}

// brokerAddress is where MQTT clients find the broker.
func (g *gateway) brokerAddress() (host, port string) {
	if g.broker != nil && g.broker.Addr() != nil {
		host, port, _ = net.SplitHostPort(g.broker.Addr().String())
		return host, port
	}
	u, err := url.Parse(g.cfg.MQTTBroker)
	if err != nil || u.Hostname() == "" {
		return "127.0.0.1", "1883"
	}
	return u.Hostname(), cmp.Or(u.Port(), "1883")
}

// wrap joins words with commas in lines of about so many letters.
func wrap(words []string, width int) string {
	var b strings.Builder
	col := 0
	for i, w := range words {
		if i > 0 {
			b.WriteString(",")
			if col += 2; col+len(w) > width {
				b.WriteString("\n ")
				col = 0
			}
			b.WriteString(" ")
		}
		b.WriteString(w)
		col += len(w)
	}
	return b.String()
}

// ourCommand is how a person would start this program again.
func ourCommand() string {
	exe, err := os.Executable()
	if err != nil {
		return "hearthgate"
	}
	dir, _ := os.Getwd()
	found, _ := exec.LookPath(filepath.Base(exe))
	return commandFor(exe, dir, found)
}

// commandFor is what starts exe from dir, where its name alone starts found.
func commandFor(exe, dir, found string) string {
	if strings.Contains(exe, "go-build") {
		return "go run ./cmd/gateway"
	}
	if found == exe {
		return filepath.Base(exe)
	}
	switch rel, err := filepath.Rel(dir, exe); {
	case err != nil || strings.HasPrefix(rel, ".."):
		return exe
	case filepath.Base(rel) == rel:
		return "./" + rel
	default:
		return rel
	}
}
