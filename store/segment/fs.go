package segment

// FS is the directory in which the segments lie. Names have no separators.
type FS interface {
	Open(name string, how Mode) (File, error)
	Create(name string) (File, error) // empty; an old one of this name is gone
	Rename(from, to string) error
	Remove(name string) error
	List() (names []string, err error)
	SyncDir() error // makes all of the three above durable
}

// Mode is how a file is opened.
type Mode int

// Modes.
const (
	Read     Mode = iota
	Direct        // for writes past the system's cache, each of them synced
	Buffered      // for writes through it
)

// File is one file of an FS.
type File interface {
	ReadAt(b []byte, off int64) (int, error)
	WriteAt(b []byte, off int64) (int, error)
	Sync() error // when it returns nil, what was written is durable
	Size() (int64, error)
	Close() error
}
