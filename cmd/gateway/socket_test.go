package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The admin socket hands out tokens, so nobody else may own where it stands.
func TestTheSocketsDirectoryIsOurs(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "hearthgate")
	must(t, os.Mkdir(dir, 0o700))
	me := os.Geteuid()
	if err := ownDirectory(dir, me); err != nil {
		t.Errorf("our own: %v", err)
	}
	if me != 0 {
		if err := ownDirectory(dir, me+1); err == nil || !strings.Contains(err.Error(), "another user") {
			t.Errorf("somebody else's: %v", err)
		}
	} else {
		must(t, os.Chown(dir, 4711, 4711))
		if err := ownDirectory(dir, 4712); err == nil || !strings.Contains(err.Error(), "another user") {
			t.Errorf("somebody else's: %v", err)
		}
		if err := ownDirectory(dir, 0); err != nil {
			t.Errorf("root in the directory of a user: %v", err)
		}
		must(t, os.Chmod(base, 0o777))
		if err := ownDirectory(dir, 0); err == nil || !strings.Contains(err.Error(), "another user") {
			t.Errorf("root where a user laid a trap: %v", err)
		}
	}
	must(t, os.Chmod(dir, 0o702))
	if err := ownDirectory(dir, me); err == nil {
		t.Error("everybody may write there")
	}
}
