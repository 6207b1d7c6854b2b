package main

import (
	"io/fs"
	"os"
	"syscall"
)

// sameOwner gives what root made in a data directory to the directory's owner:
// the gateway, which is not root, could not start with it. Every command that
// opens a data directory calls it when it is done.
//
// The owner of the directory may be up to no good and root must not be led out
// of it: a file is changed only as it was opened, below the directory, when it is
// root's and has no name elsewhere.
func sameOwner(data string) {
	if os.Geteuid() == 0 {
		giveTo(data)
	}
}

func giveTo(data string) {
	root, err := os.OpenRoot(data)
	if err != nil {
		return
	}
	defer func() { _ = root.Close() }()
	info, err := root.Stat(".")
	if err != nil {
		return
	}
	to := info.Sys().(*syscall.Stat_t)
	if to.Uid == 0 {
		return
	}
	for _, pattern := range ours {
		names, _ := fs.Glob(root.FS(), pattern)
		for _, name := range names {
			give(root, name, int(to.Uid), int(to.Gid))
		}
	}
}

// ours are the files of the store, of the CA, and of a restore. What else is in
// a data directory somebody put there.
var ours = []string{
	"gateway.db*", "gateway.lock", "log-*.seg*", "ca", "ca/*",
	restoring, restoring + "/*", restoring + "/ca/*",
}

func give(root *os.Root, name string, uid, gid int) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return // a socket cannot be opened and is not ours to give
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return
	}
	is := info.Sys().(*syscall.Stat_t)
	if is.Uid == 0 && (info.IsDir() || info.Mode().IsRegular() && is.Nlink == 1) {
		_ = f.Chown(uid, gid)
	}
}
