package command_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// home is a service on a real store, in simulated time. It can be stopped and
// started, and killed at any moment.
type home struct {
	t        *testing.T
	dir      string
	store    *store.Store
	registry *registry.Registry
	*Service
}

// inHome runs a story in a home of one device, "lamp". The home's clock starts
// when the story does, and a day costs nothing.
func inHome(t *testing.T, story func(h *home)) {
	synctest.Test(t, func(t *testing.T) {
		h := &home{t: t, dir: t.TempDir()}
		h.start()
		h.addDevice("lamp")
		defer func() { h.stop() }()
		story(h)
	})
}

func (h *home) start() {
	h.t.Helper()
	var err error
	if h.store, err = store.Open(store.Options{Dir: h.dir, Commit: -1}); err != nil {
		h.t.Fatal(err)
	}
	if h.registry, err = registry.Open(h.store, protocol.Limits{}); err != nil {
		h.t.Fatal(err)
	}
	if h.Service, err = New(Options{Store: h.store, Registry: h.registry}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) stop() {
	h.t.Helper()
	h.Close()
	if err := h.store.Close(); err != nil {
		h.t.Fatal(err)
	}
}

// kill starts again from what is on disk at this moment, as after a power cut.
// Whoever calls must be the only one who runs: then nothing is being written.
func (h *home) kill() {
	h.t.Helper()
	h.startFrom(h.image())
}

// image is what is on disk at this moment.
func (h *home) image() (dir string) {
	h.t.Helper()
	for {
		dir = h.t.TempDir()
		err := os.CopyFS(dir, os.DirFS(h.dir))
		if errors.Is(err, fs.ErrNotExist) { // the sealer gave a new segment its name
			continue
		}
		if err != nil {
			h.t.Fatal(err)
		}
		return dir
	}
}

func (h *home) startFrom(image string) {
	h.t.Helper()
	h.stop() // the old one's last words go to askers that are no more
	h.dir = image
	h.start()
}

func number(f float64) *float64 { return &f }

func (h *home) addDevice(id string) {
	h.t.Helper()
	if _, err := h.registry.Add(id, ""); err != nil {
		h.t.Fatal(err)
	}
	d := protocol.Describe{Components: []protocol.Component{
		{ID: "desk", Kind: "light", Attributes: map[string]protocol.Attribute{"on": {}, "brightness": {}}},
		{ID: "level", Kind: "number", Min: number(0), Max: number(1e9)},
		{ID: "mode", Kind: "select", Options: []string{"eco", "boost"}},
		{ID: "label", Kind: "text"},
		{ID: "bell", Kind: "button"},
		{ID: "door", Kind: "lock", Attributes: map[string]protocol.Attribute{"state": {}, "action": {}}},
		{ID: "horn", Kind: "siren"},
		{ID: "temperature", Kind: "sensor", Unit: "Cel"},
	}}
	for i := range 8 {
		d.Components = append(d.Components, protocol.Component{
			ID: fmt.Sprint("n", i), Kind: "number", Min: number(0), Max: number(1e9),
		})
	}
	f, err := protocol.Decode(protocol.Append(nil, &d), protocol.Limits{})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.registry.Describe(id, f.(*protocol.Describe)); err != nil {
		h.t.Fatal(err)
	}
}

// settle lets everything happen that can without time passing.
func settle() { synctest.Wait() }

// notes is an asker that writes down what it is told.
type notes struct {
	mu        sync.Mutex
	waiting   []string // ids
	results   []Result
	unsure    bool // does not confirm
	confirmed int
}

func (n *notes) Waiting(r Request, until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = append(n.waiting, r.ID)
}

func (n *notes) Done(r Result, confirm func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.results = append(n.results, r)
	if !n.unsure {
		confirm()
		n.confirmed++
	}
}

func (n *notes) told() (waiting []string, results []Result) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.waiting), slices.Clone(n.results)
}

// one is the single outcome that there must be by now.
func (n *notes) one(t *testing.T) Result {
	t.Helper()
	settle()
	_, results := n.told()
	if len(results) != 1 {
		t.Fatalf("%d outcomes, want one: %+v", len(results), results)
	}
	return results[0]
}

// none expects that there is no outcome yet.
func (n *notes) none(t *testing.T) {
	t.Helper()
	settle()
	if _, results := n.told(); len(results) != 0 {
		t.Fatalf("there is an outcome already: %+v", results)
	}
}

// link is a device's connection as the hub lends it: it keeps what it is given.
type link struct {
	mu     sync.Mutex
	got    []*protocol.Command
	down   bool
	onSend func() // nil = nothing
}

func (*link) Flush() {}

func (l *link) Send(c *protocol.Command) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return false
	}
	l.got = append(l.got, c)
	if l.onSend != nil {
		l.onSend()
	}
	return true
}

func (l *link) received() []*protocol.Command {
	settle()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// last is the newest of n commands that came in.
func (l *link) last(t *testing.T, n int) *protocol.Command {
	t.Helper()
	got := l.received()
	if len(got) != n {
		t.Fatalf("the device got %d commands, want %d", len(got), n)
	}
	return got[n-1]
}

var boot1, boot2 = protocol.Boot{1}, protocol.Boot{2}

// connect is what the hub does at a hello.
func (h *home) connect(boot protocol.Boot) *link {
	l := &link{}
	h.Presence("lamp", store.Online, false, 0)
	h.Connected("lamp", boot, l)
	return l
}

// cut is a link that breaks: the device has 10 s of grace.
func (h *home) cut(l *link) {
	l.mu.Lock()
	l.down = true
	l.mu.Unlock()
	h.Disconnected("lamp", l)
	h.Presence("lamp", store.Online, true, 0)
}

// sleep is a bye with seconds.
func (h *home) sleep(seconds uint64) { h.Presence("lamp", store.Sleeping, false, seconds) }

func set(name string, v protocol.Value) []Setting { return []Setting{{Name: name, Value: v}} }

// ask submits a command to lamp and returns who is told.
func (h *home) ask(id string, ttl time.Duration, settings ...Setting) *notes {
	n := &notes{}
	h.Submit(Request{ID: id, Device: "lamp", Set: settings, TTL: ttl}, n)
	return n
}

func setting(name string, v protocol.Value) Setting { return Setting{Name: name, Value: v} }

func (h *home) answer(c *protocol.Command, code protocol.ResultCode) {
	h.t.Helper()
	if !h.Answered("lamp", &protocol.Result{ID: c.ID, Code: code}) {
		h.t.Fatalf("the answer to command %d is not known", c.ID)
	}
}
