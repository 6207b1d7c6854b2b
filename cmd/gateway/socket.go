package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// longestSocket is what a socket's path may have (sun_path, less the NUL).
const longestSocket = 107

// socketPath is where the admin socket of a data directory is: in the runtime
// directory for the installed gateway, else beside the data; where that path
// would be too long for a socket, in a directory of its own.
func socketPath(data string) string {
	data = absolute(data)
	if installed() && data == "/var/lib/hearthgate" {
		return "/run/hearthgate/admin.sock"
	}
	path := filepath.Join(data, "admin.sock")
	if len(path) <= longestSocket {
		return path
	}
	base := os.Getenv("XDG_RUNTIME_DIR")
	if base == "" {
		base = os.TempDir()
	}
	sum := sha256.Sum256([]byte(data))
	return filepath.Join(base, fmt.Sprintf("hearthgate-%d-%x", os.Getuid(), sum[:6]), "admin.sock")
}

// listenAdmin opens the admin socket: for the owner, and where there is a group
// hearthgate, for it. A socket that nobody answers on is left over and replaced.
func listenAdmin(data string, log *slog.Logger) (net.Listener, error) {
	path := socketPath(data)
	if filepath.Dir(path) != absolute(data) {
		log.Info("admin socket", "path", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := ownDirectory(filepath.Dir(path), os.Geteuid()); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("admin socket: another gateway answers on %s", path)
	}
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	mode := os.FileMode(0o600)
	if g, err := user.LookupGroup("hearthgate"); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil && os.Chown(path, -1, gid) == nil {
			mode = 0o660
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return l, nil
}

// ownDirectory refuses a directory that somebody else than uid or root made, or
// could change: who owns it can put a socket of his own there. Root may use the
// directory of any user, except in one where anybody could have made it (/tmp).
func ownDirectory(dir string, uid int) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("%s can be written by everybody; chmod o-w it", dir)
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	if owner != uid && owner != 0 && (uid != 0 || shared(filepath.Dir(dir))) {
		return fmt.Errorf("%s belongs to another user (%d); remove it or use another --data", dir, owner)
	}
	return nil
}

// shared reports whether everybody may put things into a directory.
func shared(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.Mode().Perm()&0o002 != 0
}

// errNotRunning: nobody listens on the admin socket.
var errNotRunning = errors.New("the gateway is not running")

// dialAdmin connects to the running gateway.
func dialAdmin(ctx context.Context, data string) (net.Conn, error) {
	if dir := filepath.Dir(socketPath(data)); shared(filepath.Dir(dir)) { // or we might tell a stranger passwords
		if err := ownDirectory(dir, os.Geteuid()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("admin socket: %w", err)
		}
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socketPath(data))
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%s: permission denied; run as the gateway's user or join the group hearthgate", socketPath(data))
	}
	if err != nil {
		return nil, fmt.Errorf("%w (nobody answers on %s; is --data right?)", errNotRunning, socketPath(data))
	}
	return c, nil
}

// adminClient is HTTP over the admin socket.
func adminClient(data string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialAdmin(ctx, data) },
	}}
}
