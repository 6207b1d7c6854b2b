package arm_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheUnitAndItsNotesAgree(t *testing.T) {
	unit, err := os.ReadFile("hearthgate.service")
	if err != nil {
		t.Fatal(err)
	}
	notes, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for in, both := range map[string]string{
		"/usr/local/bin/hearthgate": "ExecStart=/usr/local/bin/hearthgate serve --data /var/lib/hearthgate\n",
		"/var/lib/hearthgate":       "StateDirectory=hearthgate\nStateDirectoryMode=0700\n",
		"/run/hearthgate":           "RuntimeDirectory=hearthgate\n",
		"/etc/hearthgate/env":       "EnvironmentFile=-/etc/hearthgate/environment\n",
		"--user-group":              "User=hearthgate\nGroup=hearthgate\n",
	} {
		if !strings.Contains(string(unit), both) {
			t.Errorf("the unit lacks %q", both)
		}
		if !strings.Contains(string(notes), in) {
			t.Errorf("the notes lack %q", in)
		}
	}
	// Both have a reason that the unit gives.
	if strings.Contains(string(unit), "\nProcSubset=pid") || !strings.Contains(string(unit), "AF_NETLINK") {
		t.Error("the gateway would not see its addresses, or only a short queue of connections")
	}
}

// systemd is not on every machine that builds; where it is, it has the last word.
func TestSystemdTakesTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze here: the unit's syntax was not checked")
		return
	}
	unit, err := os.ReadFile("hearthgate.service")
	if err != nil {
		t.Fatal(err)
	}
	// verify wants the program to be there.
	unit = bytes.Replace(unit, []byte("/usr/local/bin/hearthgate"), []byte("/bin/true"), 1)
	file := filepath.Join(t.TempDir(), "hearthgate.service")
	if err := os.WriteFile(file, unit, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", file}, {"security", "--offline=yes", "--threshold=20", file}} {
		if out, err := exec.Command(analyze, args...).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}
