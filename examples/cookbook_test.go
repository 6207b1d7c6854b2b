package examples_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hearthgate/hearthgate/internal/proctest"
)

// Every command of the cookbook is typed into a shell, section by section, and
// has to say what the document shows.
func TestCookbook(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../docs/cookbook.md")
	must(t, err)
	recipes := readRecipes(string(b))
	if len(recipes) < 8 {
		t.Fatalf("only %d sections with commands: is the document read rightly?", len(recipes))
	}
	for _, r := range recipes {
		t.Run(r.title, func(t *testing.T) {
			t.Parallel()
			k := setTable(t, r.title)
			for _, s := range r.steps {
				k.do(s)
			}
		})
	}
}

// recipe is a section of the cookbook.
type recipe struct {
	title string
	steps []step
}

// step is a command with what the document shows of it.
type step struct {
	command string
	says    []string // on the terminal
	answers []string // behind an arrow: on the device's result topic
}

// endless says whether it runs until Ctrl-C.
func (s step) endless() bool { return strings.Contains(s.command, "until Ctrl-C") }

// fails says whether the document shows that it fails.
func (s step) fails() bool {
	for _, line := range s.says {
		for _, sign := range []string{"hearthgate: ", "BAD ", "Connection error"} {
			if strings.HasPrefix(line, sign) {
				return true
			}
		}
	}
	return false
}

