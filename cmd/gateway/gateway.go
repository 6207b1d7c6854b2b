package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt"
	"github.com/hearthgate/hearthgate/bridge/mqtt/broker"
	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/pki"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/web"
)

// gateway is the whole house, put together from its rooms. Nothing below knows
// more than its own floor; what joins them stands here.
type gateway struct {
	cfg     *Config
	log     *slog.Logger
	started time.Time

	store    *store.Store
	registry *registry.Registry
	commands *command.Service
	hub      *devices.Hub
	keys     *pki.PKI
	api      *web.API
	broker   *broker.Broker // nil with another broker
	bridge   *mqtt.Bridge   // nil with no broker at all

	servers   []*server
	backingUp sync.Mutex // one backup at a time
	copied    copied     // by it
	importing importing
	crowd     *crowd
	refused   atomic.Uint64  // connections above the limits, before anything was read
	wait      sync.WaitGroup // what ends before the store does
	last      sync.WaitGroup // the broker, which ends after the bridge
}

// server is one listener and what answers on it.
type server struct {
	name     string
	listener net.Listener
	http     *http.Server
	tls      bool
}

// open builds everything in the order of its floors. Nothing is served yet.
func open(cfg *Config, log *slog.Logger) (g *gateway, err error) {
	g = &gateway{cfg: cfg, log: log, started: time.Now()}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	data := absolute(cfg.Data)
	if err = halfRestored(data); err != nil {
		return g, err
	}
	logIn := map[string]store.LogIn{"file": store.Files, "bolt": store.InBolt}[cfg.StoreLog]
	if g.store, err = store.Open(store.Options{Dir: data, Commit: cfg.StoreCommit, Retain: cfg.StoreRetain, LogIn: logIn, Log: log}); err != nil {
		if errors.Is(err, store.ErrLocked) {
			err = fmt.Errorf("%w: is a gateway running there already? stop it, or give another --data", err)
		}
		return g, err
	}
	if err := tidy(data); err != nil {
		log.Warn("what a restore or a compact left could not be removed", "err", err)
	}
	if g.registry, err = registry.Open(g.store, protocol.Limits{}); err != nil {
		return g, err
	}
	g.store.Describe(counters(g.registry))
	if g.commands, err = command.New(command.Options{Store: g.store, Registry: g.registry, Log: log}); err != nil {
		return g, err
	}
	if g.keys, err = g.openKeys(data); err != nil {
		return g, err
	}
	g.hub = devices.New(g.hubOptions())
	g.api = web.New(web.Options{
		Store: g.store, Registry: g.registry, Commands: g.commands, Granter: g.hub,
		Names: pki.Hosts, Origins: cfg.Origins, Status: g.status, Collect: g.collect, Log: log,
		AccountChanged: func(name string) {
			if g.broker != nil {
				g.broker.Drop(name)
			}
		},
	})
	if err = g.openMQTT(); err != nil {
		return g, err
	}
	return g, g.listen(data)
}

// counters tells the store which values count up: their rows have an increase.
func counters(r *registry.Registry) func(device, name string) (counter, known bool) {
	return func(device, name string) (counter, known bool) {
		d := r.Description(device)
		if d == nil {
			return false, false
		}
		p := d.Point(name)
		return p != nil && p.Attribute == "" && p.Component.StateClass == "total_increasing", p != nil
	}
}

func (g *gateway) openKeys(data string) (*pki.PKI, error) {
	return pki.Open(pki.Options{
		Dir:         data + "/ca",
		Certificate: g.cfg.TLSCertificate,
		Key:         g.cfg.TLSKey,
		Built:       buildDate,
		Log:         g.log,
	})
}

func (g *gateway) hubOptions() devices.Options {
	return devices.Options{
		Store: g.store, Registry: g.registry, Commands: g.commands,
		Heartbeat: g.cfg.DeviceHeartbeat, Window: g.cfg.DeviceWindow,
		DeviceRate: float64(g.cfg.DeviceRate), AddressRate: float64(g.cfg.AddressRate),
		AddressLinks: g.cfg.AddressLinks, Links: g.cfg.Links,
		Origins: g.cfg.Origins, Names: pki.Hosts, Build: buildDate, Log: g.log,
		Alert: func(device, message string) {
			if g.bridge != nil {
				g.bridge.Alert(device, message)
			}
		},
	}
}

