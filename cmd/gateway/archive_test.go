package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// member is a file in a backup.
type member struct {
	name string
	data []byte
	pax  map[string]string
}

func membersOf(t *testing.T, file string) (all []member) {
	t.Helper()
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, err)
		if h.Name != sumsName {
			all = append(all, member{name: h.Name, data: b})
		}
	}
}

// archiveOf is a backup of these, with right sums.
func archiveOf(t *testing.T, all []member) []byte {
	t.Helper()
	var file, sums bytes.Buffer
	w := tar.NewWriter(&file)
	add := func(m member) {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.data)), Mode: 0o600, PAXRecords: m.pax}))
		_, err := w.Write(m.data)
		must(t, err)
	}
	for _, m := range all {
		add(m)
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(m.data), m.name)
	}
	add(member{name: sumsName, data: sums.Bytes()})
	must(t, w.Close())
	return file.Bytes()
}

// A backup of the first form, which had nothing of the log, is restored as ever; one
// of a form to come is refused.
func TestABackupOfTheFirstFormIsRestored(t *testing.T) {
	dir := t.TempDir()
	file, data := filepath.Join(dir, "home.tar"), filepath.Join(dir, "data")
	home := newHome(t)
	must(t, offlineStore(home, func(s *store.Store) error {
		mqtt, err := s.Tail("mqtt") // which reads none of it
		for i := range int64(3) {
			e := &store.Entry{Kind: store.Telemetry, Device: "a", Boot: protocol.Boot{1}, Seq: uint64(i) + 1, Received: 1795219200000 + i}
			e.Records = []protocol.Record{{Name: "t", Value: protocol.Int(i), Time: e.Received * 1e6, Absolute: true}}
			if _, aerr := s.Append(e, store.Now, nil); aerr != nil {
				return aerr
			}
		}
		mqtt.Close()
		return err
	}))
	mustType(t, "backup", file, "--data", home)
	was := mustType(t, "export", "--data", home)
	all := membersOf(t, file)
	if strings.Count(was, "\n") != 4 || all[2].name != pagesName+"/000001" {
		t.Fatalf("the backup has %s third, of\n%s", all[2].name, was)
	}
	now := []byte(fmt.Sprintf(`"format":%d`, archiveFormat))
	for format, ok := range map[string]bool{"1": true, "9": false} {
		var first []member
		for _, m := range all {
			if !strings.HasPrefix(m.name, pagesName+"/") {
				m.data = bytes.Replace(m.data, now, []byte(`"format":`+format), 1)
				first = append(first, m)
			}
		}
		must(t, os.WriteFile(file, archiveOf(t, first), 0o600))
		_, err := restore(file, data, &progress{})
		if ok != (err == nil) || !ok && !strings.Contains(err.Error(), "its format is 9") {
			t.Errorf("format %s: %v", format, err)
		}
		if ok {
			mustType(t, "backup", "--verify", file)
			mustType(t, "check", "--data", data)
			if is := mustType(t, "export", "--data", data); is != was {
				t.Errorf("format %s has another history", format)
			}
			must(t, os.RemoveAll(data))
		}
	}
}

// Names that lead elsewhere, twice the same, links, and a database that is one large
// hole, for which a few bytes could fill the disk: nothing of it is written.
func TestABackupOfSomebodyElsesMakingIsRefused(t *testing.T) {
	begin := member{name: manifestName, data: []byte(`{"format":2}`)}
	hole := member{name: "hole", data: append([]byte("1\n0\n0\n"), make([]byte, 506)...), pax: map[string]string{
		"XNU.sparse.major": "1", "XNU.sparse.minor": "0", "XNU.sparse.name": databaseName, "XNU.sparse.realsize": "67108864",
	}}
	for name, bad := range map[string][]member{
		"a way up":      {{name: "ca/../../x", data: []byte("x")}},
		"a way down":    {{name: "ca/x/y", data: []byte("x")}},
		"the root":      {{name: "/gateway.db", data: []byte("x")}},
		"hidden":        {{name: "ca/.x", data: []byte("x")}},
		"twice":         {{name: databaseName, data: []byte("x")}, {name: databaseName, data: []byte("y")}},
		"a large piece": {{name: "ca/x", data: make([]byte, 1<<20+1)}},
		"a hole":        {hole},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "bad.tar")
		content := bytes.ReplaceAll(archiveOf(t, append([]member{begin}, bad...)), []byte("XNU."), []byte("GNU."))
		must(t, os.WriteFile(file, content, 0o600))
		data := filepath.Join(dir, "data")
		must(t, os.Mkdir(data, 0o700))
		_, err := readArchive(file, data, watching{})
		if err == nil || !strings.Contains(err.Error(), "does not belong there") && !strings.Contains(err.Error(), "too large") {
			t.Errorf("%s: %v", name, err)
		}
		for _, f := range bad {
			if info, err := os.Stat(filepath.Join(data, f.name)); err == nil && name != "twice" {
				t.Errorf("%s: %s has %d bytes", name, f.name, info.Size())
			}
		}
	}
}
