package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/protocol"
)

// lampDescription is a device with one of each: a measurement and a lamp.
var lampDescription = protocol.Describe{Model: "L-1", Components: []protocol.Component{
	{ID: "temperature", Kind: "sensor", Unit: "Cel", Class: "temperature"},
	{ID: "power", Kind: "switch"},
	{ID: "bell", Kind: "button"},
}}

// lampDevice connects a device that carries out every command by saying so.
func (s *served) lampDevice(id, token string, url string) *lamp {
	s.t.Helper()
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(s.data, "ca", "ca.crt"))
	must(s.t, err)
	pool.AppendCertsFromPEM(pem)
	d := client.New(client.Config{
		Options:  client.Options{URL: url, Token: token, TLS: &tls.Config{RootCAs: pool}},
		Describe: &lampDescription,
		OnCommand: func(_ context.Context, c *protocol.Command) (protocol.ResultCode, string, []protocol.Record) {
			return protocol.ResultOK, "", c.Records
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	leave := func() { stop(); <-done }
	s.t.Cleanup(leave)
	return &lamp{d, leave}
}

// lamp is a connected device. Leave switches it off.
type lamp struct {
	*client.Device
	Leave func()
}

// The whole main job with the real program: over TLS from the local CA, on disk,
// to the embedded broker, and a command back by MQTT, HTTP and command line.
func TestMainJob(t *testing.T) {
	s := newServed(t).start()
	token := strings.TrimSpace(s.mustRun("device", "add", "kitchen", "--name", "Kitchen"))
	o := observe(t, s.mqtt, "#")
	d := s.lampDevice("kitchen", token, "wss://"+s.https+"/device")
	d.Report(protocol.Record{Name: "temperature", Value: protocol.Float(21.5)}, protocol.Record{Name: "power", Value: protocol.Bool(false)})

	o.wait("hearthgate/device/kitchen/temperature/state", is("21.5"))
	o.wait("hearthgate/device/kitchen/power/state", is("OFF"))
	o.wait("hearthgate/device/kitchen/availability", is("online"))
	o.wait("hearthgate/device/kitchen/lifecycle", has(`"state":"online"`))
	o.wait("hearthgate/stream/kitchen", has(`"n":"temperature","v":21.5`))
	o.wait("hearthgate/bridge/state", is("online"))

	o.publish("hearthgate/device/kitchen/power/set", "ON", false)
	o.wait("hearthgate/device/kitchen/power/state", is("ON"))
	o.wait("hearthgate/device/kitchen/result", has(`"outcome":"ok"`))
	o.publish("hearthgate/device/kitchen/command", `{"id":"a1","set":{"power":false}}`, false)
	o.wait("hearthgate/device/kitchen/result", has(`"id":"a1"`))
	o.wait("hearthgate/device/kitchen/power/state", is("OFF"))

	if out := s.mustRun("send", "kitchen", "power=true"); !strings.Contains(out, "ok in") {
		t.Error(out)
	}
	o.wait("hearthgate/device/kitchen/power/state", is("ON"))
	api := strings.TrimSpace(s.mustRun("token", "add", "test"))
	req, err := http.NewRequest("POST", "http://"+s.http+"/api/v1/devices/kitchen/command?wait=5s", strings.NewReader(`{"set":{"power":false}}`))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+api)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	o.wait("hearthgate/device/kitchen/power/state", is("OFF"))

	for _, c := range [][]string{{"device", "list"}, {"device", "show", "kitchen"}, {"history", "kitchen", "temperature"}, {"export", "kitchen"}, {"status"}, {"cursor", "list"}, {"config"}, {"token", "list"}} {
		if out := s.mustRun(c...); out == "" {
			t.Errorf("%v said nothing", c)
		}
	}
	if strings.Contains(s.Said.String(), token[len("hg1.kitchen."):]) {
		t.Error("the token is in the log")
	}
}

func TestRevokingCutsTheLinkAndRefusesTheNext(t *testing.T) {
	s := newServed(t).start()
	token := s.fleet("cut", 1)["cut-001"]
	conn, err := client.Dial(t.Context(), client.Options{URL: "ws://" + s.http + "/device", Token: token})
	must(t, err)
	s.mustRun("device", "revoke", "cut-001")
	<-conn.Done()
	if closed := conn.Err(); closed == nil || closed.Code != protocol.CloseRevoked {
		t.Errorf("the link ended with %v", conn.Err())
	}
	_, err = client.Dial(t.Context(), client.Options{URL: "ws://" + s.http + "/device", Token: token})
	var refused *client.Refused
	if !errors.As(err, &refused) || refused.Status != 403 || !strings.Contains(refused.Text, "revoked") {
		t.Errorf("the next try: %v", err)
	}
}

func TestSecondServeSaysWhoHoldsTheData(t *testing.T) {
	s := newServed(t).start()
	second := newServed(t)
	second.data = s.data
	out, err := second.hearthgate("serve", "--listen.https", second.https, "--listen.http", second.http, "--mqtt.listen", second.mqtt)
	if err == nil || !strings.Contains(err.Error(), s.data) || !strings.Contains(err.Error(), "process") || !strings.Contains(err.Error(), "--data") {
		t.Errorf("%s %v", out, err)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	s := newServed(t)
	_, err = s.hearthgate("serve", "--listen.https", "", "--listen.http", l.Addr().String(), "--mqtt.listen", s.mqtt)
	if err == nil || !strings.Contains(err.Error(), "listen.http: "+l.Addr().String()+" is taken") {
		t.Error(err)
	}
}

func TestStopIsCleanAndARestartGoesOn(t *testing.T) {
	s := newServed(t).start()
	token := s.fleet("go-on", 1)["go-on-001"]
	d := s.lampDevice("go-on-001", token, "ws://"+s.http+"/device")
	d.Report(protocol.Record{Name: "temperature", Value: protocol.Int(20)})
	o := observe(t, s.mqtt, "hearthgate/#")
	o.wait("hearthgate/device/go-on-001/temperature/state", is("20"))
	if err := s.End(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	s.start()
	o.wait("hearthgate/device/go-on-001/temperature/state", is("20"))
	o.wait("hearthgate/device/go-on-001/availability", is("online"))
	if out := s.mustRun("history", "go-on-001", "temperature"); !strings.Contains(out, "  20\n") {
		t.Error(out)
	}
}

// A command with a ttl for a device that is away is on disk when it is told to
// wait, outlives a kill of the gateway, and reaches the device at its next hello.
func TestACommandWaitsForItsDeviceThroughAKill(t *testing.T) {
	m := proctest.StartMosquitto(t)
	s := newServed(t, "--mqtt.broker", "mqtt://"+m.Address).start()
	token := strings.TrimSpace(s.mustRun("device", "add", "later"))
	lamp := s.lampDevice("later", token, "ws://"+s.http+"/device")
	lamp.Report(protocol.Record{Name: "power", Value: protocol.Bool(false)})
	o := observe(t, m.Address, "hearthgate/#")
	o.wait("hearthgate/device/later/power/state", is("OFF"))
	lamp.Leave()
	o.wait("hearthgate/device/later/lifecycle", has(`"state":"lost"`))

	o.publish("hearthgate/device/later/command", `{"id":"w","set":{"power":true},"ttl":"1h"}`, false)
	o.wait("hearthgate/device/later/result", has(`{"id":"w","status":"waiting","until":`))
	s.Kill()
	s.start()
	if out, err := s.hearthgate("send", "later", "power=true"); err == nil || !strings.Contains(out, "offline") {
		t.Error(out)
	}
	s.lampDevice("later", token, "ws://"+s.http+"/device")
	o.wait("hearthgate/device/later/result", has(`"id":"w","outcome":"ok"`))
	o.wait("hearthgate/device/later/power/state", is("ON"))
}

func TestOfflineCommandsUseTheDataItself(t *testing.T) {
	s := newServed(t)
	if out, err := s.hearthgate("device", "list"); err == nil || !strings.Contains(err.Error(), "not running") {
		t.Errorf("%s %v", out, err)
	}
	s.start()
	s.Stop()
	token := strings.TrimSpace(s.mustRun("device", "add", "early"))
	if _, err := s.hearthgate("device", "add", "early"); err == nil || !strings.Contains(err.Error(), "device rotate early") {
		t.Error(err)
	}
	s.start()
	conn, err := client.Dial(t.Context(), client.Options{URL: "ws://" + s.http + "/device", Token: token})
	must(t, err)
	conn.Close()
}

func TestNobodyIsOnlineWhileTheGatewayIsDown(t *testing.T) {
	s := newServed(t).start()
	token := s.fleet("night", 1)["night-001"]
	conn, err := client.Dial(t.Context(), client.Options{URL: "ws://" + s.http + "/device", Token: token})
	must(t, err)
	defer conn.Close()
	proctest.Until(t, "it is online", func() bool { return strings.Contains(s.mustRun("device", "list"), "online") })
	s.Kill()
	if out := s.mustRun("device", "list"); strings.Contains(out, "online") || !strings.Contains(out, "unknown") {
		t.Error(out)
	}
}

func TestPairingIsClosedAndNeverWithoutTLS(t *testing.T) {
	s := newServed(t).start()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 10 * time.Second}
	for url, want := range map[string]int{"https://" + s.https + "/pair": 503, "http://" + s.http + "/pair": 404} {
		req, err := http.NewRequest("GET", url, nil)
		must(t, err)
		for k, v := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "hearthgate.v1",
		} {
			req.Header.Set(k, v)
		}
		resp, err := c.Do(req)
		must(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != want || want == 503 && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s %v", url, resp.Status, resp.Header)
		}
	}
}
