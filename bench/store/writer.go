package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A way to write a log: how the file is opened and prepared, how a record gets
// durable, and what the file system was told.
type way struct {
	name    string
	flags   int // of open
	prepare func(*os.File) error
	durable func(*os.File) error // syncs; nil = the flags do it
	size    int                  // of a record
	every   time.Duration
	format  format
	beside  bool // another program's log grows as well
}

// logSize is that of the prepared file. All ways overwrite it once at most.
const logSize = 4 << 20

const direct = syscall.O_DIRECT | syscall.O_DSYNC

// ways differ from the first in one thing each.
var ways = []way{
	{name: "zeroed, O_DIRECT|O_DSYNC, 512 B each 1 s", flags: direct},
	{name: "each 5 s", flags: direct, every: 5 * time.Second},
	{name: "2 KiB", flags: direct, size: 2048},
	{name: "4 KiB", flags: direct, size: 4096},
	{name: "O_DIRECT, fdatasync", flags: syscall.O_DIRECT, durable: datasync},
	{name: "buffered, O_DSYNC", flags: syscall.O_DSYNC},
	{name: "buffered, fdatasync", durable: datasync},
	{name: "buffered, fsync", durable: (*os.File).Sync},
	{name: "fallocate only (unwritten extents)", flags: direct, prepare: allocate},
	{name: "appended", durable: datasync, prepare: leaveEmpty},
	{name: "mount noatime", flags: direct, format: format{mount: "noatime"}},
	{name: "mount lazytime", flags: direct, format: format{mount: "lazytime"}},
	{name: "mount lazytime, each 5 s", flags: direct, every: 5 * time.Second, format: format{mount: "lazytime"}},
	{name: "mount lazytime, buffered, fdatasync", durable: datasync, format: format{mount: "lazytime"}},
	{name: "mount lazytime,noiversion", flags: direct, format: format{mount: "lazytime,noiversion"}},
	{name: "mount commit=30", flags: direct, format: format{mount: "commit=30"}},
	{name: "mount commit=60, each 5 s", flags: direct, every: 5 * time.Second, format: format{mount: "commit=60"}},
	{name: "mount commit=60", flags: direct, format: format{mount: "commit=60"}},
	{name: "mkfs -O fast_commit", flags: direct, format: format{mkfs: []string{"-O", "fast_commit"}}},
	{name: "mkfs -b 1024", flags: direct, format: format{mkfs: []string{"-b", "1024"}}},
	{name: "mkfs -O ^has_journal", flags: direct, format: format{mkfs: []string{"-O", "^has_journal"}}},
	{name: "no log, another program logs each 1 s", every: time.Hour, beside: true},
	{name: "the log, another program logs each 1 s", flags: direct, beside: true},
	{name: "nobody writes", every: time.Hour},
}

// writer finds out what the file system adds to a log's own bytes: all ways at
// the same time, each on a disk of its own.
func (b *bench) writer() error {
	results := make([]wear, len(ways))
	records := make([]int, len(ways))
	err := together(len(ways), func(i int) (err error) {
		results[i], records[i], err = b.try(i)
		return err
	})
	if err != nil {
		return err
	}
	t := b.report.section("writer", "way", "records", "written/s", "data", "journal", "tables", "flushes/s")
	seconds := b.window.Seconds()
	for i, w := range results {
		t.add(ways[i].name, fmt.Sprint(records[i]), perSecond(w.Written, seconds), perSecond(w.Data, seconds),
			perSecond(w.Journal, seconds), perSecond(w.Metadata, seconds), fmt.Sprintf("%.2f", float64(w.Flushes)/seconds))
	}
	return nil
}

func perSecond(bytes int64, seconds float64) string {
	return fmt.Sprintf("%.0f B", float64(bytes)/seconds)
}

func (b *bench) try(i int) (w wear, records int, err error) {
	way := ways[i]
	d, err := b.disk(fmt.Sprintf("way%d", i), way.format)
	if err != nil {
		return w, 0, err
	}
	f, err := way.open(filepath.Join(d.dir, "log"))
	if err != nil {
		return w, 0, fmt.Errorf("%s: %w", way.name, err)
	}
	defer f.Close()
	if err := d.sync(); err != nil {
		return w, 0, err
	}
	before, err := d.wear()
	if err != nil {
		return w, 0, err
	}
	if way.beside {
		stop, err := otherLog(d.dir)
		if err != nil {
			return w, 0, err
		}
		defer stop()
	}
	if records, err = way.run(f, b.window); err != nil {
		return w, 0, fmt.Errorf("%s: %w", way.name, err)
	}
	// No sync of everything here: it would write each inode once more, which a
	// gateway that runs for months never pays for.
	after, err := d.wear()
	return after.less(before), records, err
}

// otherLog grows by a line each second, unsynced, as the system's log does. Its
// inode is far from ours, as a directory of its own sees to.
func otherLog(dir string) (stop func(), err error) {
	if err := os.Mkdir(filepath.Join(dir, "other"), 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "other/log"))
	if err != nil {
		return nil, err
	}
	ended, all := make(chan struct{}), sync.WaitGroup{}
	all.Go(func() {
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-tick.C:
				fmt.Fprintln(f, strings.Repeat("something happened, ", 5))
			case <-ended:
				tick.Stop()
				f.Close()
				return
			}
		}
	})
	return func() { close(ended); all.Wait() }, nil
}

// open prepares the file, then opens it as the way does.
func (w *way) open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	prepare := w.prepare
	if prepare == nil {
		prepare = zero
	}
	if err := errors.Join(prepare(f), f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|w.flags, 0)
}

func zero(f *os.File) error {
	_, err := f.WriteAt(make([]byte, logSize), 0)
	return err
}

func allocate(f *os.File) error   { return syscall.Fallocate(int(f.Fd()), 0, 0, logSize) }
func leaveEmpty(f *os.File) error { return nil }
func datasync(f *os.File) error   { return syscall.Fdatasync(int(f.Fd())) }

// run writes records one after the other for as long as the window.
func (w *way) run(f *os.File, window time.Duration) (records int, err error) {
	every, size := w.every, w.size
	if every == 0 {
		every = time.Second
	}
	if size == 0 {
		size = 512
	}
	// Pages of their own, since O_DIRECT takes no others.
	record, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return 0, err
	}
	defer syscall.Munmap(record)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.After(window); ; {
		select {
		case <-end:
			return records, nil
		case <-tick.C:
		}
		record[0]++
		at := int64(records*size) % logSize
		if _, err := f.WriteAt(record, at); err != nil {
			return records, err
		}
		if w.durable != nil {
			if err := w.durable(f); err != nil {
				return records, err
			}
		}
		records++
	}
}
