package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// blocks sorts each write to a disk by the block it goes to: the journal, the
// file system's own tables, or files. The kernel tells of the writes by tracefs.
type blocks struct {
	size                    int64 // of a block, in sectors of 512 bytes
	journal, tables         []span
	instance                string // of tracefs
	pipe                    *os.File
	ended                   chan struct{}
	data, inJournal, inMeta atomic.Int64 // bytes
}

// A span of blocks, the last one included.
type span struct{ first, last int64 }

const tracefs = "/sys/kernel/tracing"

// watchBlocks begins to follow the disk's writes.
func watchBlocks(d *disk) (*blocks, error) {
	w := &blocks{ended: make(chan struct{})}
	if err := w.layout("/dev/" + d.loop); err != nil {
		return nil, err
	}
	instance := filepath.Join(tracefs, "instances", "hearthgate-"+d.loop)
	if err := os.Mkdir(instance, 0o700); err != nil {
		return nil, fmt.Errorf("tracefs: %w", err)
	}
	w.instance = instance
	if err := w.start(d.loop); err != nil {
		return nil, errors.Join(err, os.Remove(instance))
	}
	go w.follow()
	return w, nil
}

func (w *blocks) start(loop string) error {
	number, err := os.ReadFile("/sys/block/" + loop + "/dev")
	if err != nil {
		return err
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(number), "%d:%d", &major, &minor); err != nil {
		return err
	}
	event := filepath.Join(w.instance, "events/block/block_bio_queue")
	if err := os.WriteFile(event+"/filter", fmt.Appendf(nil, "dev == %d", major<<20|minor), 0); err != nil {
		return err
	}
	if err := os.WriteFile(event+"/enable", []byte("1"), 0); err != nil {
		return err
	}
	fd, err := syscall.Open(filepath.Join(w.instance, "trace_pipe"), syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	w.pipe = os.NewFile(uintptr(fd), "trace_pipe")
	return nil
}

var (
	// "Inode table at 1070-1581 (+1070)", "Primary superblock at 0, Group descriptors at 1-1"
	tableAt = regexp.MustCompile(`(?:superblock|[Dd]escriptors|GDT blocks|bitmap|Inode table) at (\d+)(?:-(\d+))?`)
	sizeAt  = regexp.MustCompile(`Block size: +(\d+)`)
	// "(0-32766):98305-131071" of debugfs
	extentAt = regexp.MustCompile(`\):(\d+)(?:-(\d+))?`)
)

func (w *blocks) layout(device string) error {
	tables, err := output("dumpe2fs", device)
	if err != nil {
		return err
	}
	size := sizeAt.FindStringSubmatch(tables)
	if size == nil {
		return errors.New("dumpe2fs tells no block size")
	}
	bytes, err := strconv.ParseInt(size[1], 10, 64)
	if err != nil || bytes < 512 {
		return fmt.Errorf("block size %s of dumpe2fs", size[1])
	}
	w.size = bytes / 512
	w.tables = spans(tableAt, tables)
	journal, err := output("debugfs", "-R", "stat <8>", device)
	if err != nil {
		return err
	}
	_, extents, _ := strings.Cut(journal, "EXTENTS:")
	w.journal = spans(extentAt, extents)
	return nil
}

func spans(at *regexp.Regexp, text string) []span {
	var all []span
	for _, m := range at.FindAllStringSubmatch(text, -1) {
		first, _ := strconv.ParseInt(m[1], 10, 64)
		last := first
		if m[2] != "" {
			last, _ = strconv.ParseInt(m[2], 10, 64)
		}
		all = append(all, span{first, last})
	}
	return all
}

// A line of trace_pipe ends in "block_bio_queue: 7,0 WS 1234 + 8 [jbd2/loop0-8]".
var bio = regexp.MustCompile(`block_bio_queue: \d+,\d+ (\w+) (\d+) \+ (\d+) `)

// follow counts until close.
func (w *blocks) follow() {
	defer close(w.ended)
	for s := bufio.NewScanner(w.pipe); s.Scan(); {
		w.count(s.Text())
	}
}

func (w *blocks) count(line string) {
	m := bio.FindStringSubmatch(line)
	if m == nil || !strings.Contains(m[1], "W") {
		return
	}
	sector, _ := strconv.ParseInt(m[2], 10, 64)
	count, _ := strconv.ParseInt(m[3], 10, 64)
	w.counter(sector / w.size).Add(count * 512)
}

func (w *blocks) counter(block int64) *atomic.Int64 {
	switch {
	case within(w.journal, block):
		return &w.inJournal
	case within(w.tables, block):
		return &w.inMeta
	default:
		return &w.data
	}
}

func within(all []span, block int64) bool {
	for _, s := range all {
		if s.first <= block && block <= s.last {
			return true
		}
	}
	return false
}

// counts are the bytes since the start. What the kernel has in its buffer gets
// a moment to come through.
func (w *blocks) counts() (data, journal, metadata int64) {
	time.Sleep(300 * time.Millisecond)
	return w.data.Load(), w.inJournal.Load(), w.inMeta.Load()
}

func (w *blocks) close() error {
	os.WriteFile(filepath.Join(w.instance, "events/block/block_bio_queue/enable"), []byte("0"), 0)
	w.pipe.Close()
	<-w.ended
	return os.Remove(w.instance) // rmdir is how an instance ends
}
