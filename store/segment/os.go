package segment

import (
	"errors"
	"os"
	"path/filepath"
)

// Dir is the FS of a directory of the system.
type Dir string

// Open opens a file that is there.
func (d Dir) Open(name string, how Mode) (File, error) {
	flag := os.O_RDONLY
	switch how {
	case Direct:
		flag = os.O_RDWR | directFlags
	case Buffered:
		flag = os.O_RDWR
	}
	f, err := os.OpenFile(d.path(name), flag, 0)
	if err != nil {
		return nil, err
	}
	return &osFile{f, how == Direct && directFlags != 0}, nil
}

// Create makes a file.
func (d Dir) Create(name string) (File, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Rename gives a file another name.
func (d Dir) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

// Remove removes a file.
func (d Dir) Remove(name string) error { return os.Remove(d.path(name)) }

// List returns the names of all files.
func (d Dir) List() (names []string, err error) {
	all, err := os.ReadDir(string(d))
	for _, e := range all {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// SyncDir makes changes of names durable.
func (d Dir) SyncDir() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// osFile is a file of the system. When its writes are synced by themselves
// Sync has nothing left to do.
type osFile struct {
	*os.File
	synced bool
}

func (f *osFile) Sync() error {
	if f.synced {
		return nil
	}
	return dataSync(f.File)
}

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
