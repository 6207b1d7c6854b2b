// Package arm_test builds the gateway for small boards and talks to it there.
package arm_test

import (
	"bytes"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	testVersion = "v0.0.0-test"
	// largestGateway is what the arm64 gateway may weigh: about a NATS server.
	// Crossing it usually means that something pulled text/template in.
	largestGateway = 14 << 20
)

// dist has the binaries for arm64 and armv6, built once by TestMain.
var dist string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hearthgate-arm-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		dist = dir
		seeSources()
		build := exec.Command("./build.sh", "arm64", "armv6")
		build.Env = append(os.Environ(), "OUT="+dir, "VERSION="+testVersion)
		build.Stdout, build.Stderr = os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			os.Stderr.WriteString("build.sh: " + err.Error() + "\n")
			return 1
		}
		return m.Run()
	}())
}

// seeSources opens every source file, so that the go command knows that these
// tests depend on them and does not show an old result after a change.
func seeSources() {
	_ = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".go") || filepath.Base(path) == "go.mod") {
			_, err = os.ReadFile(path)
		}
		return err
	})
}

func TestBinariesAreStaticStrippedAndSmall(t *testing.T) {
	for _, target := range []string{"arm64", "armv6"} {
		for _, name := range []string{"hearthgate", "hearthgate-sim"} {
			path := filepath.Join(dist, "linux-"+target, name)
			f, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if f.Section(".interp") != nil {
				t.Errorf("%s %s is not static", target, name)
			}
			if f.Section(".symtab") != nil || f.Section(".debug_info") != nil {
				t.Errorf("%s %s is not stripped", target, name)
			}
			f.Close()
		}
	}
	info, err := os.Stat(filepath.Join(dist, "linux-arm64", "hearthgate"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > largestGateway {
		t.Errorf("the arm64 gateway has %.2f MiB, more than %d", float64(info.Size())/(1<<20), largestGateway>>20)
	}
}

func TestAnUnknownTargetIsNamed(t *testing.T) {
	out, err := exec.Command("./build.sh", "mips").CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("no target mips")) {
		t.Errorf("%v: %s", err, out)
	}
}
