package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// programs is where the two real binaries are built for the stories that need
// processes: to be killed, to hold ports, to be run as a user would.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	testscript.Main(cleanUp{m}, map[string]func(){
		"hearthgate": func() { os.Exit(run(context.Background(), os.Args[1:])) },
	})
}

// cleanUp removes the built programs after all tests.
type cleanUp struct{ m *testing.M }

func (c cleanUp) Run() int {
	code := c.m.Run()
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	return code
}

// program is the path of a built program: gateway or device-sim.
func program(t *testing.T, name string) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "hearthgate-test-"); programs.err != nil {
			return
		}
		for _, p := range []string{"gateway", "device-sim"} {
			build := exec.Command("go", "build", "-o", filepath.Join(programs.dir, p), "../"+p)
			if out, err := build.CombinedOutput(); err != nil {
				programs.err = fmt.Errorf("%s: %w\n%s", p, err, out)
			}
		}
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.dir, name)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// served is a gateway in a process of its own.
type served struct {
	*proctest.Process // of the last start
	t                 *testing.T
	data              string
	https, http, mqtt string
	args              []string
}

// newServed chooses ports and a directory; start starts it.
func newServed(t *testing.T, args ...string) *served {
	t.Helper()
	return &served{
		t: t, data: filepath.Join(t.TempDir(), "data"),
		https: proctest.FreeAddress(t), http: proctest.FreeAddress(t), mqtt: proctest.FreeAddress(t), args: args,
	}
}

func (s *served) start() *served {
	s.t.Helper()
	args := append([]string{
		"serve", "--data", s.data, "--listen.https", s.https, "--listen.http", s.http, "--mqtt.listen", s.mqtt,
		"--limits.address_rate", "0", "--limits.address_links", "0",
	}, s.args...)
	s.Process = proctest.Start(s.t, exec.Command(program(s.t, "gateway"), args...))
	s.Answers(s.http)
	return s
}

// hearthgate runs a command of the command line against the gateway's data.
func (s *served) hearthgate(args ...string) (string, error) {
	s.t.Helper()
	cmd := exec.Command(program(s.t, "gateway"), append(args, "--data", s.data)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

func (s *served) mustRun(args ...string) string {
	s.t.Helper()
	out, err := s.hearthgate(args...)
	must(s.t, err)
	return out
}

// fleet adds devices and returns their tokens by id.
func (s *served) fleet(prefix string, n int) map[string]string {
	s.t.Helper()
	var list []givenToken
	out := s.mustRun("device", "add", "--count", fmt.Sprint(n), "--prefix", prefix, "--json")
	must(s.t, json.Unmarshal([]byte(out), &list))
	tokens := map[string]string{}
	for _, g := range list {
		tokens[g.ID] = g.Token
	}
	return tokens
}

// heard is one message that an observer got.
type heard struct {
	topic, text string
	retained    bool
}

// observer is an MQTT client that keeps what it hears. It comes back after an
// outage by itself.
type observer struct {
	t      *testing.T
	client paho.Client

	mu   sync.Mutex
	all  []heard
	last map[string]string
	news chan struct{}
}

func observe(t *testing.T, broker string, topics ...string) *observer {
	t.Helper()
	o := &observer{t: t, last: map[string]string{}, news: make(chan struct{}, 1)}
	opts := paho.NewClientOptions().AddBroker("tcp://" + broker).SetClientID(fmt.Sprintf("observer-%d", time.Now().UnixNano())).
		SetAutoReconnect(true).SetMaxReconnectInterval(200 * time.Millisecond).SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond).
		SetDefaultPublishHandler(o.hear).SetOnConnectHandler(func(c paho.Client) {
		for _, topic := range topics {
			c.Subscribe(topic, 1, nil)
		}
	})
	o.client = paho.NewClient(opts)
	if token := o.client.Connect(); !token.WaitTimeout(20*time.Second) || token.Error() != nil {
		t.Fatalf("observer: %v", token.Error())
	}
	t.Cleanup(func() { o.client.Disconnect(0) })
	return o
}

func (o *observer) hear(_ paho.Client, m paho.Message) {
	o.mu.Lock()
	o.all = append(o.all, heard{m.Topic(), string(m.Payload()), m.Retained()})
	o.last[m.Topic()] = string(m.Payload())
	o.mu.Unlock()
	select {
	case o.news <- struct{}{}:
	default:
	}
}

// newest is the last message of a topic.
func (o *observer) newest(topic string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last[topic]
}

// wait waits until the newest message of a topic is as wanted.
func (o *observer) wait(topic string, ok func(text string) bool) string {
	o.t.Helper()
	var text string
	proctest.Until(o.t, "a message on "+topic, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		last, known := o.last[topic]
		text = last
		return known && ok(last)
	})
	return text
}

func (o *observer) publish(topic, text string, retained bool) {
	o.t.Helper()
	if token := o.client.Publish(topic, 1, retained, text); !token.WaitTimeout(20 * time.Second) {
		o.t.Fatalf("publishing on %s was not confirmed", topic)
	}
}

func is(want string) func(string) bool { return func(got string) bool { return got == want } }

func has(part string) func(string) bool {
	return func(got string) bool { return strings.Contains(got, part) }
}
