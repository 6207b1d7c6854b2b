// Package devicetest holds conversations with a hub: a whole home in memory
// and devices that say what a test tells them to, down to the bytes.
//
//	home := devicetest.New(t, devices.Options{})
//	d := home.Dial(home.Add("kitchen"))
//	d.Send(devicetest.Hello(1)).Expect(welcome)
//
// It needs no network and no real time, so it runs inside testing/synctest.
package devicetest

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/segment"
)

// Home is a gateway without MQTT and web: store, registry, commands and hub.
type Home struct {
	Store    *store.Store
	Registry *registry.Registry
	Commands *command.Service
	Hub      *devices.Hub

	t        testing.TB
	options  devices.Options
	dir      string
	files    segment.FS // of the log; nil = in dir
	listener *listener
	server   *http.Server
	served   chan struct{}
	up       bool
}

// New makes a home; the test's end stops it. o's Store, Registry and Commands
// are set here.
func New(t testing.TB, o devices.Options) *Home {
	t.Helper()
	return NewOn(t, nil, o)
}

// NewOn is New with the log's files on a disk that may fail.
func NewOn(t testing.TB, files segment.FS, o devices.Options) *Home {
	t.Helper()
	h := &Home{t: t, options: o, dir: t.TempDir(), files: files}
	h.Start()
	t.Cleanup(h.Stop)
	return h
}

// Start starts the gateway (again, on the same data).
func (h *Home) Start() {
	h.t.Helper()
	var err error
	if h.Store, err = store.Open(store.Options{Dir: h.dir, Commit: 100 * time.Millisecond, FS: h.files}); err != nil {
		h.t.Fatal(err)
	}
	if h.Registry, err = registry.Open(h.Store, h.options.Limits); err != nil {
		h.t.Fatal(err)
	}
	if h.Commands, err = command.New(command.Options{Store: h.Store, Registry: h.Registry}); err != nil {
		h.t.Fatal(err)
	}
	o := h.options
	o.Store, o.Registry, o.Commands = h.Store, h.Registry, h.Commands
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h.Hub = devices.New(o)
	mux := http.NewServeMux()
	mux.Handle("/device", h.Hub)
	mux.HandleFunc("/pair", h.Hub.Pair)
	h.listener, h.served = newListener(), make(chan struct{})
	h.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		defer close(h.served)
		h.server.Serve(h.listener)
	}()
	h.up = true
}

// Stop stops the gateway as its process would.
func (h *Home) Stop() {
	if !h.up {
		return
	}
	h.up = false
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.Hub.Shutdown(ctx); err != nil {
		h.t.Errorf("shutdown: %v", err)
	}
	h.server.Close()
	<-h.served
	h.Commands.Close()
	if err := h.Store.Close(); err != nil {
		h.t.Errorf("close store: %v", err)
	}
}

// Add adds a device and returns its token.
func (h *Home) Add(id string) (token string) {
	h.t.Helper()
	token, err := h.Registry.Add(id, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// Boot is a boot to use in a test.
func Boot(n byte) protocol.Boot { return protocol.Boot{0xb0, 7: n} }

// Hello is the smallest hello of Boot(n).
func Hello(n byte) *protocol.Hello { return &protocol.Hello{Boot: Boot(n)} }

// Number is a telemetry frame with one number.
func Number(seq uint64, name string, v float64) *protocol.Telemetry {
	return &protocol.Telemetry{Seq: seq, Records: []protocol.Record{{Name: name, Value: protocol.Float(v)}}}
}
