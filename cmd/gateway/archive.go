package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/store"
)

// A backup is a plain tar file, so that it can be opened without us: what it is,
// the database, what of the log MQTT had not got yet, the CA, and the sums of all of
// them at the end, in the form that sha256sum -c reads.
const (
	manifestName  = "manifest.json"
	databaseName  = "gateway.db"
	pagesName     = "log"
	sumsName      = "SHA256SUMS"
	archiveFormat = 2    // 1 had no log
	tarEnd        = 1024 // zero bytes that end a tar file
)

// memberName is what may be in a backup; nothing in it leads out of a directory.
var memberName = regexp.MustCompile(`^(manifest\.json|gateway\.db|SHA256SUMS|log/[0-9]{6,9}|ca/[A-Za-z0-9_][A-Za-z0-9._-]*)$`)

// largestPage is above what a page of the log can have: one record, if that is large.
const largestPage = 256 << 20

// manifest says what a backup is of.
type manifest struct {
	Format  int       `json:"format"`
	Gateway string    `json:"gateway"`
	Epoch   string    `json:"epoch"`
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
}

// writeArchive writes a backup of s and of the CA in data to a local file.
func writeArchive(ctx context.Context, s *store.Store, data string, w io.Writer) error {
	now := time.Now().UTC().Truncate(time.Second)
	a := archive{tar: tar.NewWriter(w), at: now}
	m, err := json.Marshal(manifest{archiveFormat, s.GatewayID(), s.Epoch(), versionText(), now})
	if err != nil {
		return err
	}
	if err := a.addBytes(manifestName, append(m, '\n')); err != nil {
		return err
	}
	if err := s.Snapshot(ctx, a.addStore); err != nil {
		return err
	}
	if err := a.addCA(filepath.Join(data, "ca")); err != nil {
		return err
	}
	if err := a.addBytes(sumsName, a.sums.Bytes()); err != nil {
		return err
	}
	return a.tar.Close()
}

// archive is a backup that is being written.
type archive struct {
	tar  *tar.Writer
	at   time.Time
	sums bytes.Buffer
}

func (a *archive) add(name string, size int64, from io.WriterTo) error {
	err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: a.at})
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := from.WriteTo(io.MultiWriter(a.tar, sum)); err != nil {
		return err
	}
	fmt.Fprintf(&a.sums, "%x  %s\n", sum.Sum(nil), name)
	return nil
}

// addStore adds the database, and what of the log is not in it.
func (a *archive) addStore(c *store.Copy) error {
	if err := a.add(databaseName, c.Size(), c); err != nil {
		return err
	}
	n := 0
	return c.Log(func(page []byte) error {
		n++
		return a.addBytes(fmt.Sprintf("%s/%06d", pagesName, n), page)
	})
}

func (a *archive) addBytes(name string, b []byte) error {
	return a.add(name, int64(len(b)), bytes.NewReader(b))
}

// addCA adds the keys and certificates; a gateway with its own has none.
func (a *archive) addCA(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, f := range files {
		name := "ca/" + f.Name()
		if !f.Type().IsRegular() || !memberName.MatchString(name) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		if err := a.addBytes(name, b); err != nil {
			return err
		}
	}
	return nil
}

// watching is who watches an archive being unpacked.
type watching struct {
	did func(what, name string) // of each file that is written and synced; may be nil
	bar *progress               // of the archive's bytes; may be nil
}

// readArchive checks the backup at path against its sums, and unpacks it into
// dir if there is one.
func readArchive(path, dir string, by watching) (m manifest, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("backup %s: %w", path, err)
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return m, err
	}
	defer func() { _ = f.Close() }()
	size, err := wholeTar(f)
	if err != nil {
		return m, err
	}
	if by.did == nil {
		by.did = func(string, string) {}
	}
	from := io.Reader(f)
	if by.bar != nil {
		from = by.bar.reader(f)
	}
	r := reading{dir: dir, left: size, did: by.did, sums: map[string]string{}}
	t := tar.NewReader(bufio.NewReaderSize(from, 64<<10))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return r.manifest, r.compare()
		}
		if err != nil {
			return m, fmt.Errorf("it is damaged: %w; use another backup", err)
		}
		if err := r.member(h, t); err != nil {
			return m, err
		}
	}
}

