package examples_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// The flow as it is imported, in a real Node-RED: every button is pressed, the
// simulated devices obey, and the outcome of each command shows where a person
// would look for it, below the node and in the debug sidebar.
func TestNodeREDFlow(t *testing.T) {
	dir := nodeREDOrSkip(t)
	t.Parallel()
	for name, broker := range map[string]struct {
		protocol string // as Node-RED writes it: 4 is MQTT 3.1.1
		own      bool
	}{
		"embedded broker":         {"4", true},
		"embedded broker, MQTT 5": {"5", true},
		"mosquitto":               {"4", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h *home
			if broker.own {
				h = startHome(t)
			} else {
				addr := proctest.StartMosquitto(t).Address
				h = startHome(t, "--mqtt.broker", "mqtt://"+addr)
				h.broker = addr
			}
			o := observe(t, h.broker, "hearthgate/#")
			r := startNodeRED(t, dir, h.broker, func(n map[string]any) {
				if n["type"] == "mqtt-broker" {
					n["protocolVersion"] = broker.protocol
				}
			})
			pressAll(t, r, o)
			if broker.own {
				return // with the gateway its broker goes, which every MQTT node shows by itself
			}
			_ = h.End(syscall.SIGINT)
			r.see(0, "status", "lamp", "gateway offline; was on, 70 %")
		})
	}
}

// A broker without a gateway behind it: the flow does not leave a person waiting.
func TestNodeREDFlowWithoutGateway(t *testing.T) {
	dir := nodeREDOrSkip(t)
	t.Parallel()
	const patience = "15000"
	r := startNodeRED(t, dir, proctest.StartMosquitto(t).Address, func(n map[string]any) {
		if code, ok := n["func"].(string); ok && n["name"] == "command" {
			if !strings.Contains(code, patience) {
				t.Errorf("the node that commands does not wait for %s ms", patience)
			}
			n["func"] = strings.Replace(code, patience, "50", 1)
		}
	})
	r.see(0, "status", "send", "connected")
	since := r.press("on")
	r.see(since, "status", "command", "living-room-lamp: no answer")
	r.see(since, "function", "command", "is the gateway online?")
}

func pressAll(t *testing.T, r *nodeRED, o *observer) {
	const lamp, plug = "hearthgate/device/living-room-lamp/", "hearthgate/device/kitchen-plug/"
	r.see(0, "status", "send", "connected")
	r.see(0, "status", "lamp", "off")
	r.see(0, "debug", "lamp's state", "available: true")

	since := r.press("on")
	r.see(since, "status", "command", "living-room-lamp: ok")
	r.see(since, "debug", "done", "outcome: 'ok'")
	r.see(since, "status", "lamp", "on, 80 %, 2700 K")
	o.wait(lamp+"light/state", `"state":"ON"`)

	since = r.press("40 %, warm")
	r.see(since, "debug", "done", "'light/brightness': 40")
	r.see(since, "status", "lamp", "on, 40 %, 2700 K")

	since = r.press("120 %: is refused")
	r.see(since, "status", "command", "living-room-lamp: invalid")
	r.see(since, "debug", "not done", "outcome: 'invalid'")

	since = r.press("garden sensor every 60 s: waits")
	r.see(since, "status", "command", "garden-sensor: waiting until")

	since = r.press("off")
	r.see(since, "debug", "done", "outcome: 'ok'")
	r.see(since, "status", "lamp", "off")

	since = r.press("light on, 70 %")
	r.see(since, "debug", "result of a /set, or of others", "outcome: 'ok'")
	r.see(since, "status", "lamp", "on, 70 %, 2700 K")

	since = r.press("plug off")
	r.see(since, "debug", "result of a /set, or of others", "set: { socket: false }")
	o.wait(plug+"socket/state", "OFF")

	for _, line := range r.lines() {
		if line.ID != "" && line.Level != 0 && line.Level <= warning {
			t.Errorf("Node-RED complains: %s", line.Text)
		}
	}
}

