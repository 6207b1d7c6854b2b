package storetest

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestCutsKeepWhatWasSyncedAndVaryTheRest(t *testing.T) {
	d := NewDisk(make([]byte, 4*sector))
	page := bytes.Repeat([]byte{1}, 2*sector)
	d.Write(page, 0)
	d.Sync()
	d.Write(bytes.Repeat([]byte{2}, 2*sector), 2*sector)
	d.Resize(8 * sector)
	seen := map[string]bool{}
	d.Cuts(50, rand.New(rand.NewPCG(1, 2)), func(at int, image []byte) {
		if at >= 2 && !bytes.Equal(image[:2*sector], page) {
			t.Fatalf("cut %d lost what was synced", at)
		}
		if at <= 2 && !bytes.Equal(image[2*sector:], make([]byte, 2*sector)) {
			t.Fatalf("cut %d has what was not yet written", at)
		}
		if at == 4 {
			seen[string([]byte{image[2*sector], image[3*sector], byte(len(image) / sector)})] = true
		}
	})
	if len(seen) != 8 { // each sector and the size, there or not
		t.Errorf("%d different outcomes, want 8", len(seen))
	}
}