func readRecipes(document string) []recipe {
	var all []recipe
	title, inside, more := "", false, false
	for line := range strings.Lines(document) {
		line = strings.TrimSuffix(line, "\n")
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			title = heading
		}
		switch {
		case line == "```console":
			inside = true
			if len(all) == 0 || all[len(all)-1].title != title {
				all = append(all, recipe{title: title})
			}
		case line == "```":
			inside = false
		case inside:
			r := &all[len(all)-1]
			command, ok := strings.CutPrefix(line, "$ ")
			if ok {
				r.steps = append(r.steps, step{command: command})
			}
			s := &r.steps[len(r.steps)-1]
			answer, arrow := strings.CutPrefix(line, "  → ")
			switch {
			case ok:
			case more:
				s.command += "\n" + line
			case arrow:
				s.answers = append(s.answers, answer)
			default:
				s.says = append(s.says, line)
			}
			more = (ok || more) && strings.HasSuffix(line, `\`)
		}
	}
	return all
}

// kitchen is where a recipe is tried: a directory, a shell and, for most, a home.
type kitchen struct {
	t       *testing.T
	dir     string
	replace []string // what the document says, what it is in this test
	home    *observer
	shown   map[string]bool // messages with results that the document has shown already
	shell   io.Writer
	done    *bufio.Scanner
	steps   int
}

// setTable prepares what a section takes for granted.
func setTable(t *testing.T, title string) *kitchen {
	t.Helper()
	k := &kitchen{t: t, dir: t.TempDir(), shown: map[string]bool{}}
	data, broker := filepath.Join(k.dir, "data"), proctest.FreeAddress(t)
	https, http := proctest.FreeAddress(t), proctest.FreeAddress(t)
	var env []string
	alone := func() { // a gateway that the recipe starts itself
		env = append(env, "HEARTHGATE_LISTEN_HTTPS="+https, "HEARTHGATE_LISTEN_HTTP="+http, "HEARTHGATE_MQTT_LISTEN="+broker)
	}
	_, port, _ := net.SplitHostPort(broker)
	switch title {
	case "Home Assistant, Node-RED or openHAB on another machine":
		alone()
		k.replace = []string{"0.0.0.0:1883", broker, "GATEWAY", "127.0.0.1"}
		leaveBehind(t, data)
	case "Another broker, and TLS":
		alone()
		k.replace = []string{"listener 8883", "user root\nlistener " + port + " 127.0.0.1", "8883", port}
	case "Homie controllers":
		alone()
	case "A data set":
		alone()
		k.replace = []string{"127.0.0.1:8080", http}
		k.write("meter.csv", meter())
	default:
		h := startHome(t)
		data = h.data
		_, port, _ = net.SplitHostPort(h.broker)
		k.home = observe(t, h.broker, "hearthgate/#")
		other := filepath.Join(k.dir, "other")
		k.replace = []string{"127.0.0.1:8080", h.http, "/srv/home", filepath.Join(k.dir, "home"), "/srv/other", other}
		if title == "Move the history alone" {
			leaveBehind(t, other)
		}
		for _, id := range []string{"kitchen-plug/socket", "living-room-lamp/light", "garden-sensor/interval"} {
			k.home.wait("hearthgate/device/"+id+"/state", "")
		}
	}
	// Here mosquitto's clients look for their defaults (mosquitto_sub(1)).
	for _, client := range []string{"mosquitto_sub", "mosquitto_pub"} {
		k.write(client, "-p "+port+"\n")
	}
	k.startShell(append(env, "HEARTHGATE_DATA="+data, "PASSWORD=correct horse", "XDG_CONFIG_HOME="+k.dir))
	return k
}

// leaveBehind makes the data of a gateway that does not run.
func leaveBehind(t *testing.T, data string) {
	t.Helper()
	p := proctest.Start(t, exec.Command(filepath.Join(bin, "hearthgate"), "serve", "--data", data,
		"--listen.https", "127.0.0.1:0", "--listen.http", "", "--mqtt.listen", ""))
	p.Until("the gateway runs", func() bool { return strings.Contains(p.Said.String(), "hearthgate is running") })
	p.Stop()
}

func (k *kitchen) write(name, text string) {
	k.t.Helper()
	must(k.t, os.WriteFile(filepath.Join(k.dir, name), []byte(text), 0o600))
}

// meter is a data set of a hundred minutes.
func meter() string {
	var b strings.Builder
	b.WriteString("unix_s,power,voltage\n")
	for i := range 100 {
		fmt.Fprintf(&b, "%d,%.3f,%.2f\n", 1170288000+60*i, 0.3+float64(i%7)/10, 243.1+float64(i%5)/10)
	}
	return b.String()
}

// startShell starts the shell of a section. All that it starts ends with it.
func (k *kitchen) startShell(env []string) {
	k.t.Helper()
	cmd := exec.Command("bash", "-s")
	cmd.Dir = k.dir
	cmd.Env = append(os.Environ(), append(env, "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	must(k.t, err)
	out, err := cmd.StdoutPipe()
	must(k.t, err)
	must(k.t, cmd.Start())
	k.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	k.shell, k.done = in, bufio.NewScanner(out)
}

// do types a command and holds what comes against the document.
func (k *kitchen) do(s step) {
	k.t.Helper()
	here := strings.NewReplacer(k.replace...)
	if name, ok := strings.CutPrefix(s.command, "cat "); ok { // the document shows the file
		k.write(name, here.Replace(strings.Join(s.says, "\n")+"\n"))
		return
	}
	k.steps++
	file := filepath.Join(k.dir, fmt.Sprintf("said-%d", k.steps))
	end := "\necho $?"
	if s.endless() {
		end = " &\necho 0"
	}
	// The newline ends a comment; the shell's own input is not for the command.
	fmt.Fprintf(k.shell, "{ %s\n} </dev/null >%s 2>&1%s\n", here.Replace(s.command), file, end)
	if !k.done.Scan() {
		k.t.Fatalf("the shell has ended at %s", s.command)
	}
	if status := k.done.Text(); status != "0" && !s.fails() {
		k.t.Errorf("$ %s\nexits with %s: %s", s.command, status, k.said(file))
	}
	if s.endless() {
		k.t.Cleanup(func() {
			if k.t.Failed() {
				k.t.Logf("$ %s\nsaid: %s", s.command, k.said(file))
			}
		})
		proctest.Until(k.t, s.command, func() bool {
			k.stir()
			return missing(s.says, k.said(file)) == ""
		})
	}
	if line := missing(s.says, k.said(file)); line != "" {
		k.t.Errorf("$ %s\ndoes not say: %s\nbut: %s", s.command, line, k.said(file))
	}
	for _, answer := range s.answers {
		k.awaitAnswer(s, answer)
	}
}

// said is what a command has said, in the words of the document.
func (k *kitchen) said(file string) string {
	b, _ := os.ReadFile(file)
	var back []string
	for i := 0; i < len(k.replace); i += 2 {
		back = append(back, k.replace[i+1], k.replace[i])
	}
	return strings.NewReplacer(back...).Replace(string(b))
}

// stir makes a device say something, for whoever watches.
func (k *kitchen) stir() {
	if k.home != nil {
		k.home.command("hearthgate/device/kitchen-plug/socket/set", "ON")
	}
}

// awaitAnswer waits for a message on a result topic that was not shown before.
func (k *kitchen) awaitAnswer(s step, answer string) {
	k.t.Helper()
	as := likeness(answer)
	proctest.Until(k.t, "$ "+s.command+"\n→ "+answer, func() bool {
		for _, topic := range k.home.topics() {
			if !strings.HasSuffix(topic, "/result") {
				continue
			}
			for i, text := range k.home.messages(topic) {
				if nth := fmt.Sprint(topic, " ", i); !k.shown[nth] && as.MatchString(text) {
					k.shown[nth] = true
					return true
				}
			}
		}
		return false
	})
}

// missing is the first line that does not come. There may be others, and the order
// is free: a broker sends what is retained in any.
func missing(want []string, got string) string {
	lines := strings.Split(got, "\n")
	for _, w := range want {
		if w == "…" {
			continue
		}
		i := slices.IndexFunc(lines, likeness(w).MatchString)
		if i < 0 {
			return w
		}
		lines = slices.Delete(lines, i, i+1)
	}
	return ""
}

// varies is what differs from run to run: what the document leaves out, ids,
// numbers, times and the width of columns.
var varies = regexp.MustCompile(`…|\b[0-9a-f]{16}\b|\b[A-Z2-7]{16}\b|\bgateway [a-z0-9]{8}\b|\d+(\.\d+)?|\s+`)

// likeness is what a line of output has to look like.
func likeness(line string) *regexp.Regexp {
	var b strings.Builder
	at := 0
	for _, m := range varies.FindAllStringIndex(line, -1) {
		b.WriteString(regexp.QuoteMeta(line[at:m[0]]))
		switch token := line[m[0]:m[1]]; {
		case token == "…":
			b.WriteString(".*")
		case strings.HasPrefix(token, "gateway "):
			b.WriteString("gateway [a-z0-9]{8}")
		case strings.TrimSpace(token) == "":
			b.WriteString(`\s+`)
		case len(token) == 16 && !strings.Contains(token, "."):
			b.WriteString("[0-9A-Za-z]{16}")
		default:
			b.WriteString(`\d+(\.\d+)?`)
		}
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(line[at:]))
	return regexp.MustCompile(`^` + b.String() + `\s*$`)
}