// nodeREDOrSkip is where make setup has put Node-RED.
func nodeREDOrSkip(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("../scripts/setup-node-red.sh", "--where").Output()
	must(t, err)
	dir := strings.TrimSpace(string(out))
	if _, err := os.Stat(dir); err != nil {
		t.Skip("Node-RED is not installed: make setup fetches it, and says so when npm is unreachable")
	}
	return dir
}

// nodeRED is a Node-RED that runs the example flow.
type nodeRED struct {
	t   *testing.T
	p   *proctest.Process
	api string
	ids map[string]string // the name of a node → its id
}

// said is a line of what testdata/node-red/settings.js makes it say.
type said struct {
	Kind, ID, Text string
	Level          int // of a log line; the lower, the worse
}

const warning = 30 // Node-RED's number for it

// startNodeRED starts it with the example flow, in which change may alter nodes.
func startNodeRED(t *testing.T, dir, broker string, change func(node map[string]any)) *nodeRED {
	t.Helper()
	r := &nodeRED{t: t, api: proctest.FreeAddress(t), ids: map[string]string{}}
	user := t.TempDir()
	r.install(filepath.Join(user, "flows.json"), broker, change)
	settings, err := filepath.Abs("testdata/node-red/settings.js")
	must(t, err)
	_, port, _ := net.SplitHostPort(r.api)
	cmd := exec.Command("node", filepath.Join(dir, "node_modules/node-red/red.js"), "--userDir", user, "--settings", settings)
	cmd.Env = append(os.Environ(), "NODE_RED="+dir, "NODE_RED_PORT="+port)
	r.p = proctest.Start(t, cmd)
	return r
}

// install writes the import file with the broker of the test, and lets debug
// nodes speak to the log as well; nothing else is changed.
func (r *nodeRED) install(to, broker string, change func(node map[string]any)) {
	r.t.Helper()
	b, err := os.ReadFile("node-red/flows.json")
	must(r.t, err)
	var nodes []map[string]any
	must(r.t, json.Unmarshal(b, &nodes))
	host, port, _ := net.SplitHostPort(broker)
	for _, n := range nodes {
		change(n)
		switch n["type"] {
		case "mqtt-broker":
			n["broker"], n["port"] = host, port
		case "debug":
			n["console"] = true
		}
		if name, _ := n["name"].(string); name != "" && n["type"] != "group" {
			if r.ids[name] != "" {
				r.t.Errorf("two nodes have the name %q", name)
			}
			r.ids[name], _ = n["id"].(string)
		}
	}
	b, err = json.Marshal(nodes)
	must(r.t, err)
	must(r.t, os.WriteFile(to, b, 0o600))
}

func (r *nodeRED) lines() []said {
	var all []said
	for line := range strings.Lines(r.p.Said.String()) {
		var s said
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &s) == nil {
			all = append(all, s)
		}
	}
	return all
}

// press presses the button of an inject node, as its editor does, and returns
// how much had been said before.
func (r *nodeRED) press(button string) (since int) {
	r.t.Helper()
	since = len(r.lines())
	res, err := http.Post("http://"+r.api+"/inject/"+r.ids[button], "application/json", nil)
	must(r.t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("the button %q: %s", button, res.Status)
	}
	return since
}

// see waits until a node shows a text: as its status, or as a debug message.
func (r *nodeRED) see(since int, kind, node, text string) {
	r.t.Helper()
	if r.ids[node] == "" {
		r.t.Fatalf("no node has the name %q", node)
	}
	proctest.Until(r.t, kind+" of "+node+": "+text, func() bool {
		if !r.p.Running() {
			r.t.Fatal("Node-RED has ended")
		}
		for _, s := range r.lines()[since:] {
			if s.Kind == kind && s.ID == r.ids[node] && strings.Contains(s.Text, text) {
				return true
			}
		}
		return false
	})
}