// listen opens the ports, all of them before the first is served.
func (g *gateway) listen(data string) error {
	admin, err := listenAdmin(data, g.log)
	if err != nil {
		return err
	}
	g.serve("admin", admin, g.adminOnly(), false)
	g.crowd = newCrowd(g.cfg.AddressLinks, g.cfg.Links, openFiles(), &g.refused)
	if wanted := g.cfg.Links + spare; g.crowd.total < wanted {
		g.log.Info("fewer connections than limits.links, for want of open files (ulimit -n)", "connections", g.crowd.total)
	}
	public := http.NewServeMux()
	public.Handle("/device", g.hub)
	public.Handle("/", g.api.Handler())
	public.HandleFunc("/pair", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "devices pair over TLS only, at listen.https", http.StatusNotFound)
	})
	if g.cfg.ListenHTTP != "" {
		if err := g.listenOn("listen.http", g.cfg.ListenHTTP, public, false); err != nil {
			return err
		}
		g.warnPlain()
	}
	if g.cfg.ListenHTTPS == "" {
		return nil
	}
	secure := http.NewServeMux()
	secure.Handle("/", public)
	secure.HandleFunc("/pair", g.hub.Pair)
	return g.listenOn("listen.https", g.cfg.ListenHTTPS, secure, true)
}

func (g *gateway) listenOn(name, addr string, h http.Handler, tls bool) error {
	l, err := listen(name, addr)
	if err != nil {
		return err
	}
	g.serve(name, fewListener{l, g.crowd}, bodyInTime(h), tls)
	return nil
}

// warnPlain: without TLS on the network everybody there can read the tokens.
func (g *gateway) warnPlain() {
	host, _, _ := net.SplitHostPort(g.cfg.ListenHTTP)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		g.log.Warn("listen.http is open to the network without TLS: whoever listens there can read tokens", "address", g.cfg.ListenHTTP)
	}
}

func (g *gateway) serve(name string, l net.Listener, h http.Handler, tls bool) {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second, // bounds the TLS handshake too
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
	if tls {
		s.TLSConfig = g.keys.TLSConfig()
	}
	g.servers = append(g.servers, &server{name, l, s, tls})
}

// run serves until ctx ends, then leaves in good order: devices are told when to
// come back, what they said is committed, the broker hears that we are offline.
func (g *gateway) run(ctx context.Context) error {
	inner, stop := context.WithCancel(context.Background())
	defer stop()
	failed := make(chan error, len(g.servers)+2)
	for _, s := range g.servers {
		g.wait.Go(func() {
			if err := s.serve(); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s: %w", s.name, err)
			}
		})
	}
	g.wait.Go(func() { g.keys.Run(inner) })
	g.wait.Go(func() { watchClock(inner, g.store, g.log) })
	g.wait.Go(func() { watchMemory(inner) })
	g.runMQTT(inner, failed)

	var err error
	select {
	case <-ctx.Done():
		g.log.Info("stopping")
	case err = <-failed:
		g.log.Error("stopping", "err", err)
	}
	leave, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	if err := g.hub.Shutdown(leave); err != nil {
		g.log.Warn("some devices were not told", "err", err)
	}
	g.commands.Close() // while the bridge and the API can still tell the outcomes
	g.closeServers()
	stop()
	g.wait.Wait()
	g.close()
	g.last.Wait()
	return err
}

// closeServers gives requests that have their answer a moment to hear it.
func (g *gateway) closeServers() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, s := range g.servers {
		_ = s.http.Shutdown(ctx)
		_ = s.http.Close() // who streams, and who did not hear
	}
}

func (s *server) serve() error {
	if s.tls {
		return s.http.ServeTLS(s.listener, "", "")
	}
	return s.http.Serve(s.listener)
}

// close ends what open built, the top floor first.
func (g *gateway) close() {
	for _, s := range g.servers {
		_ = s.listener.Close()
	}
	if g.commands != nil {
		g.commands.Close()
	}
	if g.broker != nil {
		_ = g.broker.Close()
	}
	if g.store != nil {
		if err := g.store.Close(); err != nil {
			g.log.Error("closing the store", "err", err)
		}
	}
}

// address is where a listener is reached, "" if it is off.
func (g *gateway) address(name string) string {
	for _, s := range g.servers {
		if s.name == name {
			return s.listener.Addr().String()
		}
	}
	if name == "mqtt.listen" && g.broker != nil && g.broker.Addr() != nil {
		return g.broker.Addr().String()
	}
	return ""
}
