package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where the socket's path would be too long it lies in a shared directory.
// Another user who made our directory there first gets neither our socket nor
// what a command line would say to his.
func TestTheAdminSocketOfAnotherUserIsNotTrusted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("as another user than root only the good case is shown: nobody else's directory can be made")
	}
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", shared)
	data := filepath.Join(shared, strings.Repeat("d", 120))
	l, err := listenAdmin(data, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chown(filepath.Dir(socketPath(data)), 12345, -1); err != nil {
		t.Fatal(err)
	}
	if l, err := listenAdmin(data, slog.New(slog.DiscardHandler)); err == nil {
		l.Close()
		t.Error("the gateway listens in another user's directory")
	}
	if _, err := dialAdmin(t.Context(), data); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("the command line asks there: %v", err)
	}
}
