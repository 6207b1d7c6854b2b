package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/web"
)

// gateway is a real gateway without MQTT, on a port of the loopback that it
// keeps over a restart.
type gateway struct {
	t       *testing.T
	dir     string
	address string

	store    *store.Store
	registry *registry.Registry
	commands *command.Service
	hub      *devices.Hub
	server   *http.Server
	served   chan struct{}
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), address: "127.0.0.1:0"}
	g.start()
	t.Cleanup(g.stop)
	return g
}

func (g *gateway) start() {
	g.t.Helper()
	var err error
	must := func(err error) {
		if err != nil {
			g.t.Fatal(err)
		}
	}
	g.store, err = store.Open(store.Options{Dir: g.dir})
	must(err)
	g.registry, err = registry.Open(g.store, protocol.Limits{})
	must(err)
	g.commands, err = command.New(command.Options{Store: g.store, Registry: g.registry})
	must(err)
	g.hub = devices.New(devices.Options{Store: g.store, Registry: g.registry, Commands: g.commands})
	mux := http.NewServeMux()
	mux.Handle("/device", g.hub)
	mux.Handle("/api/", web.New(web.Options{Store: g.store, Registry: g.registry, Commands: g.commands}).Handler())
	listener, err := net.Listen("tcp", g.address)
	must(err)
	g.address = listener.Addr().String()
	g.server, g.served = &http.Server{Handler: mux}, make(chan struct{})
	go func() { defer close(g.served); _ = g.server.Serve(listener) }()
}

func (g *gateway) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.hub.Shutdown(ctx); err != nil {
		g.t.Errorf("shutdown: %v", err)
	}
	g.server.Close()
	<-g.served
	g.commands.Close()
	if err := g.store.Close(); err != nil {
		g.t.Error(err)
	}
}

// fleet adds n devices and returns a file with their tokens, as
// `hearthgate device add --json` prints them.
func (g *gateway) fleet(n int) (file string) {
	g.t.Helper()
	ids, tokens, err := g.registry.AddMany("sim", n)
	if err != nil {
		g.t.Fatal(err)
	}
	var list []map[string]string
	for i := range ids {
		list = append(list, map[string]string{"id": ids[i], "token": tokens[i]})
	}
	text, _ := json.Marshal(list)
	file = filepath.Join(g.t.TempDir(), "fleet.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		g.t.Fatal(err)
	}
	return file
}

// reader is an API token that may read.
func (g *gateway) reader() string {
	g.t.Helper()
	token, err := g.registry.AddToken("reader", registry.Read)
	if err != nil {
		g.t.Fatal(err)
	}
	return token
}

// simulate runs the command against the gateway and returns its ledger.
func (g *gateway) simulate(ctx context.Context, wantExit int, args ...string) (sum summary) {
	g.t.Helper()
	args = append([]string{"--url", "ws://" + g.address + "/device", "--json"}, args...)
	var stdout, stderr bytes.Buffer
	exit := run(ctx, args, func(string) string { return "" }, &stdout, &stderr)
	if exit != wantExit {
		g.t.Errorf("exit %d, want %d\n%s\n%s", exit, wantExit, stderr.String(), stdout.String())
	}
	if err := json.Unmarshal(stdout.Bytes(), &sum); err != nil {
		g.t.Fatalf("ledger: %v\n%s", err, stdout.String())
	}
	if exit != exitDone && !strings.Contains(stderr.String(), "hearthgate-sim: ") {
		g.t.Errorf("failed without a word: %q", stderr.String())
	}
	return sum
}
