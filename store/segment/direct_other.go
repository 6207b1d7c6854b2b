//go:build !linux

package segment

import "os"

// directFlags: there are none, so Direct files are as Buffered ones.
const directFlags = 0

func dataSync(f *os.File) error { return f.Sync() }
