package hearthgate_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The packages, the lowest floor first. A package may import those on floors
// below its own and never one beside it (ARCHITECTURE.md draws the same house).
var floors = [][]string{
	{"internal/cbor", "internal/decimal", "internal/when", "internal/proctest", "pki", "bridge/mqtt/hacheck", "bridge/mqtt/homiecheck", "store/segment", "store/rangecoder", "store/octets"},
	{"protocol", "store/segment/segmenttest"},
	{"store/chunk"},
	{"store/rollup"},
	{"store/history"},
	{"store", "client"},
	{"store/storetest", "registry", "sim"},
	{"command"},
	{"bridge/mqtt/hass", "bridge/mqtt/homie"},
	{"devices", "bridge/mqtt", "bridge/mqtt/broker", "web"},
	{"devices/devicetest", "cmd/gateway", "cmd/device-sim"},
}

const module = "github.com/hearthgate/hearthgate/"

func TestImportsPointOneWay(t *testing.T) {
	floor := map[string]int{}
	for i, names := range floors {
		for _, n := range names {
			floor[n] = i
		}
	}
	for name := range floor {
		if files, _ := filepath.Glob(name + "/*.go"); len(files) == 0 {
			t.Errorf("layout_test.go gives %s a floor, and there is no such package", name)
		}
	}
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || path == "bench" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		from := filepath.ToSlash(filepath.Dir(path))
		mine, ok := floor[from]
		if !ok {
			for n, f := range floor {
				if strings.HasPrefix(from, n+"/") && strings.HasPrefix(n, "cmd/") {
					mine, ok = f, true
				}
			}
		}
		if !ok {
			t.Errorf("%s: package %s has no floor in layout_test.go", path, from)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			p, _ := strconv.Unquote(imp.Path.Value)
			to, ours := strings.CutPrefix(p, module)
			if !ours {
				continue
			}
			seen++
			if strings.HasPrefix(to, from+"/") || strings.HasPrefix(from, "cmd/") && strings.HasPrefix(to, from) {
				continue // a package of one's own below
			}
			theirs, ok := floor[to]
			if !ok || theirs >= mine {
				t.Errorf("%s: %s imports %s, which is not on a floor below", path, from, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("no import of ours was seen: the walk is broken")
	}
}
