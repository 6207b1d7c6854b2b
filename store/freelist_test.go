package store_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hearthgate/hearthgate/store"
)

// A bit flips in the list of free pages of the database, by which the library writes over
// pages that are in use, or reads and takes memory without end: who looks at the file says
// so, and a start sets it aside and goes on with all that it had.
func TestTheListOfFreePagesIsWrong(t *testing.T) {
	dir := t.TempDir()
	id := fill(t, dir)
	content, err := os.ReadFile(filepath.Join(dir, "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	meta := content[16:]
	if other := content[page+16:]; binary.NativeEndian.Uint64(other[48:]) > binary.NativeEndian.Uint64(meta[48:]) {
		meta = other
	}
	list := page * int(binary.NativeEndian.Uint64(meta[32:]))
	if binary.NativeEndian.Uint16(content[list+10:]) == 0 {
		t.Fatal("no page is free")
	}
	for what, spoil := range map[string]func(list []byte){
		"its kind":               func(list []byte) { list[8] ^= 1 << 1 },
		"its length":             func(list []byte) { list[11] ^= 1 << 7 },
		"its length by a little": func(list []byte) { list[10] ^= 1 << 6 },
		"its number of pages":    func(list []byte) { list[15] ^= 1 << 4 },
		"a page of it":           func(list []byte) { list[20] ^= 1 },
		"a page that is none":    func(list []byte) { binary.NativeEndian.PutUint64(list[16:], 1) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := memoryDir(t)
			spoiled := slices.Clone(content)
			spoil(spoiled[list:])
			if err := os.WriteFile(filepath.Join(dir, "gateway.db"), spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := store.Inspect(dir); err == nil {
				t.Error("it seems to be sound")
			}
			for range 2 {
				s := open(t, store.Options{Dir: dir, Commit: 0})
				sound(t, s)
				if n := frames(t, s); n != 2000 || s.GatewayID() != id {
					t.Errorf("%d frames of gateway %s", n, s.GatewayID())
				}
				end(t, s)
			}
		})
	}
}
