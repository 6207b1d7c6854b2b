package store_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/hearthgate/hearthgate/store"
	"github.com/hearthgate/hearthgate/store/storetest"
)

// tellMe tells the test binary to say what is in a data directory.
const tellMe = "HEARTHGATE_TEST_TELL_DIR"

// sameIn32Bits holds that a build whose ints have 32 bits, as on the older Raspberry
// Pis, opens what this build has written and reads the same from it.
func sameIn32Bits(t *testing.T, dir string) {
	t.Helper()
	if strconv.IntSize == 32 {
		return // such a build wrote it, too
	}
	program := filepath.Join(t.TempDir(), "store.test")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "GOARCH=386", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := []string{program}
	if runtime.GOARCH != "amd64" { // whose kernels run it themselves
		args = []string{"qemu-i386-static", program}
	}
	var here strings.Builder
	if err := tell(t.Context(), &here, dir); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(args[0], args[1:]...)
	run.Env = append(os.Environ(), tellMe+"="+dir)
	there, err := run.CombinedOutput()
	if err != nil || string(there) != here.String() {
		t.Errorf("a build for 386 reads, with %v:\n%s\nand this one:\n%s", err, there, here.String())
	}
}

// tell says what there is of two devices of a storetest.Home: of each series all that
// is kept, at every level, and a chart of it.
func tell(ctx context.Context, w io.Writer, dir string) error {
	s, err := store.Open(store.Options{Dir: dir, Commit: -1})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := s.Check(); err != nil {
		return err
	}
	from, to := june, june.AddDate(1, 0, 0)
	for d := range 2 {
		device := storetest.HomeDevice(d)
		for _, newest := range s.Newest(device) {
			sum, name := sha256.New(), newest.Name
			samples, err := s.History(ctx, device, name, from, to, 0)
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "%#v", samples)
			for _, level := range []store.Level{store.FiveMinutes, store.Hours, store.Days} {
				rows, err := s.Rows(ctx, device, name, from, to, level)
				if err != nil {
					return err
				}
				fmt.Fprintf(sum, "%#v", rows)
			}
			chart, err := s.Chart(ctx, device, name, from, to, 800)
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "%#v", chart)
			fmt.Fprintf(w, "%s %+v: %d samples, %x\n", device, newest, len(samples), sum.Sum(nil))
		}
	}
	return s.Close()
}
