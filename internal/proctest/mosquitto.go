package proctest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Mosquitto is a real broker on a free address. It can be stopped and started again
// on the same one.
type Mosquitto struct {
	*Process // of the last start
	Address  string
	Dir      string // of its configuration, and of what it keeps with "persistence true"

	t testing.TB
}

// StartMosquitto starts a broker that lets everyone in, with further lines for its
// configuration (mosquitto.conf(5)), and waits until it answers.
func StartMosquitto(t testing.TB, settings ...string) *Mosquitto {
	t.Helper()
	m := &Mosquitto{Address: FreeAddress(t), t: t, Dir: t.TempDir()}
	_, port, _ := net.SplitHostPort(m.Address)
	lines := append([]string{"listener " + port + " 127.0.0.1", "allow_anonymous true", "user root", "persistence_location " + m.Dir + "/"}, settings...)
	if err := os.WriteFile(m.conf(), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Start()
	return m
}

// Start starts it again after Stop or Kill.
func (m *Mosquitto) Start() {
	m.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not everyone's PATH has it
	}
	m.Process = Start(m.t, exec.Command(path, "-c", m.conf()))
	m.Answers(m.Address)
}

func (m *Mosquitto) conf() string { return filepath.Join(m.Dir, "mosquitto.conf") }
