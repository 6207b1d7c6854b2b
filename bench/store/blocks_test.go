package main

import (
	"slices"
	"testing"
)

// What dumpe2fs and debugfs print of a small disk.
const (
	groups = `Block size:               4096
Group 0: (Blocks 0-32767) csum 0x3c4b [ITABLE_ZEROED]
  Primary superblock at 0, Group descriptors at 1-1
  Reserved GDT blocks at 2-1024
  Block bitmap at 1025 (+1025), csum 0xa0c5
  Inode bitmap at 1041 (+1041), csum 0x9ffe
  Inode table at 1057-1568 (+1057)
  23897 free blocks, 8181 free inodes, 2 directories
  Free blocks: 8871-32767
`
	journal = `EXTENTS:
(0-32767):1081344-1114111, (32768):1114112
`
)

func TestLayout(t *testing.T) {
	if got, want := spans(tableAt, groups), []span{{0, 0}, {1, 1}, {2, 1024}, {1025, 1025}, {1041, 1041}, {1057, 1568}}; !slices.Equal(got, want) {
		t.Errorf("tables at %v, want %v", got, want)
	}
	if got, want := spans(extentAt, journal), []span{{1081344, 1114111}, {1114112, 1114112}}; !slices.Equal(got, want) {
		t.Errorf("journal at %v, want %v", got, want)
	}
}

func TestWritesAreSorted(t *testing.T) {
	w := &blocks{size: 8, tables: spans(tableAt, groups), journal: spans(extentAt, journal)}
	for _, line := range []string{
		"jbd2/loop0-8-77 [001] ..... 1.5: block_bio_queue: 7,0 WS 8650752 + 24 [jbd2/loop0-8]",
		"hearthgate-78 [001] ..... 1.6: block_bio_queue: 7,0 WFS 262144 + 1 [hearthgate]",
		"kworker-79 [001] ..... 1.7: block_bio_queue: 7,0 WM 8456 + 8 [kworker/u8:1]",
		"hearthgate-78 [001] ..... 1.8: block_bio_queue: 7,0 R 262144 + 8 [hearthgate]",
		"hearthgate-78 [001] ..... 1.9: block_bio_queue: 7,0 FWS 0 + 0 [hearthgate]",
	} {
		w.count(line)
	}
	if d, j, m := w.data.Load(), w.inJournal.Load(), w.inMeta.Load(); d != 512 || j != 24*512 || m != 8*512 {
		t.Errorf("%d bytes of data, %d of journal, %d of tables", d, j, m)
	}
}
