package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lockWait is how long Open waits for another process to let go.
const lockWait = 2 * time.Second

// makeDir makes the data directory, or refuses one in which others may write.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("data directory %s is a file", dir)
	}
	if p := info.Mode().Perm(); p&0o022 != 0 {
		return fmt.Errorf("data directory %s may be written by other users (mode %#o); run: chmod 700 %s", dir, p, dir)
	}
	return nil
}

// syncDir makes a rename in path's directory durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock takes gateway.lock in dir, in which the holder writes its process id.
// The lock ends with the process, however that ends.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "gateway.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		held, err := tryLock(f)
		if err == nil && !held {
			break
		}
		if err == nil && time.Since(began) < lockWait {
			continue
		}
		if err == nil {
			err = fmt.Errorf("%w: %s is held by %s", ErrLocked, path, holder(f))
		}
		f.Close()
		return nil, err
	}
	// Only a courtesy to the next one: a full disk must not stop the start.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// holder names the process that wrote its id into the lock file.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	pid := strings.TrimSpace(string(b))
	if _, bad := strconv.Atoi(pid); err != nil || bad != nil {
		return "an unknown process"
	}
	if name, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil {
		return "process " + pid + " (" + strings.TrimSpace(string(name)) + ")"
	}
	return "process " + pid
}