// wholeTar looks at both ends, as a tar file may lose its end without a word, and says
// how large it is.
func wholeTar(f *os.File) (size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	begin, end := make([]byte, len(manifestName)+1), make([]byte, tarEnd)
	if _, err := f.ReadAt(begin, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if string(begin) != manifestName+"\x00" {
		return 0, errors.New("hearthgate backup did not make this file, or its beginning is damaged")
	}
	if info.Size() >= tarEnd {
		if _, err := f.ReadAt(end, info.Size()-tarEnd); err != nil {
			return 0, err
		}
	}
	if info.Size()%512 != 0 || info.Size() < 2*tarEnd || !bytes.Equal(end, make([]byte, tarEnd)) {
		return 0, fmt.Errorf("it was cut short (%d bytes are left); use another backup", info.Size())
	}
	return info.Size(), nil
}

// reading is a backup that is being read.
type reading struct {
	dir      string // "" = is only checked
	left     int64  // bytes that members may still have: a file with holes claims more than there are
	did      func(what, name string)
	sums     map[string]string
	listed   []byte // SHA256SUMS
	manifest manifest
}

func (r *reading) member(h *tar.Header, from io.Reader) error {
	if _, again := r.sums[h.Name]; again || h.Typeflag != tar.TypeReg || !memberName.MatchString(h.Name) || r.listed != nil {
		return fmt.Errorf("%q does not belong there", h.Name)
	}
	r.left -= h.Size
	page := strings.HasPrefix(h.Name, pagesName+"/")
	if r.left < 0 || h.Name != databaseName && h.Size > 1<<20 && !(page && h.Size <= largestPage) {
		return fmt.Errorf("%s is too large", h.Name)
	}
	sum := sha256.New()
	to := io.Writer(sum)
	var small bytes.Buffer
	if h.Name != databaseName && !page {
		to = io.MultiWriter(sum, &small)
	}
	if err := r.copy(h, from, to); err != nil {
		return err
	}
	if h.Name == sumsName {
		r.listed = small.Bytes()
		return nil
	}
	r.sums[h.Name] = fmt.Sprintf("%x", sum.Sum(nil))
	if h.Name != manifestName {
		return nil
	}
	if err := json.Unmarshal(small.Bytes(), &r.manifest); err != nil {
		return fmt.Errorf("%s is damaged: %w; use another backup", manifestName, err)
	}
	if r.manifest.Format < 1 || r.manifest.Format > archiveFormat {
		return fmt.Errorf("its format is %d and this version knows %d; install version %s or newer", r.manifest.Format, archiveFormat, r.manifest.Version)
	}
	return nil
}

// copy reads a member, and writes what belongs into a data directory.
func (r *reading) copy(h *tar.Header, from io.Reader, to io.Writer) error {
	if r.dir == "" || h.Name == manifestName || h.Name == sumsName {
		_, err := io.Copy(to, from)
		return err
	}
	path := filepath.Join(r.dir, filepath.FromSlash(h.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.MultiWriter(f, to), from)
	r.did("written", path)
	err = errors.Join(err, f.Sync())
	r.did("synced", path)
	return errors.Join(err, f.Close())
}

// compare holds what was read against what was written down.
func (r *reading) compare() error {
	if r.listed == nil || r.sums[manifestName] == "" || r.sums[databaseName] == "" {
		return errors.New("a part of it is missing; use another backup")
	}
	for line := range strings.Lines(string(r.listed)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if got, ok := r.sums[name]; !ok || got != sum {
			return fmt.Errorf("%s in it is damaged: its SHA-256 is not the one in %s; use another backup", name, sumsName)
		}
		delete(r.sums, name)
	}
	for name := range r.sums {
		return fmt.Errorf("%s in it has no SHA-256 in %s; use another backup", name, sumsName)
	}
	return nil
}
