package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hearthgate/hearthgate/store"
)

// typed runs a command as a person types it, in this process.
func typed(t *testing.T, stdin string, args ...string) (out, errs string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&o)
	root.SetErr(&e)
	err = root.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

func mustType(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := typed(t, "", args...)
	must(t, err)
	return out
}

// newHome is the data directory of a gateway that does not run.
func newHome(t *testing.T) (data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	s, err := store.Open(store.Options{Dir: data})
	must(t, err)
	must(t, s.Close())
	return data
}

// somebody is a user without rights, when we are root and can become him.
const somebody = 54321

func give54321(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return // then everything is ours, before and after
	}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, somebody, somebody)
	}))
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Uid
}

// An administrator uses sudo with a gateway that is stopped: the gateway, which
// is another user, has to be able to start again.
func TestOfflineCommandsLeaveFilesToTheOwner(t *testing.T) {
	data := newHome(t)
	backup := filepath.Join(t.TempDir(), "home.tar")
	empty := t.TempDir()
	for _, args := range [][]string{
		{"device", "add", "kitchen"},
		{"device", "list"},
		{"token", "add", "panel"},
		{"export"},
		{"check"},
		{"backup", backup},
		{"compact"},
		{"restore", backup, "--data", empty},
		{"device", "remove", "kitchen"},
	} {
		dir := data
		if args[0] == "restore" {
			dir = empty
		} else {
			args = append(args, "--data", data)
		}
		give54321(t, dir)
		_ = os.Remove(filepath.Join(dir, "gateway.lock")) // each makes it anew
		mustType(t, args...)
		owner := ownerOf(t, dir)
		must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if is := ownerOf(t, path); is != owner {
				t.Errorf("%v left %s to user %d, the directory is of %d", args, path, is, owner)
			}
			return err
		}))
	}
}

// The owner of the directory may want root's help for more than that.
func TestRootIsNotLedOutOfTheDataDirectory(t *testing.T) {
	data, elsewhere := t.TempDir(), t.TempDir()
	for _, dir := range []string{data, elsewhere} {
		must(t, os.Chmod(dir, 0o700))
	}
	secret := filepath.Join(elsewhere, "shadow")
	must(t, os.WriteFile(secret, nil, 0o600))
	must(t, os.Symlink(elsewhere, filepath.Join(data, "ca")))
	must(t, os.Symlink(secret, filepath.Join(data, "gateway.db.x")))
	must(t, os.Link(secret, filepath.Join(data, "gateway.db.y")))
	must(t, os.WriteFile(filepath.Join(data, "gateway.db"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(data, "hearthgate.yaml"), nil, 0o600))
	must(t, syscall.Mkfifo(filepath.Join(data, "gateway.db.z"), 0o600))
	ours := ownerOf(t, secret)
	if os.Geteuid() == 0 {
		must(t, os.Chown(data, somebody, somebody))
	}
	sameOwner(data)
	for _, path := range []string{secret, filepath.Join(data, "hearthgate.yaml")} {
		if is := ownerOf(t, path); is != ours {
			t.Errorf("%s was given to %d", path, is)
		}
	}
	if is, owner := ownerOf(t, filepath.Join(data, "gateway.db")), ownerOf(t, data); is != owner {
		t.Errorf("gateway.db is still %d's", is)
	}
}
