package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A disk is a new ext4 on a loop device of its own, so that what one contender
// writes is counted apart from all others.
type disk struct {
	image, dir string
	loop       string // "loop3"
	blocks     *blocks
}

// A format says how a disk is made. The zero value is what mkfs.ext4 and mount
// do by themselves.
type format struct {
	mkfs  []string
	mount string // options
}

// newDisk makes one below dir, whose name it takes from name.
func newDisk(dir, name string, f format) (*disk, error) {
	d := &disk{image: filepath.Join(dir, name+".img"), dir: filepath.Join(dir, name)}
	if err := d.make(f); err != nil {
		return nil, errors.Join(fmt.Errorf("disk for %s: %w", name, err), d.close())
	}
	return d, nil
}

// imageSize is that of a small card. Images are sparse: what nobody writes
// takes no room.
const imageSize = 8 << 30

func (d *disk) make(f format) error {
	image, err := os.Create(d.image)
	if err != nil {
		return err
	}
	if err := errors.Join(image.Truncate(imageSize), image.Close()); err != nil {
		return err
	}
	// By default the kernel zeroes inode tables in the background after the first
	// mount, which would count as somebody's writes.
	args := append([]string{"-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"}, f.mkfs...)
	if _, err := output("mkfs.ext4", append(args, d.image)...); err != nil {
		return err
	}
	path, err := output("losetup", "--find", "--show", d.image)
	if err != nil {
		return fmt.Errorf("%w (in a container: give it --privileged and /dev/loop*)", err)
	}
	d.loop = filepath.Base(strings.TrimSpace(path))
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		return err
	}
	args = []string{"-t", "ext4"}
	if f.mount != "" {
		args = append(args, "-o", f.mount)
	}
	if _, err := output("mount", append(args, "/dev/"+d.loop, d.dir)...); err != nil {
		return fmt.Errorf("%w (it needs CAP_SYS_ADMIN)", err)
	}
	if err := d.sync(); err != nil {
		return err
	}
	// Where the kernel tells nothing of single blocks, only the sums are known.
	d.blocks, err = watchBlocks(d)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: no split into data and journal: %v\n", filepath.Base(d.dir), err)
	}
	return nil
}

// close takes the disk away, whatever there is of it.
func (d *disk) close() error {
	var failed error
	if d.blocks != nil {
		failed = errors.Join(failed, d.blocks.close())
	}
	if mounted(d.dir) {
		_, err := output("umount", d.dir)
		failed = errors.Join(failed, err)
	}
	if d.loop != "" {
		_, err := output("losetup", "--detach", "/dev/"+d.loop)
		failed = errors.Join(failed, err)
	}
	return errors.Join(failed, os.RemoveAll(d.image))
}

func mounted(dir string) bool {
	b, _ := os.ReadFile("/proc/mounts")
	return bytes.Contains(b, []byte(" "+dir+" "))
}

// sync writes down all that the file system still has in memory.
func (d *disk) sync() error {
	_, err := output("sync", "--file-system", d.dir)
	return err
}

// wear is what has reached a disk.
type wear struct {
	Written int64 // bytes
	Flushes int64 // of the disk's own cache
	// Of Written, where it could be told apart:
	Data, Journal, Metadata int64
}

func (w wear) less(before wear) wear {
	return wear{w.Written - before.Written, w.Flushes - before.Flushes,
		w.Data - before.Data, w.Journal - before.Journal, w.Metadata - before.Metadata}
}

// wear is the disk's since it was made. Fields are those of
// Documentation/block/stat.rst; a sector there has 512 bytes.
func (d *disk) wear() (wear, error) {
	b, err := os.ReadFile("/sys/block/" + d.loop + "/stat")
	if err != nil {
		return wear{}, err
	}
	fields := strings.Fields(string(b))
	sectors, err := strconv.ParseInt(fields[6], 10, 64)
	if err != nil {
		return wear{}, err
	}
	w := wear{Written: sectors * 512}
	if len(fields) > 15 { // since Linux 5.5
		w.Flushes, err = strconv.ParseInt(fields[15], 10, 64)
	}
	if d.blocks != nil {
		w.Data, w.Journal, w.Metadata = d.blocks.counts()
	}
	return w, err
}

// atRest is what the files below the disk's root occupy.
func (d *disk) atRest() (int64, error) {
	var sum int64
	err := filepath.WalkDir(d.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	return sum, err
}

// output runs a command and returns what it printed. The error holds its words.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(words.String()))
	}
	return string(out), nil
}
