package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/hearthgate/hearthgate/internal/proctest"
	"github.com/hearthgate/hearthgate/protocol"
)

// breakDisk makes every write of the gateway to a file fail (prlimit(2),
// RLIMIT_FSIZE), or mends that: a disk that takes nothing, without being root.
func (s *served) breakDisk(broken bool) {
	s.t.Helper()
	const nothing = ^uint64(0)
	limit := struct{ now, most uint64 }{nothing, nothing}
	if broken {
		limit.now = 0
	}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(s.Pid()), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		s.t.Fatal(errno)
	}
}

// The disk of a running home fails and comes back. All the time motion reaches
// MQTT and lamps can be switched; nothing is called stored that is not; and in the
// end everything is stored.
func TestAHomeWhoseDiskFails(t *testing.T) {
	t.Parallel() // it waits for ten seconds to pass
	s := newServed(t, "--store.commit", "100ms", "--limits.device_rate", "0").start()
	token := strings.TrimSpace(s.mustRun("device", "add", "kitchen"))
	api := strings.TrimSpace(s.mustRun("token", "add", "reader", "--role", "read"))
	fleet := filepath.Join(t.TempDir(), "fleet.json")
	must(t, os.WriteFile(fleet, []byte(s.mustRun("device", "add", "--count", "5", "--prefix", "sim", "--json")), 0o600))
	o := observe(t, s.mqtt, "hearthgate/#")
	var ledger bytes.Buffer
	sim := exec.Command(program(t, "device-sim"), "--url", "ws://"+s.http+"/device", "--tokens", fleet, "--interval", "100ms",
		"--json", "--verify", "--api-token", api)
	sim.Stdout, sim.Stderr = &ledger, os.Stderr
	must(t, sim.Start())
	t.Cleanup(func() { _ = sim.Process.Kill() })
	lamp := s.lampDevice("kitchen", token, "wss://"+s.https+"/device")
	power := "hearthgate/device/kitchen/power/state"
	lamp.Report(protocol.Record{Name: "power", Value: protocol.Bool(false)})
	o.wait(power, is("OFF"))

	s.breakDisk(true)
	lamp.Report(protocol.Record{Name: "power", Value: protocol.Bool(true)})
	o.wait("hearthgate/bridge/health", has(`"in_memory":true`))
	o.wait(power, is("ON")) // what was said meanwhile
	o.wait("hearthgate/bridge/event", has("in memory only"))
	proctest.Until(t, "the lamp is back", func() bool { return lamp.Stats().Sessions == 2 })
	lamp.Report(protocol.Record{Name: "power", Value: protocol.Bool(false)})
	o.wait(power, is("OFF"))
	o.publish("hearthgate/device/kitchen/command", `{"id":"live","set":{"power":true}}`, false)
	o.wait("hearthgate/device/kitchen/result", has(`"id":"live","outcome":"ok"`))
	o.wait(power, is("ON"))
	o.publish("hearthgate/device/kitchen/command", `{"id":"stored","set":{"power":true},"ttl":"1h"}`, false)
	o.wait("hearthgate/device/kitchen/result", has(`"id":"stored","outcome":"failed"`))
	if _, err := s.hearthgate("device", "add", "late"); err == nil || !strings.Contains(err.Error(), "in memory only") {
		t.Errorf("a device was added: %v", err)
	}
	if out := s.mustRun("status"); !strings.Contains(out, "IN MEMORY ONLY since") {
		t.Error(out)
	}
	if out, err := s.hearthgate("doctor"); err == nil || !strings.Contains(out, "BAD  store        WORKS IN MEMORY ONLY") {
		t.Errorf("%v\n%s", err, out)
	}
	if lamp.Pending() == 0 || lamp.Stats().InMemory == 0 {
		t.Errorf("the lamp keeps %d, %+v", lamp.Pending(), lamp.Stats())
	}

	s.breakDisk(false)
	o.wait("hearthgate/bridge/health", func(text string) bool { return strings.Contains(text, `"ok":true`) })
	proctest.Until(t, "everything of the lamp is stored", func() bool { return lamp.Pending() == 0 })
	must(t, sim.Process.Signal(os.Interrupt))
	if err := sim.Wait(); err != nil {
		t.Errorf("the simulator: %v\n%s", err, ledger.String())
	}
	var sum struct {
		Acked    int
		InMemory int `json:"acked_in_memory"`
		Verified struct{ Missing int }
		Ends     map[string]int `json:"link_ends"`
	}
	must(t, json.Unmarshal(ledger.Bytes(), &sum))
	if sum.InMemory == 0 || sum.Verified.Missing != 0 || sum.Ends["close 4011"] < 5 || sum.Ends["close 4010"] < 5 {
		t.Errorf("%s", ledger.String())
	}
	s.mustRun("device", "add", "late")
	s.Stop()
	s.mustRun("check")
}
