package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// A gateway is `hearthgate serve` under measurement.
type gateway struct {
	*process
	binary, data        string
	plain, secure, mqtt target
}

func (g *gateway) target(secure bool) target {
	if secure {
		return g.secure
	}
	return g.plain
}

// withGateway runs a new, empty gateway for as long as use takes.
func (b *bench) withGateway(use func(*gateway) error, settings ...string) error {
	return b.inDir(func(dir string) error {
		g, err := b.startGateway(dir, settings...)
		if err != nil {
			return err
		}
		defer g.stop()
		if err := g.ready(); err != nil {
			return err
		}
		return use(g)
	})
}

// startGateway serves dir/data. Limits for one address or device are off, since
// the whole fleet comes from this machine; settings are further flags.
func (b *bench) startGateway(dir string, settings ...string) (*gateway, error) {
	plain, err1 := freeAddress()
	secure, err2 := freeAddress()
	mqtt, err3 := freeAddress()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	g := &gateway{binary: b.gateway, data: filepath.Join(dir, "data"),
		plain: target{address: plain}, secure: target{address: secure, tls: deviceTLS()}, mqtt: target{address: mqtt}}
	args := append([]string{b.gateway, "serve", "--data", g.data,
		"--listen.http", plain, "--listen.https", secure, "--mqtt.listen", mqtt,
		"--limits.device_rate", "0", "--limits.address_rate", "0", "--limits.address_links", "0",
		"--log.level", "warn"}, settings...)
	var err error
	if g.process, err = startProcess(b.core, filepath.Join(dir, "gateway.log"), args...); err != nil {
		return nil, err
	}
	g.watch = b.watch
	return g, nil
}

// ready waits until the gateway listens on all that it was told to.
func (g *gateway) ready() error {
	return g.listening(g.plain.address, g.secure.address)
}

// enrol adds n devices and returns their credentials.
func (g *gateway) enrol(n int) ([]credential, error) {
	cmd := exec.Command(g.binary, "device", "add", "--data", g.data,
		"--count", strconv.Itoa(n), "--prefix", "sim", "--json")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmd, err)
	}
	var all []credential
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("output of %s: %w", cmd, err)
	}
	if len(all) != n {
		return nil, fmt.Errorf("%s: %d devices were added instead of %d", cmd, len(all), n)
	}
	return all, nil
}

// A mosquitto is the peer: Debian's, with a plain listener for programs and a
// WebSocket listener for devices, secure or not.
type mosquitto struct {
	*process
	devices, mqtt target
}

// mosquittoConfig lets the peer be as fast as it can: no Nagle, no limit to
// the subscriber's queue (the default of 1,000 drops messages in such a run).
const mosquittoConfig = `
user root
allow_anonymous true
log_type error
set_tcp_nodelay true
max_queued_messages 0
persistence_location %s/
listener %s 127.0.0.1
listener %s 127.0.0.1
protocol websockets
`

// mosquittoSaved is as near to durable as mosquitto comes without writing its
// whole database after each message: it saves the queues each second. It still
// acknowledges before that.
const mosquittoSaved = `
persistence true
autosave_interval 1
`

// withMosquitto runs a new mosquitto for as long as use takes; extra goes into
// its configuration.
func (b *bench) withMosquitto(secure bool, extra string, use func(*mosquitto) error) error {
	return b.inDir(func(dir string) error {
		m, err := b.startMosquitto(dir, secure, extra)
		if err != nil {
			return err
		}
		defer m.stop()
		if err := m.listening(m.mqtt.address, m.devices.address); err != nil {
			return err
		}
		return use(m)
	})
}

// startMosquitto runs it with its files in dir.
func (b *bench) startMosquitto(dir string, secure bool, extra string) (*mosquitto, error) {
	programs, err1 := freeAddress()
	devices, err2 := freeAddress()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	m := &mosquitto{mqtt: target{address: programs}, devices: target{address: devices, path: "/mqtt", protocol: "mqtt"}}
	words := fmt.Sprintf(mosquittoConfig, dir, port(programs), port(devices))
	if secure {
		certificate, key, err := throwawayCertificate(dir)
		if err != nil {
			return nil, err
		}
		words += fmt.Sprintf("certfile %s\nkeyfile %s\n", certificate, key)
		m.devices.tls = deviceTLS()
	}
	config := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(config, []byte(words+extra), 0o600); err != nil {
		return nil, err
	}
	var err error
	m.process, err = startProcess(b.core, filepath.Join(dir, "mosquitto.log"), "mosquitto", "-c", config)
	return m, err
}

func port(address string) string {
	_, port, _ := strings.Cut(address, ":")
	return port
}

// deviceTLS is what a microcontroller offers: TLS 1.3, X25519 or P-256. The
// chain goes unchecked, to keep the generator light; the server's work is the
// same. No session tickets: each handshake is a full one.
func deviceTLS() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		CurvePreferences:       []tls.CurveID{tls.X25519, tls.CurveP256},
	}
}

// inDir makes a directory for the files of one run and removes it after.
func (b *bench) inDir(use func(dir string) error) error {
	dir, err := os.MkdirTemp(b.dir, "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return use(dir)
}
